"""Answers as Arrow: whole numbers stay whole numbers.

The engine sums ``int`` columns in 128 bits, which Arrow shows as ``decimal128(38, 0)``. Here such a column is ``int64``
if all of its values fit, and exact decimals if they do not; so are those inside lists, structs and maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from checkmaite_core.errors import QueryError

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["whole_numbers"]

_WIDE = pa.decimal128(38, 0)


def whole_numbers(answer: pa.Table, types: Sequence[DuckDBPyType]) -> pa.Table:
    """The answer with ``int64`` where a column of 128-bit integers fits.

    Args:
        answer: As the engine gives it.
        types: The engine's types of its columns.

    Raises:
        QueryError: A column is of unsigned 128-bit integers, which Arrow has no type for.
    """
    for position, (field, kind) in enumerate(zip(answer.schema, types, strict=True)):
        if "UHUGEINT" in str(kind):
            raise QueryError(
                f"column {field.name!r} of the answer is of the type {kind}, which has no exact form in Arrow.",
                hint=f"Cast it: CAST({field.name} AS VARCHAR), or AS BIGINT where the numbers fit.",
            )
        narrow = _narrow(field.type, kind)
        if narrow != field.type:
            try:
                column = answer.column(position).cast(narrow)
            except pa.ArrowInvalid:  # one does not fit
                continue
            answer = answer.set_column(position, pa.field(field.name, narrow, field.nullable), column)
    return answer


def _narrow(arrow: pa.DataType, kind: DuckDBPyType) -> pa.DataType:
    """The Arrow type with 64 bits wherever the engine's own type is an integer of 128."""
    if kind.id == "hugeint":
        return pa.int64() if arrow == _WIDE else arrow
    if kind.id in ("list", "array", "struct", "map"):
        children: dict[str, Any] = dict(kind.children)
        if pa.types.is_list(arrow):
            return pa.list_(arrow.value_field.with_type(_narrow(arrow.value_type, children["child"])))
        if pa.types.is_fixed_size_list(arrow):
            inner = arrow.value_field.with_type(_narrow(arrow.value_type, children["child"]))
            return pa.list_(inner, arrow.list_size)
        if pa.types.is_map(arrow):
            return pa.map_(_narrow(arrow.key_type, children["key"]), _narrow(arrow.item_type, children["value"]))
        if pa.types.is_struct(arrow):
            return pa.struct([field.with_type(_narrow(field.type, children[field.name])) for field in arrow])
    return arrow
