"""The report of a model evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkmaite_capabilities._evaluation_results import ClassFigures, MetricValue, ModelEvaluationOutputs
from checkmaite_capabilities._markdown import bar, escape, number, percent, seconds, table

__all__ = ["evaluation_report"]

_MOST_CLASSES = 50
_MOST_CONFUSIONS = 15
_MOST_METRIC_VALUES = 50


def evaluation_report(outputs: ModelEvaluationOutputs, *, model_id: str, dataset_id: str, threshold: float) -> str:
    """Write the report as Markdown.

    Args:
        outputs: What was found.
        model_id: The model's id.
        dataset_id: The dataset's id.
        threshold: Classes with a lower F1 are marked.
    """
    return "\n\n".join(_sections(outputs, model_id, dataset_id, threshold)) + "\n"


def _sections(outputs: ModelEvaluationOutputs, model_id: str, dataset_id: str, threshold: float) -> Iterator[str]:
    overall, latency = outputs.overall, outputs.latency
    yield f"# {escape(model_id)} on {escape(dataset_id)}"
    if overall.warning is not None:
        yield f"**{overall.warning[0].upper()}{overall.warning[1:]}.**"
    if not overall.images:
        return
    yield table(
        ["figure", "value"],
        [
            ["accuracy", percent(overall.accuracy)],
            ["balanced accuracy", percent(overall.balanced_accuracy)],
            ["macro precision", number(overall.macro_precision)],
            ["macro recall", number(overall.macro_recall)],
            ["macro F1", number(overall.macro_f1)],
            ["mean confidence", percent(overall.mean_confidence)],
            ["expected calibration error", number(overall.calibration_error)],
            ["images", f"{overall.images:,}"],
            ["without a usable label", f"{overall.unlabelled_images:,}"],
            ["invalid predictions (counted as wrong)", f"{overall.invalid_predictions:,}"],
            ["latency per batch: median", seconds(latency.latency_median_s)],
            ["latency per batch: 95th percentile", seconds(latency.latency_p95_s)],
            ["latency per batch: longest", seconds(latency.latency_max_s)],
            ["images per second", number(latency.images_per_second, 0)],
        ],
    )
    yield (
        f"{latency.batches:,} batches of {latency.batch_size}, timed on the worker (wall time). "
        + (f"The scores were read as {overall.score_kind}." if overall.score_kind else "No scores could be read.")
    )
    yield from _classes(outputs.classes, threshold)
    yield from _confusions(outputs)
    yield from _calibration(outputs)
    yield from _metrics(outputs.metric_values)


def _classes(classes: Sequence[ClassFigures], threshold: float) -> Iterator[str]:
    seen = [(figures, figures.f1) for figures in classes if figures.f1 is not None]
    if not seen:
        return
    yield "## Classes, weakest first"
    seen.sort(key=lambda one: (one[1], one[0].class_index))
    weak = sum(f1 < threshold for _, f1 in seen)
    yield f"{weak} of {len(seen)} classes have an F1 below {threshold:g} (marked ⚠)."
    yield table(
        ["class", "F1", "F1 ", "precision", "recall", "support", "mean confidence", "calibration error"],
        [
            [
                escape(figures.class_label) + (" ⚠" if f1 < threshold else ""),
                bar(f1),
                number(f1),
                number(figures.precision),
                number(figures.recall),
                f"{figures.support:,}",
                percent(figures.mean_confidence),
                number(figures.calibration_error),
            ]
            for figures, f1 in seen[:_MOST_CLASSES]
        ],
        left=2,
    )
    if len(seen) > _MOST_CLASSES:
        yield f"... and {len(seen) - _MOST_CLASSES:,} stronger ones, in table `model_evaluation_classes`."


def _confusions(outputs: ModelEvaluationOutputs) -> Iterator[str]:
    mistakes = [cell for cell in outputs.confusion if cell.true_index != cell.predicted_index]
    if not mistakes:
        return
    mistakes.sort(key=lambda cell: (-cell.images, cell.true_index, -1 if cell.predicted_index is None else 0))
    support = {figures.class_index: figures.support for figures in outputs.classes}
    yield "## Most frequent confusions"
    yield table(
        ["true class", "taken for", "images", "of the class"],
        [
            [
                escape(cell.true_label),
                "*invalid scores*" if cell.predicted_label is None else escape(cell.predicted_label),
                f"{cell.images:,}",
                percent(cell.images / support[cell.true_index]),
            ]
            for cell in mistakes[:_MOST_CONFUSIONS]
        ],
        left=2,
    )
    if len(mistakes) > _MOST_CONFUSIONS:
        yield f"... and {len(mistakes) - _MOST_CONFUSIONS:,} more, in table `confusion`."


def _calibration(outputs: ModelEvaluationOutputs) -> Iterator[str]:
    filled = [part for part in outputs.calibration if part.images]
    if not filled:
        return
    yield "## Calibration"
    yield "A calibrated model is right as often as it is confident: both columns would be equal."
    yield table(
        ["confidence", "accuracy", "mean confidence", "accuracy ", "images"],
        [
            [
                f"{part.confidence_above:.2f} to {part.confidence_up_to:.2f}",
                bar(part.accuracy),
                percent(part.mean_confidence),
                percent(part.accuracy),
                f"{part.images:,}",
            ]
            for part in filled
        ],
        left=2,
    )


def _metrics(values: Sequence[MetricValue]) -> Iterator[str]:
    if not values:
        return
    yield "## Metrics"
    yield table(
        ["metric", "name", "of", "value"],
        [
            [
                escape(value.metric_id),
                escape(value.name),
                escape(value.class_label or ("" if value.element_index is None else str(value.element_index))),
                f"{value.value:.6g}" if value.note is None else f"- ({escape(value.note)})",
            ]
            for value in values[:_MOST_METRIC_VALUES]
        ],
        left=3,
    )
    if len(values) > _MOST_METRIC_VALUES:
        yield f"... and {len(values) - _MOST_METRIC_VALUES:,} more, in table `metric_values`."
