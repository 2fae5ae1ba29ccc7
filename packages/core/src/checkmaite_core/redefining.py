"""Classes that were defined again, as a notebook does when a cell is run a second time: same name, another object."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel, ValidationError

from checkmaite_core.errors import InvalidCapabilityError

__all__ = ["as_class"]


def as_class(value: Any, wanted: type[Any], capability: type[Any]) -> Any:
    """A config as one of the class that a capability refers to, where both are definitions of one class.

    Args:
        value: The config that was given, not an instance of ``wanted``.
        wanted: The capability's config class.
        capability: The capability, for messages.

    Raises:
        InvalidCapabilityError: It is of another class, or of a definition whose fields differ.
    """
    given = type(value)
    if (given.__module__, given.__qualname__) != (wanted.__module__, wanted.__qualname__):
        raise InvalidCapabilityError(
            f"{capability.__name__} takes a {wanted.__qualname__} as config, but a {given.__qualname__} was given.",
            hint=f"Pass config={wanted.__qualname__}(...), or leave it out for the defaults.",
        )
    differences = _differences(given, wanted)
    if not differences:
        try:
            return wanted.model_validate(value.model_dump(round_trip=True, by_alias=True))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            differences = [f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in found]
    name = wanted.__qualname__
    if _current(wanted) is wanted:
        older, hint = "the config was made of the older one", f"Make the config again: config={name}(...)."
    else:
        older = f"{capability.__name__} refers to the older one"
        hint = f"Run the cell that defines {capability.__name__} again, then the one that makes the capability."
    raise InvalidCapabilityError(
        f"{name} has been defined twice, and {older}; the two differ: {'; '.join(differences)}.", hint=hint
    )


def _differences(given: type[Any], wanted: type[Any]) -> list[str]:
    """What differs between two definitions of one class."""
    if not (issubclass(given, BaseModel) and issubclass(wanted, BaseModel)):
        return ["they are no pydantic models, so their fields cannot be compared"]
    ours, theirs = given.model_fields, wanted.model_fields
    found = [f"only one of them has {name}" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        one, other = ours[name], theirs[name]
        # By their text: a type that was defined again along with the class is another object of the same name.
        if repr(one.annotation) != repr(other.annotation) or repr(one.metadata) != repr(other.metadata):
            found.append(f"the type of {name}")
        elif repr(one.default) != repr(other.default) or one.is_required() != other.is_required():
            found.append(f"the default of {name}")
    return found


def _current(wanted: type[Any]) -> object:
    """What the name of a class means now where it was defined."""
    found: object = sys.modules.get(wanted.__module__)
    for part in wanted.__qualname__.split("."):
        found = getattr(found, part, None)
    return found
