"""Turn what a MAITE metric computed into rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checkmaite_capabilities._evaluation_results import MetricValue
from checkmaite_capabilities._inputs import explain
from checkmaite_core import InputContractError
from checkmaite_core.inputs import input_id

if TYPE_CHECKING:
    from maite.protocols import image_classification as ic

__all__ = ["metric_values"]


def metric_values(metric: ic.Metric, names: Sequence[str], *, measured: bool = True) -> Iterator[MetricValue]:
    """Compute a metric and read its numbers.

    Args:
        metric: The metric, after its last update.
        names: Names of the classes: an array of as many elements is taken to be by class.
        measured: Whether any image had usable scores. Where none had, what the metric makes of them is no figure, and
            stands in the note.

    Raises:
        InputContractError: What it computed is not a mapping with strings as keys.
    """
    metric_id = input_id(metric)
    with explain(f"computing metric {metric_id!r}"):
        computed: Any = metric.compute()
    if not isinstance(computed, Mapping) or not all(isinstance(key, str) for key in computed):
        raise InputContractError(
            f"metric {metric_id!r} computed a {type(computed).__qualname__}, not a mapping from names to values.",
            hint="Let compute() return a dict such as {'accuracy': 0.93}.",
        )
    for name, value in computed.items():
        for one in _values(metric_id, name, value, names):
            yield one if measured or one.value is None else _unmeasured(one)


def _values(metric_id: str, name: str, value: Any, names: Sequence[str]) -> Iterator[MetricValue]:
    try:
        array = np.asanyarray(value)  # a masked array keeps its mask
    except (TypeError, ValueError, RuntimeError) as error:
        yield _unsupported(metric_id, name, f"NumPy cannot read a {type(value).__qualname__}: {error}")
        return
    if array.dtype.kind not in "biuf":
        what = type(value).__qualname__ if array.ndim == 0 else f"array of {array.dtype}"
        yield _unsupported(metric_id, name, f"{what} is not a number or an array of numbers")
    elif array.ndim > 1:
        yield _unsupported(metric_id, name, f"array of shape {array.shape}: only numbers and flat arrays are stored")
    elif array.ndim == 1 and array.size == 0:
        yield _unsupported(metric_id, name, "empty array")
    elif array.ndim == 0:
        number, note = _number(array)
        yield MetricValue(
            metric_id=metric_id,
            name=name,
            kind="scalar",
            element_index=None,
            class_label=None,
            value=number,
            note=note,
        )
    else:
        by_class = array.size == len(names)
        for index, element in enumerate(array):
            number, note = _number(element)
            yield MetricValue(
                metric_id=metric_id,
                name=name,
                kind="per_class" if by_class else "array",
                element_index=index,
                class_label=names[index] if by_class else None,
                value=number,
                note=note,
            )


def _number(element: Any) -> tuple[float | None, str | None]:
    if np.ma.is_masked(element):
        return None, "masked"
    number = float(element)
    if element.dtype.kind in "iu" and int(number) != int(element):
        return None, f"no float equals {element}"
    return (number, None) if math.isfinite(number) else (None, f"not finite: {number}")


def _unmeasured(value: MetricValue) -> MetricValue:
    note = f"no image has usable scores; the metric computed {value.value:g} from none"
    return value.model_copy(update={"value": None, "note": note})


def _unsupported(metric_id: str, name: str, note: str) -> MetricValue:
    return MetricValue(
        metric_id=metric_id,
        name=name,
        kind="unsupported",
        element_index=None,
        class_label=None,
        value=None,
        note=note,
    )
