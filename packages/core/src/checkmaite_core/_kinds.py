"""From the annotations of a record's fields to the types of its columns."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any

from checkmaite_core._cells import ScalarType

__all__ = ["allows_none", "kind_of", "scalar_types"]

# bool before int and datetime before date: the former are subclasses of the latter.
_BY_PYTHON: tuple[tuple[type, ScalarType], ...] = (
    (bool, ScalarType.BOOL),
    (str, ScalarType.STRING),
    (int, ScalarType.INT64),
    (float, ScalarType.FLOAT64),
    (bytes, ScalarType.BYTES),
    (datetime, ScalarType.TIMESTAMP),
    (date, ScalarType.DATE),
)


def scalar_types(annotation: Any) -> Iterable[ScalarType | None]:
    """The scalar types that an annotation allows; None stands for anything that is not one."""
    if annotation is type(None):
        return
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from scalar_types(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from scalar_types(member)
    elif origin is typing.Literal:
        for value in typing.get_args(annotation):
            yield from scalar_types(type(value))
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for item in annotation:
            yield from scalar_types(type(item.value))
    elif isinstance(annotation, type):
        yield next((scalar for python, scalar in _BY_PYTHON if issubclass(annotation, python)), None)
    else:
        yield None


def allows_none(annotation: Any) -> bool:
    """Whether an annotation allows None."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return allows_none(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return any(map(allows_none, typing.get_args(annotation)))
    if origin is typing.Literal:
        return None in typing.get_args(annotation)
    return annotation is None or annotation is type(None)


_LEAVES: Mapping[str, ScalarType] = {
    "str": ScalarType.STRING,
    "int": ScalarType.INT64,
    "float": ScalarType.FLOAT64,
    "bool": ScalarType.BOOL,
    "bytes": ScalarType.BYTES,
    "datetime": ScalarType.TIMESTAMP,
    "date": ScalarType.DATE,
}


def kind_of(schema: Mapping[str, Any]) -> ScalarType | None:
    """The column type that an innermost pydantic schema stands for."""
    if schema["type"] == "enum":
        values = [member.value for member in schema["members"]]
    elif schema["type"] == "literal":
        values = [value for value in schema["expected"] if value is not None]
    else:
        return _LEAVES.get(schema["type"])
    kinds = {kind for value in values for kind in scalar_types(type(value))}
    return kinds.pop() if len(kinds) == 1 else None
