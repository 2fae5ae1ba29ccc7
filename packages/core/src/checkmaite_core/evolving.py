"""Values that travel between versions: what one version does not know, it keeps and passes on.

A newer version may have added a field to what it wrote. Whoever reads that here and writes it again, into a manifest, a
snapshot, an order, must not lose it; so an unknown field is no error and is part of the value. A change that an older
version must not overlook raises the number of the format instead, and is refused by that.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails

__all__ = ["Evolving", "Given"]


class Evolving(BaseModel):
    """A value of which another version may know more fields; they are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Given(Evolving):
    """One that people write too: in JSON an unknown field is another version's and kept, in Python it is a typo."""

    @model_validator(mode="wrap")
    @classmethod
    def _no_typos(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        value = handler(data)
        unknown = value.model_extra
        if unknown and info.mode == "python" and not isinstance(data, cls):
            raise ValidationError.from_exception_data(
                cls.__name__,
                [InitErrorDetails(type="extra_forbidden", loc=(name,), input=unknown[name]) for name in unknown],
                hide_input=bool(cls.model_config.get("hide_input_in_errors")),
            )
        return value
