"""The innermost steps of a pydantic model's validation, and how to go before them.

pydantic turns what is given into the field's type, not always exactly: ``np.int64(2**60 + 1)`` becomes an ``int`` by
way of a ``float``. A step of ours before that one gets the value as it was given, after the model's own validators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import CoreSchema, core_schema

__all__ = ["Before", "with_steps_before"]

Before = Callable[[Any], Any]

_HOLDS_ONE = frozenset(
    {"schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "lax_schema", "strict_schema"}
    | {"python_schema"}
)
_HOLDS_SEVERAL = frozenset({"choices", "steps", "definitions", "items_schema"})


Step = Callable[[Mapping[str, Any], str | None], Before | None]


def with_steps_before(schema: CoreSchema, step: Step) -> CoreSchema:
    """The schema with steps of ours before its innermost ones; models inside the model keep their own.

    Args:
        schema: Of a model, as pydantic made it; it is not changed.
        step: Gets an innermost schema and the name of the model's field that it belongs to; returns what is to be
            done with a value before it, or None for nothing.
    """
    return _walked(schema, step, None)  # type: ignore[no-any-return]


def _walked(schema: Any, step: Step, field: str | None) -> Any:
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    inner = False
    for key, value in schema.items():
        if key == "fields" and isinstance(value, dict):
            changed[key] = {name: _walked(one, step, field or name) for name, one in value.items()}
            inner = True
        elif key in _HOLDS_ONE and isinstance(value, dict):
            changed[key] = _walked(value, step, field)
            inner = True
        elif key in _HOLDS_SEVERAL and isinstance(value, list):
            changed[key] = [
                (_walked(one[0], step, field), *one[1:]) if isinstance(one, tuple) else _walked(one, step, field)
                for one in value
            ]
            inner = True
        elif key == "choices" and isinstance(value, dict):
            changed[key] = {tag: _walked(one, step, field) for tag, one in value.items()}
            inner = True
    before = None if inner else step(schema, field)
    return changed if before is None else _before(before, changed)


def _before(before: Before, schema: Any) -> CoreSchema:
    def given(value: Any, info: core_schema.ValidationInfo) -> Any:
        return before(value) if info.mode == "python" else value  # JSON has types of its own, which pydantic knows

    return core_schema.with_info_before_validator_function(given, schema)
