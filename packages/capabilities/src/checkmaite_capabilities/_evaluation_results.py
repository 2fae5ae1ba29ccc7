"""What a model evaluation found, and the rows that it leaves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from checkmaite_core import CapabilityOutputs, Record

__all__ = [
    "CalibrationBin",
    "CalibrationBinRecord",
    "ClassFigures",
    "ConfusionCell",
    "ConfusionRecord",
    "LatencyFigures",
    "MetricValue",
    "MetricValueRecord",
    "ModelEvaluationClassRecord",
    "ModelEvaluationOutputs",
    "ModelEvaluationRecord",
    "OverallFigures",
]


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OverallFigures(_Figures):
    """Figures of one model on one dataset. Where a figure is not defined it is None, never NaN.

    Attributes:
        images: Images in the dataset.
        labelled_images: Those whose target names one class; only they count in the figures below.
        unlabelled_images: Those whose target is all zero, not finite, or shares its maximum among classes.
        invalid_predictions: Images whose scores hold NaN or plus infinity, or nothing but minus infinity. Where
            such an image is labelled, it counts as wrong, as predicted to be of no class, and has no confidence. If
            no labelled image has a valid prediction, nothing was measured, and every figure below is None.
        classes: Number of classes that the model scores.
        classes_present: Classes that at least one image is labelled with.
        accuracy: Share of labelled images that are predicted right; of equal highest scores the first counts.
        balanced_accuracy: Mean recall of the classes that are present.
        macro_precision: Mean precision of the classes that occur among labels or predictions; an undefined one
            counts as 0 (scikit-learn's ``average="macro"`` with its defaults).
        macro_recall: The same for recall.
        macro_f1: The same for F1.
        mean_confidence: Mean probability of the predicted class.
        calibration_error: Expected calibration error over equal bins of confidence: the mean of
            |accuracy - mean confidence| of each bin, weighted by its images. Naeini, Cooper and Hauskrecht,
            "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; in this form Guo, Pleiss,
            Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
        score_kind: What the scores were taken for; the softmax of logits gives the confidence. None if no prediction
            is valid, unless the config says it.
        warning: What a reader of these figures must know: what they leave out, and why some are None. None if
            there is nothing.
    """

    images: int
    labelled_images: int
    unlabelled_images: int
    invalid_predictions: int
    classes: int
    classes_present: int
    accuracy: float | None
    balanced_accuracy: float | None
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: float | None
    mean_confidence: float | None
    calibration_error: float | None
    score_kind: Literal["probabilities", "logits"] | None
    warning: str | None = None


class LatencyFigures(_Figures):
    """Wall time of the model on the machine that ran it, by batch, in seconds; None for an empty dataset.

    A batch's time runs from handing it to the model until its scores are NumPy arrays, so a device that works
    asynchronously is waited for; reading the dataset and updating metrics are not in it. The first batch is, with
    whatever the model sets up then.

    Attributes:
        batch_size: Images in a batch; the last one may be smaller.
        batches: Batches that were measured.
        latency_median_s: Median.
        latency_p95_s: 95th percentile, interpolated linearly.
        latency_max_s: Longest.
        latency_total_s: Sum.
        images_per_second: Images divided by that sum.
    """

    batch_size: int
    batches: int
    latency_median_s: float | None
    latency_p95_s: float | None
    latency_max_s: float | None
    latency_total_s: float | None
    images_per_second: float | None


class ClassFigures(_Figures):
    """Figures of one class.

    Attributes:
        class_index: Index of the class.
        class_label: Its name; the index as text where it has none.
        support: Images labelled with it.
        predicted: Labelled images predicted to be of it.
        precision: Share of those that are of it; None if there are none.
        recall: Share of its images that are predicted right; None if it has none, or no labelled image of any class
            has a valid prediction.
        f1: 2 hits / (support + predicted); None if both are 0, or recall is None for want of valid predictions.
        mean_confidence: Mean confidence of the predictions of this class; None if there are none.
        calibration_error: Expected calibration error over the predictions of this class (top-label calibration:
            Gupta and Ramdas, "Top-label calibration and multiclass-to-binary reductions", ICLR 2022).
    """

    class_index: int
    class_label: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    mean_confidence: float | None
    calibration_error: float | None


class ConfusionCell(_Figures):
    """A cell of the confusion matrix that is not zero.

    Attributes:
        true_index: Index of the class that the images are labelled with.
        true_label: Its name.
        predicted_index: Index of the class that they are predicted to be of; None for invalid predictions.
        predicted_label: Its name.
        images: How many.
    """

    true_index: int
    true_label: str
    predicted_index: int | None
    predicted_label: str | None
    images: int


class CalibrationBin(_Figures):
    """One bin of the reliability diagram.

    Attributes:
        bin_index: Its position, from 0.
        confidence_above: Its lower end, not in it (except 0, which is in the first).
        confidence_up_to: Its upper end, in it.
        images: Predictions in it.
        mean_confidence: Their mean confidence; None if there are none.
        accuracy: Share of them that is right; None if there are none.
    """

    bin_index: int
    confidence_above: float
    confidence_up_to: float
    images: int
    mean_confidence: float | None
    accuracy: float | None


class MetricValue(_Figures):
    """One number that a metric computed, or why there is none.

    Attributes:
        metric_id: The metric's id.
        name: Key in what ``compute()`` returned.
        kind: ``scalar``; ``per_class`` for an array with one element per class; ``array`` for one of another
            length; ``unsupported`` for anything else.
        element_index: Position in the array; None for the others.
        class_label: Name of the class; None unless ``per_class``.
        value: The number; None if it is not finite, not a number, or nothing was measured.
        note: Why there is no number; None if there is one.
    """

    metric_id: str
    name: str
    kind: Literal["scalar", "per_class", "array", "unsupported"]
    element_index: int | None
    class_label: str | None
    value: float | None
    note: str | None


class ModelEvaluationOutputs(CapabilityOutputs):
    """All that one evaluation found.

    Attributes:
        overall: Figures over all classes.
        latency: Time by batch.
        classes: Figures by class, in order.
        confusion: The confusion matrix without its zeros.
        calibration: The reliability diagram.
        metric_values: What the metrics computed, in order.
    """

    overall: OverallFigures
    latency: LatencyFigures
    classes: tuple[ClassFigures, ...]
    confusion: tuple[ConfusionCell, ...]
    calibration: tuple[CalibrationBin, ...]
    metric_values: tuple[MetricValue, ...]


class _EvaluationRow(Record):
    dataset_id: str
    model_id: str


class ModelEvaluationRecord(OverallFigures, LatencyFigures, _EvaluationRow, table_name="model_evaluation"):
    """Row of ``model_evaluation``: one per run."""


class ModelEvaluationClassRecord(ClassFigures, _EvaluationRow, table_name="model_evaluation_classes"):
    """Row of ``model_evaluation_classes``: one per class."""


class ConfusionRecord(ConfusionCell, _EvaluationRow, table_name="confusion"):
    """Row of ``confusion``: one per cell that is not zero."""


class CalibrationBinRecord(CalibrationBin, _EvaluationRow, table_name="calibration_bins"):
    """Row of ``calibration_bins``: one per bin of confidence."""


class MetricValueRecord(MetricValue, _EvaluationRow, table_name="metric_values"):
    """Row of ``metric_values``: one per number that a metric computed."""
