"""Values that travel between versions: what one version does not know, it keeps and passes on.

A newer version may have added a field to what it wrote. Whoever reads that here and writes it again, into a manifest, a
snapshot, an order, must not lose it; so an unknown field is no error and is part of the value. A change that an older
version must not overlook raises the number of the format instead, and is refused by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

__all__ = ["Evolving", "Given"]


class Evolving(BaseModel):
    """A value of which another version may know more fields; they are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Given(Evolving):
    """One that people write too: in JSON an unknown field is another version's and kept, in Python it is a typo."""

    @model_validator(mode="wrap")
    @classmethod
    def _no_typos(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if info.mode != "python" or isinstance(data, cls):
            return handler(data)
        try:
            value = handler(data)
        except ValidationError as error:
            known = cls.model_fields
            unknown = {key: data[key] for key in data if key not in known} if isinstance(data, Mapping) else {}
            if unknown:  # a typo is often why another field is missing, so both are told
                raise _refused(cls, [*map(_again, error.errors(include_url=False)), *_typos(unknown)]) from None
            raise
        if value.model_extra:
            raise _refused(cls, list(_typos(value.model_extra)))
        return value


def _refused(kind: type[BaseModel], found: list[InitErrorDetails]) -> ValidationError:
    hidden = bool(kind.model_config.get("hide_input_in_errors"))
    return ValidationError.from_exception_data(kind.__name__, found, hide_input=hidden)


def _typos(unknown: Mapping[Any, Any]) -> Iterator[InitErrorDetails]:
    return (InitErrorDetails(type="extra_forbidden", loc=(str(name),), input=unknown[name]) for name in unknown)


def _again(found: ErrorDetails) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError(found["type"], found["msg"]), loc=found["loc"], input=found["input"]
    )
