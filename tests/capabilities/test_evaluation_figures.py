"""The figures are scikit-learn's, whatever the labels and predictions are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from checkmaite_capabilities import ModelEvaluationRun

Scored = tuple[list[int], np.ndarray[Any, np.dtype[np.float64]]]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """Labels and scores with ties, classes that never occur, and predictions without an answer."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes, count = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    labels = rng.integers(draw(st.integers(1, classes)), size=count)
    scores = rng.normal(scale=draw(st.sampled_from([0.5, 3.0, 30.0])), size=(count, classes))
    scores = scores.round(draw(st.sampled_from([0, 1, 15])))
    without_answer = rng.random(count) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    scores[without_answer, rng.integers(classes)] = draw(st.sampled_from([math.nan, math.inf]))
    return labels.tolist(), scores


def answers(scores: np.ndarray[Any, Any]) -> list[int]:
    """Predicted classes; -1, which is no class, where there is no answer."""
    return [int(row.argmax()) if np.isfinite(row).all() else -1 for row in scores]


@given(data=scored(), batch_size=st.integers(1, 12))
def test_overall_and_class_figures_are_those_of_scikit_learn(
    scores_of: Callable[..., ModelEvaluationRun], data: Scored, batch_size: int
) -> None:
    labels, scores = data
    predicted = answers(scores)
    outputs = scores_of(labels, scores, batch_size=batch_size).outputs
    overall = outputs.overall
    if set(predicted) == {-1}:  # nothing was measured, so there is no figure; scikit-learn would say 0
        figures = overall.model_dump(include={"accuracy", "balanced_accuracy", "macro_recall", "macro_f1"})
        assert set(figures.values()) == {None}
        assert {(one.precision, one.recall, one.f1) for one in outputs.classes} == {(None, None, None)}
        return

    assert overall.accuracy == pytest.approx(sk.accuracy_score(labels, predicted))
    occurring = sorted(set(labels) | set(predicted) - {-1})
    macro = sk.precision_recall_fscore_support(labels, predicted, labels=occurring, average="macro", zero_division=0)
    assert (overall.macro_precision, overall.macro_recall, overall.macro_f1) == pytest.approx(macro[:3])
    recalls = sk.recall_score(labels, predicted, labels=sorted(set(labels)), average=None, zero_division=0)
    assert overall.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert overall.invalid_predictions == predicted.count(-1)

    every = list(range(scores.shape[1]))
    by_class = sk.precision_recall_fscore_support(labels, predicted, labels=every, zero_division=np.nan)
    for figures, precision, recall, f1, support in zip(outputs.classes, *by_class, strict=True):
        assert figures.precision == (None if math.isnan(precision) else pytest.approx(precision))
        assert figures.recall == (None if math.isnan(recall) else pytest.approx(recall))
        assert figures.f1 == (None if math.isnan(f1) else pytest.approx(f1))
        assert figures.support == support


@given(data=scored())
def test_the_confusion_cells_are_the_matrix_of_scikit_learn_without_its_zeros(
    scores_of: Callable[..., ModelEvaluationRun], data: Scored
) -> None:
    labels, scores = data
    codes = [-1, *range(scores.shape[1])]
    matrix = sk.confusion_matrix(labels, answers(scores), labels=codes)
    expected = {
        (codes[true], None if predicted == 0 else codes[predicted]): int(matrix[true, predicted])
        for true, predicted in zip(*np.nonzero(matrix), strict=True)
    }
    cells = scores_of(labels, scores).outputs.confusion
    assert {(cell.true_index, cell.predicted_index): cell.images for cell in cells} == expected
    assert len(cells) == len(expected)


@given(data=scored(), bins=st.integers(1, 20), batch_size=st.integers(1, 12))
def test_confidence_and_calibration_are_those_of_the_softmax(
    scores_of: Callable[..., ModelEvaluationRun], data: Scored, bins: int, batch_size: int
) -> None:
    labels, scores = data
    run = scores_of(labels, scores, scores="logits", calibration_bins=bins, batch_size=batch_size)
    valid = np.isfinite(scores).all(axis=1)
    overall = run.outputs.overall
    if not valid.any():
        assert overall.mean_confidence is None
        assert overall.calibration_error is None
        return
    confidence = softmax(scores[valid], axis=1).max(axis=1)
    correct = scores[valid].argmax(axis=1) == np.array(labels)[valid]
    assert overall.mean_confidence == pytest.approx(confidence.mean())

    def error(which: np.ndarray[Any, Any]) -> float:
        """The formula as Guo et al. write it, bin by bin."""
        total = 0.0
        for index in range(bins):
            inside = which & (confidence <= (index + 1) / bins) & ((confidence > index / bins) | (index == 0))
            if inside.any():
                total += inside.sum() / which.sum() * abs(correct[inside].mean() - confidence[inside].mean())
        return total

    # A confidence on the border of two bins may fall to either side by a rounding error of the softmax.
    borders = np.abs(confidence[:, None] - np.arange(1, bins) / bins) < 1e-12
    if not borders.any():
        assert overall.calibration_error == pytest.approx(error(np.full(len(confidence), True)), abs=1e-12)
        predicted = scores[valid].argmax(axis=1)
        for figures in run.outputs.classes:
            mine = predicted == figures.class_index
            expected = pytest.approx(error(mine), abs=1e-12) if mine.any() else None
            assert figures.calibration_error == expected


