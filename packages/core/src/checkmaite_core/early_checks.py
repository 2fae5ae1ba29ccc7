"""What can be known before the hours of work: that a config, or the columns of the records, could not be stored."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from checkmaite_core.capability import Capability
from checkmaite_core.errors import CheckmaiteError, InvalidCapabilityError, RunContractError
from checkmaite_core.inputs import InputRef, Inputs, own_id
from checkmaite_core.naming import check_text
from checkmaite_core.record import ScalarType, columns_of
from checkmaite_core.run import CapabilityConfig, config_identity, config_text
from checkmaite_core.store import ResultStore

__all__ = ["FIRST_WAIT_S", "check_config", "check_texts", "columns_known", "record_classes"]

FIRST_WAIT_S = 60.0
"""Seconds that a job waits for its store before its work. Then it fails, to be tried again: nothing is lost yet."""


def check_config(capability: Any, config: Any) -> None:
    """Refuse a config that could not be stored once the work is done.

    Raises:
        InvalidCapabilityError: Something in it has no JSON form; the message names it.
    """
    if config is None and isinstance(capability, Capability):
        try:
            config = capability.config_class()
        except Exception:  # it needs values: run() will say so at once
            return
    if not isinstance(config, CapabilityConfig):
        _check_foreign_config(config)
        return
    try:
        config_identity(config)
    except RunContractError as error:
        raise InvalidCapabilityError(
            f"the config cannot be stored, so nothing was started: {_culprit(config)}{error.message}", hint=error.hint
        ) from None
    except CheckmaiteError:
        raise
    except Exception as error:  # a user's serializer: whatever it raises would be raised after the work
        raise InvalidCapabilityError(
            f"the config cannot be stored, so nothing was started: {_culprit(config)}{type(error).__name__}: {error}",
            hint="Give the field a type that JSON has (numbers, text, lists, mappings), or a pydantic serializer; what "
            "is no part of the run's identity can be excluded with Field(exclude=True).",
        ) from error


def _check_foreign_config(config: Any) -> None:
    """How another's config is told is the affair of the run that has it; but no text that cannot be stored."""
    try:
        config_text(config)
    except RunContractError as error:
        raise InvalidCapabilityError(
            f"the config cannot be stored, so nothing was started: {error.message}", hint=error.hint
        ) from None
    except Exception:  # not ours to tell
        return


def check_texts(capability_id: str, name: str, inputs: Inputs) -> None:
    """Refuse names that could not be stored once the work is done.

    Raises:
        InvalidCapabilityError: A text holds a lone surrogate; the message names it.
    """
    named = [(capability_id, "the capability's id")]
    for kind in ("models", "datasets", "metrics"):
        for position, value in enumerate(getattr(inputs, kind)):
            texts = {"id": own_id(value), "uri": getattr(value, "uri", None) if isinstance(value, InputRef) else None}
            named += [(text, f"the {what} of {kind}[{position}]") for what, text in texts.items() if text is not None]
    for text, what in [*named, (name, "the job's name")]:  # which is made of the others, if it was not given
        try:
            check_text(text, what)
        except RunContractError as error:
            raise InvalidCapabilityError(error.message, hint=error.hint) from None


def _culprit(config: CapabilityConfig) -> str:
    for name in type(config).model_fields:
        try:
            config_identity(config, only=name)
        except Exception:  # found: the caller reports the error that it has, under this name
            return f"field {name!r} of {type(config).__qualname__}: "
    return ""


def record_classes(run_class: Any) -> tuple[type[BaseModel], ...]:
    """The record classes of a class of runs, as far as it says: in ``records``, or in what ``extract`` returns."""
    named = getattr(run_class, "records", ())
    if isinstance(named, list | tuple) and named:
        return tuple(one for one in named if isinstance(one, type) and issubclass(one, BaseModel))
    extract = getattr(run_class, "extract", None)
    try:
        returned = typing.get_type_hints(extract).get("return") if extract is not None else None
    except Exception:  # names that only a type checker sees: then it says nothing
        return ()
    return tuple(dict.fromkeys(_records_in(returned)))


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if isinstance(getattr(annotation, "table_name", None), str):
            yield annotation
        return
    for part in typing.get_args(annotation):
        yield from _records_in(part)


def columns_known(capability: Any) -> Callable[[ResultStore], None] | None:
    """What compares the columns of a capability's records with those that a store has; None if they are not known.

    It raises SchemaError where one differs.
    """
    tables: dict[str, dict[str, ScalarType]] = {}
    for one in record_classes(getattr(capability, "run_class", None)):
        table = getattr(one, "table_name", None)
        if isinstance(table, str):
            columns = {name: kind for name, kind in columns_of(one).items() if name not in ("run_uid", "table_name")}
            tables.setdefault(table, {}).update(columns)
    if not tables:
        return None

    def compare(store: ResultStore) -> None:
        for table, columns in tables.items():
            store.check_columns(table, columns)

    return compare
