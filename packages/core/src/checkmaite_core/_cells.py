"""One value of one column: exactly what was given, as a plain Python object, or refused.

NumPy is not imported: its scalars, and the 0-d arrays and tensors of any library, are known by what they can do.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any

__all__ = [
    "NotExactError",
    "Scalar",
    "ScalarType",
    "_surrogate_in",
    "check_unicode",
    "encodable",
    "exact",
    "plain_number",
    "show",
]

Scalar = str | int | float | bool | bytes | datetime | date | None
"""What one cell can hold."""


class ScalarType(StrEnum):
    """The type of a column. The values are stored in schemas and must not change."""

    STRING = "string"
    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    """Microseconds, UTC."""
    DATE = "date"


_LARGEST_EXACT_FLOAT = 2**53
"""Above it, floats stand for more than one whole number."""
_LONGEST_SHOWN = 80
_MOST_DIGITS_BITS = 1024


class NotExactError(ValueError):
    """A value is not exactly what its column can hold.

    Attributes:
        why: What is wrong with it; a clause that begins with the value.
        hint: What to write instead.
    """

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(f"{why} {hint}")
        self.why = why
        self.hint = hint


def exact(value: Any, kind: ScalarType) -> Scalar:
    """The value as a plain ``str``, ``int``, ``float``, ``bool``, ``bytes``, aware ``datetime`` or ``date``.

    Raises:
        NotExactError: It is of another type, or would have to be changed to fit.
    """
    if isinstance(value, Enum):
        return exact(value.value, kind)
    if value is None:
        return None
    return _RULES[kind](value)


def plain_number(value: Any) -> Any:
    """A scalar of an array library as the Python object that equals it; anything else as it is.

    Raises:
        NotExactError: It is masked, or wider than a float and not equal to one.
    """
    if type(value) in _PLAIN or getattr(value, "dtype", None) is None:
        return value
    if getattr(value, "ndim", None) != 0 or not callable(getattr(value, "item", None)):
        return value
    if str(value.dtype)[:8] in ("datetime", "timedelt"):  # item() gives an int for nanoseconds
        return value
    if getattr(value, "mask", False) is not False and bool(value.mask):
        raise NotExactError(f"{show(value)} is a masked value.", "Store None where there is no value.")
    item = value.item()
    if type(item) in _PLAIN or getattr(item, "dtype", None) is None:
        return item
    if isinstance(item, numbers.Real):  # longdouble: its item() is itself
        return _float_of(item, item)
    return value


def _surrogate_in(text: str) -> int | None:
    """Position of the first lone surrogate of a text, which UTF-8 cannot encode; None if there is none."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def check_unicode(text: str) -> str:
    """The text, if UTF-8 can encode it.

    Raises:
        NotExactError: It holds a lone surrogate.
    """
    position = _surrogate_in(text)
    if position is None:
        return text
    raise NotExactError(
        f"{show(text)} holds a lone surrogate, {text[position]!a} at position {position}, which UTF-8 cannot encode.",
        "Such texts come from file names and bytes that are not UTF-8: decode them in their own encoding, or write "
        "text.encode('utf-8', 'backslashreplace').decode().",
    )


def encodable(value: Any) -> Any:
    """For a field of a pydantic model: the value, if it is no text that UTF-8 cannot encode.

    pydantic would refuse it as well, where it counts characters, and say nothing that helps.

    Raises:
        NotExactError: It is such a text.
    """
    return check_unicode(value) if isinstance(value, str) else value


