"""What client and worker must agree on about a capability's models: the same functions run on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from checkmaite_core.capability import Capability

__all__ = ["differences", "fields_of_models", "identity_of"]


def fields_of_models(capability: Any, config: Any) -> dict[str, dict[str, str]]:
    """Fields by name, with their types in words, of the capability's config, run and outputs classes.

    Of a capability that is none of ours only the given config is known, if it is pydantic's.
    """
    classes: dict[str, Any] = {"config": type(config)}
    if isinstance(capability, Capability):
        classes = {"config": capability.config_class, "run": capability.run_class}
        outputs = getattr(capability.run_class, "model_fields", {}).get("outputs")
        classes["outputs"] = getattr(outputs, "annotation", None)
    return {
        f"{role} {kind.__name__}": {
            name: _type_text(field.annotation) + ("" if field.is_required() else ", with a default")
            for name, field in kind.model_fields.items()
        }
        for role, kind in classes.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }


def identity_of(capability: Any, config: Any) -> str | None:
    """The ``run_uid`` of a run with this config and without inputs or outputs, so that none has to be made.

    None for capabilities that are none of ours, and where a run's identity is made from more than that.
    """
    if not isinstance(capability, Capability) or not issubclass(capability.run_class, BaseModel):
        return None
    try:
        run = capability.run_class.model_construct(
            capability_id=capability.id,
            config=capability.config_class() if config is None else config,
            dataset_metadata=[],
            model_metadata=[],
            metric_metadata=[],
        )
        return str(run.run_uid)  # type: ignore[attr-defined]
    except Exception:  # the user's code, on an unfinished run: what it needs is not known
        return None


def differences(ours: Mapping[str, Mapping[str, str]], theirs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Where the fields of the worker's models differ from the client's, in words."""
    found = []
    for role in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(role), theirs.get(role)
        if here is None or there is None:
            found.append(f"{role} is only {'there' if here is None else 'here'}")
            continue
        for name in sorted(here.keys() | there.keys()):
            if name not in there:
                found.append(f"{role} lacks field {name!r} there")
            elif name not in here:
                found.append(f"{role} has a field {name!r} there that it lacks here")
            elif here[name] != there[name]:
                found.append(f"{role}.{name} is {there[name]} there, and {here[name]} here")
    return found


def _type_text(annotation: Any) -> str:
    """A type in words that are the same on both sides.

    Names alone, without what they are defined in: classes of a notebook or a function, which travel by value, have
    another qualified name where they arrive.
    """
    arguments, origin = [_type_text(argument) for argument in get_args(annotation)], get_origin(annotation)
    if origin in (Union, UnionType):
        return " | ".join(arguments)
    if arguments:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(arguments)}]"
    if annotation is NoneType:
        return "None"
    text = annotation.__name__ if isinstance(annotation, type) else repr(annotation)
    return str(text).partition(" at 0x")[0]  # an address says nothing on another machine
