"""Answers for other programs: CSV and JSON."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TextIO

from checkmaite_cli.console import plain
from checkmaite_core.errors import QueryError

__all__ = ["cell_text", "write_csv", "write_document", "write_json"]

_ACTS_ON_A_TERMINAL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What json.dumps leaves as it is, beyond the characters below a space, and a terminal does not."""


def write_csv(file: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV with a header line.

    NULL is an empty field; times are ISO 8601 in UTC; bytes are in base64. Control characters inside text are
    written out, such as ``\\x1b``, line ends and tabs excepted.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([plain(name) for name in names])
    for row in rows:
        writer.writerow(["" if value is None else plain(cell_text(value), keep="\n\t") for value in row])


def write_json(file: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write one JSON array with an object per row, a row to a line.

    Times and bytes are as in CSV; a number that is not finite is null, since JSON has none such.

    Raises:
        QueryError: Two columns have one name, so one would hide the other.
    """
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise QueryError(
            f"two columns of the answer are called {repeated[0]!r}.",
            hint="Give each its own name with AS, or use --format csv.",
        )
    separator = "["
    for row in rows:
        document = dict(zip(names, row, strict=True))
        file.write(f"{separator}\n{_json_text(document, file)}")
        separator = ","
    file.write("\n]\n" if separator == "," else "[]\n")


def write_document(file: TextIO, document: dict[str, Any]) -> None:
    """Write one JSON object, indented. Times and control characters are as in :func:`write_json`."""
    file.write(_json_text(document, file, indent=2) + "\n")


def _json_text(document: dict[str, Any], file: TextIO, indent: int | None = None) -> str:
    # JSON's own escapes where the locale cannot write the character itself; a file in memory has no encoding.
    ascii_only = "utf" not in (getattr(file, "encoding", None) or "utf-8").lower()
    text = json.dumps(_json_value(document), ensure_ascii=ascii_only, allow_nan=False, indent=indent)
    return _ACTS_ON_A_TERMINAL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def cell_text(value: Any) -> str:
    """One value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").replace("+00:00", "Z")
    if isinstance(value, list | dict):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return str(value)


def _json_value(value: Any) -> Any:
    """One value as JSON has it; what a query can nest is nested here too."""
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else cell_text(value)