def show(value: Any) -> str:
    """A value for a message: short, and whatever its class's own ``repr`` does."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _MOST_DIGITS_BITS:
        return f"an int of {value.bit_length()} bits"
    shown = _repr.repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST_SHOWN


def _text(value: Any) -> str:
    if not isinstance(value, str):
        value = plain_number(value)
    if not isinstance(value, str):
        raise _wrong_type(value, ScalarType.STRING, "Convert it with str() if the text is what you mean.")
    return check_unicode(value if type(value) is str else str.__str__(value))


def _whole(given: Any) -> int:
    value = given if type(given) is int else plain_number(given)
    if isinstance(value, bool):
        raise _wrong_type(given, ScalarType.INT64, "Declare the field as bool, or write int(value).")
    if isinstance(value, int):
        whole = value if type(value) is int else int.__index__(value)
    elif isinstance(value, float | Decimal | Fraction):
        whole = _whole_of(value, given)
    else:
        raise _wrong_type(given, ScalarType.INT64, "Convert it with int() if the number is what you mean.")
    if not -(2**63) <= whole < 2**63:
        raise NotExactError(
            f"{show(given)} does not fit into 64 bits.",
            "Declare the field as str and store str(value), or as float and store float(value), which rounds.",
        )
    return whole


def _whole_of(value: float | Decimal | Fraction, given: Any) -> int:
    finite = not isinstance(value, float | Decimal) or math.isfinite(value)
    if finite and value == (whole := int(value)):
        if not isinstance(value, float) or abs(whole) <= _LARGEST_EXACT_FLOAT:
            return whole
        raise NotExactError(
            f"{show(given)} is a {_name(given)} above 2**53, where floats no longer tell whole numbers apart.",
            "Keep the number as an int from the start, or write int(value) if this one is meant.",
        )
    raise NotExactError(
        f"{show(given)} is a {_name(given)} where int64 is declared, and not a whole number.",
        "Declare the field as float, write int(value) to cut it off, or store None where there is no value.",
    )


def _real(value: Any) -> float:
    if type(value) is float:
        return value
    given, value = value, plain_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction):
        raise _wrong_type(given, ScalarType.FLOAT64, "Convert it with float() if the number is what you mean.")
    if isinstance(value, float):
        return float.__add__(value, -0.0)  # a plain float, whatever the subclass; -0.0 keeps its sign
    return _float_of(value, given)


def _float_of(value: Any, given: Any) -> float:
    if isinstance(value, Decimal) and value.is_nan() and not value.is_snan():
        return math.nan
    try:
        near = float(value)
        if near == value or (near != near and value != value):  # both are NaN
            return near
    except (OverflowError, ValueError):
        pass
    raise NotExactError(
        f"{show(given)} is a {_name(given)} that no float equals.",
        "Write float(value) to store the nearest float, or declare the field as int or str.",
    )


def _truth(value: Any) -> bool:
    given, value = value, plain_number(value)
    if isinstance(value, bool):
        return value
    raise _wrong_type(given, ScalarType.BOOL, "Convert it with bool() if its truth is what you mean.")


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return value if type(value) is bytes else memoryview(value).tobytes()
    raise _wrong_type(value, ScalarType.BYTES, "Convert a text with value.encode(), an array with value.tobytes().")


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        hint = "Convert it to an aware datetime, such as datetime(2026, 1, 31, 12, tzinfo=timezone.utc)."
        raise _wrong_type(value, ScalarType.TIMESTAMP, hint)
    if value != value:  # pandas.NaT
        raise NotExactError(f"{show(value)} is no time.", "Store None where there is no value.")
    if value.utcoffset() is None:
        raise NotExactError(
            f"{value.isoformat()} has no time zone.",
            "Use an aware datetime, such as datetime.now(timezone.utc), or value.replace(tzinfo=timezone.utc).",
        )
    if getattr(value, "nanosecond", 0):
        raise NotExactError(
            f"{show(value)} has nanoseconds, and a column holds microseconds.",
            "Round it, for pandas with value.round('us'), or store the nanoseconds as an int.",
        )
    try:
        moment = value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise NotExactError(
            f"{show(value)} lies outside the years 1 to 9999 in UTC.", "Store None where there is no time."
        ) from None
    return datetime(
        moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond, tzinfo=UTC
    )


def _day(value: Any) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        hint = "Convert it to a date: value.date() of a datetime, value.item() of a NumPy day."
        raise _wrong_type(value, ScalarType.DATE, hint)
    return value if type(value) is date else date(value.year, value.month, value.day)


def _wrong_type(value: Any, kind: ScalarType, hint: str) -> NotExactError:
    return NotExactError(f"{show(value)} is a {_name(value)} where {kind} is declared.", hint)


def _name(value: Any) -> str:
    return type(value).__qualname__


_PLAIN = frozenset({str, int, float, bool, bytes, datetime, date, type(None)})
_RULES: Mapping[ScalarType, Callable[[Any], Scalar]] = {
    ScalarType.STRING: _text,
    ScalarType.INT64: _whole,
    ScalarType.FLOAT64: _real,
    ScalarType.BOOL: _truth,
    ScalarType.BYTES: _bytes,
    ScalarType.TIMESTAMP: _moment,
    ScalarType.DATE: _day,
}
