"""Counts and figures of a classifier, gathered batch by batch in memory that does not grow with the dataset."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from checkmaite_capabilities._evaluation_results import (
    CalibrationBin,
    ClassFigures,
    ConfusionCell,
    OverallFigures,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ScoreKind", "Tally", "are_distributions"]

ScoreKind = Literal["probabilities", "logits"]

NO_CLASS = -1
"""Stands for a label that is missing, and for a prediction that is invalid."""

_SUM_TOLERANCE = 0.01
"""How far from 1 the scores of a distribution may add up: half precision over many classes is that coarse."""


def are_distributions(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are probability distributions: no negative score, and a sum of 1 within 0.01."""
    with np.errstate(over="ignore"):
        total = scores.sum(axis=1)
    result: NDArray[np.bool_] = (scores >= 0).all(axis=1) & (np.abs(total - 1) <= _SUM_TOLERANCE)
    return result


class _Calibration:
    """Confidence against correctness, by predicted class and confidence bin."""

    def __init__(self, classes: int, bins: int) -> None:
        self.count = np.zeros((classes, bins), dtype=np.int64)
        self.correct = np.zeros((classes, bins), dtype=np.int64)
        self.confidence = np.zeros((classes, bins))

    def add(self, predicted: NDArray[np.int64], confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
        bins = self.count.shape[1]
        # Bin m of M holds the confidences in ((m-1)/M, m/M]; 0 goes to the first.
        bin_of = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
        np.add.at(self.count, (predicted, bin_of), 1)
        np.add.at(self.correct, (predicted, bin_of), correct)
        np.add.at(self.confidence, (predicted, bin_of), confidence)


def _mean_confidence(count: NDArray[np.int64], confidence: NDArray[np.float64]) -> float | None:
    total = int(count.sum())
    return float(confidence.sum()) / total if total else None


def _calibration_error(
    count: NDArray[np.int64], correct: NDArray[np.int64], confidence: NDArray[np.float64]
) -> float | None:
    """Sum over bins of |correct - confidence| / n, which is the weighted mean of |accuracy - confidence|."""
    total = int(count.sum())
    return float(np.abs(correct - confidence).sum()) / total if total else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class Tally:
    """Counts what a classifier gets right and wrong.

    Args:
        classes: Number of classes.
        bins: Number of equal confidence bins for calibration.
    """

    def __init__(self, classes: int, bins: int) -> None:
        self.classes = classes
        self.images = 0
        self.unlabelled = 0
        self.invalid = 0
        self.compared = 0
        """Images with a label and a valid prediction: without any, no figure means anything."""
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._all_distributions = True
        # What the scores are is only known when all have been seen, so both readings are kept until then.
        self._calibration: dict[ScoreKind, _Calibration] = {
            "probabilities": _Calibration(classes, bins),
            "logits": _Calibration(classes, bins),
        }

    def add(self, labels: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Count one batch.

        Args:
            labels: Class of each image, or -1; shape (images,).
            scores: Shape (images, classes).
        """
        self.images += len(labels)
        # Minus infinity is the logit of "impossible"; NaN and plus infinity are the logit of nothing.
        highest = scores.max(axis=1)
        valid = np.isfinite(highest) & ~np.isnan(scores).any(axis=1)
        labelled = labels != NO_CLASS
        self.invalid += int((~valid).sum())
        self.unlabelled += int((~labelled).sum())
        predicted = np.full(len(labels), NO_CLASS, dtype=np.int64)
        predicted[valid] = scores[valid].argmax(axis=1)
        self._pairs.update(zip(labels[labelled].tolist(), predicted[labelled].tolist(), strict=True))
        self._all_distributions &= bool(are_distributions(scores[valid]).all())
        counted = valid & labelled
        self.compared += int(counted.sum())
        correct = predicted[counted] == labels[counted]
        top = highest[counted]
        with np.errstate(over="ignore"):  # a difference of more than the largest float is an exponential of 0
            softmax_top = 1 / np.exp(scores[counted] - top[:, None]).sum(axis=1)
        self._calibration["probabilities"].add(predicted[counted], np.clip(top, 0, 1), correct)
        self._calibration["logits"].add(predicted[counted], softmax_top, correct)

    def score_kind(self, declared: ScoreKind | None) -> ScoreKind | None:
        """What the scores are: as declared, else probabilities if every valid prediction is a distribution.

        None where no prediction is valid, so that nothing tells.
        """
        if declared is None and self.invalid == self.images:
            return None
        return declared or ("probabilities" if self._all_distributions else "logits")

    def warning(self) -> str | None:
        """What a reader of the figures must know; None if there is nothing."""
        if not self.images:
            return "the dataset is empty: nothing was evaluated, and no figure is defined"
        notes = []
        if self.unlabelled == self.images:
            notes.append("no image names one class in its target: there is nothing to compare the predictions with")
        elif self.unlabelled:
            notes.append(f"{self.unlabelled} of {self.images} images have no usable label and count in no figure")
        if self.invalid and not self.compared:
            notes.append(
                f"{self.invalid} of {self.images} images have no usable scores (NaN or infinite), and none that has a "
                "label has any: no figure is defined"
            )
        elif self.invalid:
            notes.append(
                f"{self.invalid} of {self.images} images have no usable scores (NaN or infinite); "
                "those with a label count as wrong"
            )
        return "; ".join(notes) or None

    def confusion(self, names: list[str]) -> tuple[ConfusionCell, ...]:
        """The cells that are not zero, by true and predicted class; invalid predictions come first."""
        return tuple(
            ConfusionCell(
                true_index=true,
                true_label=names[true],
                predicted_index=None if predicted == NO_CLASS else predicted,
                predicted_label=None if predicted == NO_CLASS else names[predicted],
                images=count,
            )
            for (true, predicted), count in sorted(self._pairs.items())
        )

    def per_class(self, names: list[str], kind: ScoreKind | None) -> tuple[ClassFigures, ...]:
        """Figures of each class, in order."""
        hits, support, predicted = self._margins()
        calibration = self._calibration[kind or "probabilities"]
        return tuple(
            ClassFigures(
                class_index=index,
                class_label=names[index],
                support=int(support[index]),
                predicted=int(predicted[index]),
                precision=_ratio(int(hits[index]), int(predicted[index])),
                recall=_ratio(int(hits[index]), int(support[index])) if self.compared else None,
                f1=_ratio(2 * int(hits[index]), int(support[index] + predicted[index])) if self.compared else None,
                mean_confidence=_mean_confidence(calibration.count[index], calibration.confidence[index]),
                calibration_error=_calibration_error(
                    calibration.count[index], calibration.correct[index], calibration.confidence[index]
                ),
            )
            for index in range(self.classes)
        )

    def overall(self, kind: ScoreKind | None) -> OverallFigures:
        """Figures over all classes."""
        hits, support, predicted = self._margins()
        occurring = (support > 0) | (predicted > 0)
        present = support > 0

        def macro(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> float | None:
            if not self.compared:
                return None
            # An undefined ratio counts as 0, as scikit-learn's averages have it by default.
            return float((numerator / np.maximum(denominator, 1))[occurring].mean())

        calibration = self._calibration[kind or "probabilities"]
        count = calibration.count.sum(axis=0)
        correct = calibration.correct.sum(axis=0)
        confidence = calibration.confidence.sum(axis=0)
        labelled = self.images - self.unlabelled
        return OverallFigures(
            images=self.images,
            labelled_images=labelled,
            unlabelled_images=self.unlabelled,
            invalid_predictions=self.invalid,
            classes=self.classes,
            classes_present=int(present.sum()),
            accuracy=_ratio(int(hits.sum()), labelled) if self.compared else None,
            balanced_accuracy=float((hits[present] / support[present]).mean()) if self.compared else None,
            macro_precision=macro(hits, predicted),
            macro_recall=macro(hits, support),
            macro_f1=macro(2 * hits, support + predicted),
            mean_confidence=_mean_confidence(count, confidence),
            calibration_error=_calibration_error(count, correct, confidence),
            score_kind=kind,
            warning=self.warning(),
        )

    def calibration_bins(self, kind: ScoreKind | None) -> tuple[CalibrationBin, ...]:
        """The reliability diagram's bins, empty ones included."""
        calibration = self._calibration[kind or "probabilities"]
        count = calibration.count.sum(axis=0)
        correct = calibration.correct.sum(axis=0)
        confidence = calibration.confidence.sum(axis=0)
        bins = len(count)
        return tuple(
            CalibrationBin(
                bin_index=index,
                confidence_above=index / bins,
                confidence_up_to=(index + 1) / bins,
                images=int(count[index]),
                mean_confidence=_ratio(float(confidence[index]), int(count[index])),
                accuracy=_ratio(int(correct[index]), int(count[index])),
            )
            for index in range(bins)
        )

    def _margins(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Hits, support and predictions of each class."""
        hits, support, predicted = (np.zeros(self.classes, dtype=np.int64) for _ in range(3))
        for (true, guess), count in self._pairs.items():
            support[true] += count
            if guess != NO_CLASS:
                predicted[guess] += count
            if guess == true:
                hits[true] += count
        return hits, support, predicted