def test_the_reliability_diagram_is_that_of_scikit_learn(scores_of: Callable[..., ModelEvaluationRun]) -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(4), size=500)
    labels = rng.integers(4, size=500).tolist()
    bins = [part for part in scores_of(labels, scores, calibration_bins=10).outputs.calibration if part.images]
    correct = (scores.argmax(axis=1) == labels).astype(int)
    accuracy, confidence = calibration_curve(correct, scores.max(axis=1), n_bins=10)
    assert [part.accuracy for part in bins] == pytest.approx(accuracy)
    assert [part.mean_confidence for part in bins] == pytest.approx(confidence)


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower_one(
    scores_of: Callable[..., ModelEvaluationRun],
) -> None:
    bins = scores_of([0, 0], [[0.6, 0.4], [0.8, 0.2]], calibration_bins=5).outputs.calibration
    assert [part.images for part in bins] == [0, 0, 1, 1, 0]
    assert (bins[2].confidence_above, bins[2].confidence_up_to) == (0.4, 0.6)


@given(data=scored())
def test_the_batch_size_changes_no_figure(scores_of: Callable[..., ModelEvaluationRun], data: Scored) -> None:
    labels, scores = data
    one, many = (scores_of(labels, scores, batch_size=size).outputs for size in (1, 64))
    assert one.confusion == many.confusion
    assert one.overall.score_kind == many.overall.score_kind
    defined = many.overall.model_dump(exclude_none=True, exclude={"score_kind", "warning"})
    assert one.overall.model_dump(exclude_none=True, exclude={"score_kind", "warning"}) == pytest.approx(
        defined, rel=1e-12
    )
    assert (one.latency.batches, many.latency.batches) == (len(labels), 1)


@pytest.mark.parametrize(
    ("scores", "declared", "kind", "confidence"),
    [
        ([[0.7, 0.3], [0.9, 0.1]], "auto", "probabilities", 0.8),
        ([[0.7, 0.305], [0.9, 0.1]], "auto", "probabilities", 0.8),
        ([[0.7, 0.32], [0.9, 0.1]], "auto", "logits", None),
        ([[2.0, -1.0], [0.7, 0.3]], "auto", "logits", None),
        ([[0.7, 0.3], [0.9, 0.1]], "logits", "logits", None),
        ([[0.9, 0.9], [0.5, 0.1]], "probabilities", "probabilities", 0.7),
    ],
)
def test_what_the_scores_are_is_found_out_or_declared(
    scores_of: Callable[..., ModelEvaluationRun],
    scores: list[list[float]],
    declared: str,
    kind: str,
    confidence: float | None,
) -> None:
    overall = scores_of([0, 1], scores, scores=declared).outputs.overall
    assert overall.score_kind == kind
    expected = softmax(scores, axis=1).max(axis=1).mean() if confidence is None else confidence
    assert overall.mean_confidence == pytest.approx(expected)


def test_half_precision_probabilities_over_many_classes_are_still_probabilities(
    scores_of: Callable[..., ModelEvaluationRun],
) -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(1000), size=8).astype(np.float16)
    assert scores_of([0] * 8, scores).outputs.overall.score_kind == "probabilities"


def test_latency_is_that_of_the_batches(scores_of: Callable[..., ModelEvaluationRun]) -> None:
    latency = scores_of([0] * 10, [[1.0, 0.0]] * 10, batch_size=4).outputs.latency
    assert (latency.batch_size, latency.batches) == (4, 3)
    assert latency.latency_median_s is not None
    assert latency.latency_p95_s is not None
    assert latency.latency_max_s is not None
    assert 0 < latency.latency_median_s <= latency.latency_p95_s <= latency.latency_max_s <= latency.latency_total_s
    assert latency.images_per_second == pytest.approx(10 / latency.latency_total_s)
