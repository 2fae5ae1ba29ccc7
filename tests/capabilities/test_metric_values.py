"""Metrics are driven as MAITE drives them, and what they compute becomes rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import maite.tasks
import numpy as np
import pytest

from checkmaite_capabilities import ModelEvaluationRun
from checkmaite_core import InputContractError

Make = Callable[..., Any]
Evaluate = Callable[..., ModelEvaluationRun]


@pytest.fixture
def compute(evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make) -> Callable[[Any], list[Any]]:
    """What becomes of one computed value, as (kind, element, class, value, note) per row."""

    def run(computed: Any) -> list[Any]:
        metric = make_metric(computed, name="m")
        dataset = make_dataset(1, index2label={0: "cat", 1: "dog"})
        values = evaluate(make_model([[1.0, 0.0]]), dataset, metric).outputs.metric_values
        assert {(value.metric_id, value.name) for value in values} <= {("m", "x")}
        return [(value.kind, value.element_index, value.class_label, value.value, value.note) for value in values]

    return run


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), np.float16(0.5)])
def test_a_number_is_a_scalar(compute: Callable[[Any], list[Any]], number: Any) -> None:
    assert compute({"x": number}) == [("scalar", None, None, 0.5, None)]


def test_counts_and_truth_values_are_numbers(compute: Callable[[Any], list[Any]]) -> None:
    assert compute({"x": 3}) == [("scalar", None, None, 3.0, None)]
    assert compute({"x": np.True_}) == [("scalar", None, None, 1.0, None)]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null_with_a_note(compute: Callable[[Any], list[Any]], number: float) -> None:
    assert compute({"x": number}) == [("scalar", None, None, None, f"not finite: {number}")]


def test_an_array_with_one_element_per_class_is_by_class(compute: Callable[[Any], list[Any]]) -> None:
    assert compute({"x": np.array([0.25, math.nan])}) == [
        ("per_class", 0, "cat", 0.25, None),
        ("per_class", 1, "dog", None, "not finite: nan"),
    ]


def test_an_array_of_another_length_is_by_position(compute: Callable[[Any], list[Any]]) -> None:
    assert compute({"x": [1, 2, 3]}) == [("array", index, None, index + 1.0, None) for index in range(3)]


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (np.eye(2), "array of shape (2, 2): only numbers and flat arrays are stored"),
        ("high", "str is not a number or an array of numbers"),
        (None, "NoneType is not a number or an array of numbers"),
        ({"cat": 1.0}, "dict is not a number or an array of numbers"),
        (["a"], "array of <U1 is not a number or an array of numbers"),
        ([], "empty array"),
        ([[1.0], [1.0, 2.0]], "NumPy cannot read a list"),
        (1j, "complex is not a number or an array of numbers"),
    ],
)
def test_anything_else_is_kept_as_a_row_that_says_why_it_has_no_number(
    compute: Callable[[Any], list[Any]], value: Any, note: str
) -> None:
    [(kind, element, label, number, found)] = compute({"x": value})
    assert (kind, element, label, number) == ("unsupported", None, None, None)
    assert found.startswith(note)


@pytest.mark.parametrize("computed", [0.5, None, {1: 0.5}, [("x", 0.5)]])
def test_a_metric_that_computes_no_mapping_of_names_is_explained(
    compute: Callable[[Any], list[Any]], computed: Any
) -> None:
    with pytest.raises(InputContractError, match="metric 'm' computed a"):
        compute(computed)


def test_a_metric_is_reset_and_gets_what_model_and_dataset_gave(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make
) -> None:
    rows = [np.array([1.0, 0.0], dtype=np.float32) for _ in range(3)]
    dataset, metric = make_dataset(3), make_metric({})
    evaluate(make_model(rows), dataset, metric, batch_size=2)
    assert [len(predictions) for predictions, _, _ in metric.updates] == [2, 1]
    predictions = [row for given, _, _ in metric.updates for row in given]
    assert all(given is row for given, row in zip(predictions, rows, strict=True))
    assert [datum["id"] for _, _, metadata in metric.updates for datum in metadata] == ["datum-0", "datum-1", "datum-2"]


@pytest.mark.parametrize(
    ("method", "note"),
    [
        ("reset", "resetting metric 'm'"),
        ("update", "metric 'm' was updated with images 0 to 0 of dataset 'data'"),
        ("compute", "computing metric 'm'"),
    ],
)
def test_an_exception_of_a_metric_passes_with_a_note(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make, method: str, note: str
) -> None:
    def fail(self: Any, *args: Any) -> None:
        raise ZeroDivisionError

    metric = make_metric({}, name="m")
    broken = type("Broken", (type(metric),), {method: fail})({}, "m")
    with pytest.raises(ZeroDivisionError) as caught:
        evaluate(make_model([[1.0, 0.0]]), make_dataset(1), broken)
    assert caught.value.__notes__ == [f"This happened while {note}."]


def test_a_metric_computes_what_maite_itself_has_it_compute(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    class Accuracy:
        metadata = {"id": "accuracy"}  # noqa: RUF012 - as MAITE's examples have it

        def reset(self) -> None:
            self.right: list[bool] = []

        def update(self, pred_batch: Any, target_batch: Any, metadata_batch: Any) -> None:
            self.right += [np.argmax(p) == np.argmax(t) for p, t in zip(pred_batch, target_batch, strict=True)]

        def compute(self) -> dict[str, Any]:
            return {"accuracy": np.mean(self.right)}

    rng = np.random.default_rng(0)
    scores, dataset = rng.dirichlet([1, 1, 1], 50), make_dataset(50, rng.integers(3, size=50).tolist(), classes=3)
    outputs = evaluate(make_model(scores), dataset, Accuracy(), batch_size=8).outputs
    expected, _, _ = maite.tasks.evaluate(model=make_model(scores), metric=Accuracy(), dataset=dataset, batch_size=8)
    assert outputs.metric_values[0].value == expected["accuracy"] == pytest.approx(outputs.overall.accuracy)


def test_what_a_metric_makes_of_unusable_scores_is_no_figure(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make
) -> None:
    metric = make_metric({"x": 0.25, "none": math.nan}, name="m")
    run = evaluate(make_model([[math.nan, math.nan]]), make_dataset(1), metric)
    assert [(value.value, value.note) for value in run.outputs.metric_values] == [
        (None, "no image has usable scores; the metric computed 0.25 from none"),
        (None, "not finite: nan"),
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (2**53 + 1, (None, f"no float equals {2**53 + 1}")),
        (np.ma.masked, (None, "masked")),
        (np.ma.array([0.5, 0.25, 0.75], mask=[False, True, False]), (0.5, None)),
    ],
)
def test_a_value_that_is_missing_or_inexact_is_null_with_a_note(
    compute: Callable[[Any], list[Any]], value: Any, found: tuple[Any, Any]
) -> None:
    rows = compute({"x": value})
    assert rows[0][3:] == found
    if len(rows) > 1:
        assert rows[1][3:] == (None, "masked")
