"""Inputs of a run: what identifies them, and references that travel instead of the data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from checkmaite_core._cells import encodable
from checkmaite_core.errors import InvalidCapabilityError, RunContractError

__all__ = ["DatasetRef", "InputRef", "Inputs", "ModelRef", "input_id", "label", "load_inputs"]


_Text = Annotated[str, BeforeValidator(encodable)]


class InputRef(BaseModel):
    """An input by reference: a few bytes that are loaded where the work runs.

    Attributes:
        id: Identity of the input; it becomes part of the run's identity.
        uri: What to load; handed to the loader as it is.
        loader: ``"package.module:function"``, or a function of one argument, the URI. An importable function is
            kept by its name; one defined in a script or notebook travels with the work.
        fingerprint: Optional digest of the content, so that changed data under the same id is new work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Text = Field(min_length=1)
    uri: _Text = Field(min_length=1)
    loader: str | Callable[[str], Any]
    fingerprint: str | None = None

    @field_validator("loader")
    @classmethod
    def _by_name(cls, loader: str | Callable[[str], Any]) -> str | Callable[[str], Any]:
        if isinstance(loader, str):
            package, _, function = loader.partition(":")
            if not package or not function.isidentifier():
                raise ValueError(f"loader {loader!r} is not of the form 'package.module:function'")
            return loader
        module, name = getattr(loader, "__module__", None), getattr(loader, "__qualname__", "")
        if module in (None, "__main__") or not name.isidentifier():
            return loader
        return f"{module}:{name}"

    def locations(self) -> list[str]:
        """What a worker must be able to reach."""
        return [self.uri]

    def load(self) -> Any:
        """Load the input.

        Raises:
            RunContractError: The loader cannot be found, or what it loaded has an id of its own that is another.
        """
        loader = self.loader
        if isinstance(loader, str):
            module, _, function = loader.partition(":")
            try:
                loader = getattr(importlib.import_module(module), function)
            except (ImportError, AttributeError) as error:
                raise RunContractError(
                    f"the loader {self.loader!r} of input {self.id!r} cannot be imported here: {error}",
                    hint="Install the package that holds it in the worker's image, or send it with runtime_env "
                    "(working_dir or py_modules).",
                ) from error
        loaded = loader(self.uri)
        own = own_id(loaded)
        if own is not None and own != self.id:
            raise RunContractError(  # without the URI: it may hold a password
                f"what the loader of input {self.id!r} returned has the id {own!r}.",
                hint="Give the reference the id that the loaded object has, or load the right one.",
            )
        return loaded


class DatasetRef(InputRef):
    """A dataset by reference.

    Example:
        >>> DatasetRef(id="digits", uri="sklearn:digits", loader="my_project.data:load_digits").locations()
        ['sklearn:digits']
    """


class ModelRef(InputRef):
    """A model by reference.

    Example:
        >>> ModelRef(id="resnet-18", uri="s3://models/resnet18.pt", loader="my_project.models:load_model").id
        'resnet-18'
    """


@dataclass(frozen=True, slots=True)
class Inputs:
    """Models, datasets and metrics of one run, in order."""

    models: tuple[Any, ...] = ()
    datasets: tuple[Any, ...] = ()
    metrics: tuple[Any, ...] = ()

    @classmethod
    def of(
        cls,
        models: Sequence[Any] | None = None,
        datasets: Sequence[Any] | None = None,
        metrics: Sequence[Any] | None = None,
    ) -> Self:
        """Collect what a caller gave; ``None`` means none.

        Raises:
            InvalidCapabilityError: One of them is not a list or tuple.
        """
        given = {"models": models, "datasets": datasets, "metrics": metrics}
        for kind, value in given.items():
            if value is not None and not isinstance(value, list | tuple):
                raise InvalidCapabilityError(
                    f"{kind} is a {type(value).__qualname__}, not a list.",
                    hint=f"Pass {kind}=[...], also when there is only one.",
                )
        return cls(**{kind: tuple(value or ()) for kind, value in given.items()})


def load_inputs(inputs: Inputs) -> Inputs:
    """Replace every reference by what it loads."""

    def loaded(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.load() if isinstance(value, InputRef) else value for value in values)

    return Inputs(loaded(inputs.models), loaded(inputs.datasets), loaded(inputs.metrics))


def input_id(value: Any) -> str:
    """The id of a model, dataset or metric: its MAITE metadata's, or its own ``id``.

    Raises:
        InvalidCapabilityError: It has neither.
    """
    found = own_id(value)
    if found is None:
        given, place = _given_id(value)
        if given is not None:
            text = "" if isinstance(given, str) else str(given)
            said = f"is a {type(given).__qualname__}" if text else "is empty"
            raise InvalidCapabilityError(
                f"an input of class {type(value).__qualname__} has {given!r:.200} as its id, which {said}: ids are "
                "text.",
                hint=f"Write {place} = {text!r:.200}." if text else f"Give it a name: {place} = 'digits-test'.",
            )
        raise InvalidCapabilityError(
            f"an input of class {type(value).__qualname__} has no id.",
            hint="Give it MAITE metadata with an id, such as self.metadata = {'id': 'digits-test'}, since results "
            "are found again by the ids of what they were made from.",
        )
    return found


def label(value: Any) -> str:
    """The id of an input where it has one, else its class: a name for people."""
    return own_id(value) or type(value).__name__


def own_id(value: Any) -> str | None:
    own, _ = _given_id(value)
    return own if isinstance(own, str) and own else None


def _given_id(value: Any) -> tuple[Any, str]:
    """What an input has as its id, whatever it is, and where; None if it has nothing."""
    metadata = getattr(value, "metadata", None)
    if isinstance(metadata, Mapping):
        return metadata.get("id"), "metadata['id']"
    return getattr(value, "id", None), "id"
