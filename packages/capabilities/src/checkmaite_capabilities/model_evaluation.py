"""Evaluate an image classifier on a dataset."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from checkmaite_capabilities._evaluation_report import evaluation_report
from checkmaite_capabilities._evaluation_results import (
    CalibrationBinRecord,
    ConfusionRecord,
    LatencyFigures,
    MetricValueRecord,
    ModelEvaluationClassRecord,
    ModelEvaluationOutputs,
    ModelEvaluationRecord,
)
from checkmaite_capabilities._inputs import (
    Datum,
    as_array,
    check_protocols,
    class_names,
    explain,
    index2label,
    label_of,
    read_datum,
    stop_if_cancelled,
)
from checkmaite_capabilities._metric_values import metric_values
from checkmaite_capabilities._tally import NO_CLASS, Tally
from checkmaite_core import (
    Arity,
    Capability,
    CapabilityConfig,
    CapabilityRun,
    InputContractError,
    Inputs,
    InvalidCapabilityError,
    Record,
    progress,
)
from checkmaite_core.inputs import input_id

if TYPE_CHECKING:
    from maite.protocols import image_classification as ic
    from numpy.typing import NDArray

__all__ = ["ModelEvaluation", "ModelEvaluationConfig", "ModelEvaluationRun"]


class ModelEvaluationConfig(CapabilityConfig):
    """How a model is evaluated.

    Attributes:
        batch_size: Images that the model is given at once; 1 for a model that cannot take images of mixed sizes.
        class_names: Names of the classes, by index; by default those in ``index2label`` of the dataset's and the
            model's metadata, which must then agree.
        scores: What the model's scores are: ``probabilities`` (each from 0 to 1, such as softmax or sigmoid give),
            ``logits`` (turned into confidences by a softmax), or ``auto``: probabilities if the scores of every
            image are not negative and add up to 1 (within 0.01), else logits.
        calibration_bins: Number of equal bins of confidence for the calibration error.
    """

    batch_size: int = Field(default=32, ge=1)
    class_names: tuple[str, ...] | None = None
    scores: Literal["auto", "probabilities", "logits"] = "auto"
    calibration_bins: int = Field(default=15, ge=1, le=1000)


class ModelEvaluationRun(CapabilityRun[ModelEvaluationConfig, ModelEvaluationOutputs]):
    """A finished evaluation."""

    records = (
        ModelEvaluationRecord,
        ModelEvaluationClassRecord,
        ConfusionRecord,
        CalibrationBinRecord,
        MetricValueRecord,
    )

    def extract(self) -> Sequence[Record]:
        """Rows of ``model_evaluation``, ``model_evaluation_classes``, ``confusion``, ``calibration_bins`` and
        ``metric_values``.
        """  # noqa: D205 - a list of names is one sentence
        ids: dict[str, Any] = {
            "run_uid": self.run_uid,
            "dataset_id": self.dataset_metadata[0]["id"],
            "model_id": self.model_metadata[0]["id"],
        }
        out = self.outputs
        return [
            ModelEvaluationRecord(**ids, **out.overall.model_dump(), **out.latency.model_dump()),
            *(ModelEvaluationClassRecord(**ids, **figures.model_dump()) for figures in out.classes),
            *(ConfusionRecord(**ids, **cell.model_dump()) for cell in out.confusion),
            *(CalibrationBinRecord(**ids, **part.model_dump()) for part in out.calibration),
            *(MetricValueRecord(**ids, **value.model_dump()) for value in out.metric_values),
        ]

    def collect_md_report(self, threshold: float) -> str:
        """Report as Markdown.

        Args:
            threshold: Classes with a lower F1 are marked.
        """
        return evaluation_report(
            self.outputs,
            model_id=self.model_metadata[0]["id"],
            dataset_id=self.dataset_metadata[0]["id"],
            threshold=threshold,
        )


class ModelEvaluation(Capability[ModelEvaluationConfig, ModelEvaluationOutputs]):
    """Evaluate one image classifier on one dataset, with any number of metrics.

    The inputs follow MAITE's image-classification protocols. The model and the metrics are given images, scores
    and targets as they come; nothing is resized or converted. Metrics see every image, also those without a
    usable label. The dataset is read once, in order, one batch at a time.

    On an empty dataset there are 0 images, every figure is None, and the metrics are not asked. Where no labelled
    image has usable scores, every figure is None as well, since nothing was measured; the report and the column
    ``warning`` say so. A model and
    dataset that differ in the number of classes, or in their names, are refused with an explained error, since
    their class indices cannot be compared.
    """

    config_class = ModelEvaluationConfig
    run_class = ModelEvaluationRun
    takes_models = Arity(1, 1)
    takes_datasets = Arity(1, 1)
    takes_metrics = Arity(0, None)

    def check(self, inputs: Inputs, config: Any = None) -> None:
        """Refuse inputs that do not fit.

        Raises:
            InvalidCapabilityError: Their number is wrong, one lacks a method of its protocol, or two metrics have
                one id.
        """
        super().check(inputs, config)
        check_protocols(inputs)
        ids = [input_id(metric) for metric in inputs.metrics]
        repeated = sorted({repr(one) for one in ids if ids.count(one) > 1})
        if repeated:
            raise InvalidCapabilityError(
                f"more than one metric has the id {', '.join(repeated)}, so their values could not be told apart.",
                hint="Give each metric an id of its own in its metadata.",
            )

    def evaluate(self, inputs: Inputs, config: ModelEvaluationConfig) -> ModelEvaluationOutputs:
        """Do the work.

        Raises:
            InputContractError: A model, dataset or metric does not do what its protocol says; the message names
                the image or batch.
            JobCancelledError: The job was cancelled.
        """
        check_protocols(inputs)
        return _Evaluation(inputs.models[0], inputs.datasets[0], inputs.metrics, config).run()


class _Evaluation:
    """One evaluation on its way."""

    def __init__(
        self, model: ic.Model, dataset: ic.Dataset, metrics: Sequence[ic.Metric], config: ModelEvaluationConfig
    ) -> None:
        self.model = model
        self.dataset = dataset
        self.metrics = metrics
        self.config = config
        self.seconds: list[float] = []

    def run(self) -> ModelEvaluationOutputs:
        config = self.config
        for metric in self.metrics:
            with explain(f"resetting metric {input_id(metric)!r}"):
                metric.reset()
        tally: Tally | None = None
        names: list[str] = []
        for batch in self._batches():
            scores = self._predict(batch, None if tally is None else tally.classes)
            if tally is None:
                tally = Tally(scores.shape[1], config.calibration_bins)
                names = class_names((self.dataset, self.model), config.class_names, tally.classes)
            tally.add(self._labels(batch, tally.classes), scores)
        if tally is None:
            names = self._names_alone()
            tally = Tally(len(names), config.calibration_bins)
        kind = tally.score_kind(None if config.scores == "auto" else config.scores)
        measured = tally.invalid < tally.images
        asked = self.metrics if tally.images else ()
        computed = [value for metric in asked for value in metric_values(metric, names, measured=measured)]
        return ModelEvaluationOutputs(
            overall=tally.overall(kind),
            latency=self._latency(tally.images),
            classes=tally.per_class(names, kind),
            confusion=tally.confusion(names),
            calibration=tally.calibration_bins(kind),
            metric_values=tuple(computed),
        )

    def _batches(self) -> Iterator[list[Datum]]:
        images, size = len(self.dataset), self.config.batch_size
        starts = range(0, images, size)
        for start in progress(starts, total=len(starts), description="batches"):
            stop_if_cancelled()
            yield [read_datum(self.dataset, index) for index in range(start, min(start + size, images))]

    def _predict(self, batch: list[Datum], classes: int | None) -> NDArray[np.float64]:
        """Scores of a batch, shape (images, classes); the metrics are updated with what the model gave."""
        model_id = input_id(self.model)
        where = f"images {batch[0].index} to {batch[-1].index} of dataset {input_id(self.dataset)!r}"
        images = [datum.image for datum in batch]
        started = time.perf_counter()
        with explain(f"model {model_id!r} predicted {where}{_mixed_sizes(images)}"):
            given = list(self.model(images))
        if len(given) != len(batch):
            raise InputContractError(
                f"model {model_id!r} returned {len(given)} predictions for {len(batch)} images ({where}).",
                hint="Let the model return one array of scores per image, in order.",
            )
        rows = [self._row(scores, datum.index, classes) for scores, datum in zip(given, batch, strict=True)]
        self.seconds.append(time.perf_counter() - started)
        for row, datum in zip(rows, batch, strict=True):
            if row.size != rows[0].size:
                raise InputContractError(
                    f"model {model_id!r} returned {rows[0].size} scores for image {batch[0].index}, "
                    f"but {row.size} for image {datum.index}.",
                    hint="Let the model return one score per class for every image.",
                )
        targets, metadata = [datum.target for datum in batch], [datum.metadata for datum in batch]
        for metric in self.metrics:
            with explain(f"metric {input_id(metric)!r} was updated with {where}"):
                metric.update(given, targets, metadata)
        return np.stack(rows)

    def _row(self, scores: Any, index: int, classes: int | None) -> NDArray[np.float64]:
        what = f"the prediction of model {input_id(self.model)!r} for image {index}"
        row = as_array(scores, what).astype(np.float64)
        if row.ndim != 1 or row.size == 0 or (classes is not None and row.size != classes):
            wanted = "(classes,)" if classes is None else f"({classes},) as before"
            raise InputContractError(
                f"{what} has shape {row.shape}, not {wanted}.",
                hint="Let the model return one flat array per image, with one score per class.",
            )
        if self.config.scores == "probabilities" and ((row < 0) | (row > 1 + 1e-6)).any():
            raise InputContractError(
                f"{what} holds scores from {row.min():g} to {row.max():g}, but config says they are probabilities.",
                hint="Set scores='logits' or 'auto' in the config, or let the model return probabilities.",
            )
        return row

    def _labels(self, batch: list[Datum], classes: int) -> NDArray[np.int64]:
        labels = np.full(len(batch), NO_CLASS, dtype=np.int64)
        for position, datum in enumerate(batch):
            what = f"image {datum.index} of dataset {input_id(self.dataset)!r}"
            label, length, _ = label_of(datum.target, what)
            if length != classes:
                raise InputContractError(
                    f"model {input_id(self.model)!r} scores {classes} classes, but the target of {what} has {length}.",
                    hint="Wrap one of them so that both have the same classes in the same order, and targets are "
                    "one-hot.",
                )
            labels[position] = NO_CLASS if label is None else label
        return labels

    def _names_alone(self) -> list[str]:
        """Names of the classes where no image says how many there are."""
        if self.config.class_names is not None:
            return list(self.config.class_names)
        known = [index2label(source) for source in (self.dataset, self.model)]
        classes = max((index + 1 for names in known for index in names), default=0)
        return class_names((self.dataset, self.model), None, classes)

    def _latency(self, images: int) -> LatencyFigures:
        spent = np.array(self.seconds)
        total = math.fsum(self.seconds)
        return LatencyFigures(
            batch_size=self.config.batch_size,
            batches=len(spent),
            latency_median_s=float(np.median(spent)) if spent.size else None,
            latency_p95_s=float(np.percentile(spent, 95)) if spent.size else None,
            latency_max_s=float(spent.max()) if spent.size else None,
            latency_total_s=total if spent.size else None,
            images_per_second=images / total if total else None,
        )


def _mixed_sizes(images: Sequence[Any]) -> str:
    """For the note on a failed batch: the shapes in it, if there are several."""
    shapes = {getattr(image, "shape", None) for image in images}
    if len(shapes) < 2:
        return ""
    listed = ", ".join(sorted(str(None if shape is None else tuple(shape)) for shape in shapes))
    return f"; the batch mixes images of shapes {listed}: if the model needs one shape, set batch_size=1 in the config"
