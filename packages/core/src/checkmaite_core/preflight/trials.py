"""The jobs that a preflight is about, and what the client knows of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from checkmaite_core._code_digest import code_of_module, files_of_module
from checkmaite_core.capability import Capability
from checkmaite_core.deployment import Environment, SkewPolicy, describe_environment, distribution_of
from checkmaite_core.inputs import InputRef, Inputs, label
from checkmaite_core.preflight.capacity import demand_of
from checkmaite_core.preflight.inquiry import ModuleFacts, WorkFacts
from checkmaite_core.preflight.models import fields_of_models, identity_of
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import DEFAULT_RESOURCES, Payload, Submission, prepare_submission
from checkmaite_core.work import Work

__all__ = ["Trial", "facts_of", "trial_of", "values_of"]

T = TypeVar("T")

_FRAMEWORK = frozenset({"checkmaite_core", "pydantic", "pydantic_core", "builtins", "__main__"})
_LARGE_PACKAGE = 20 * 1024 * 1024
"""Bytes of a package's folder above which its files are not read: then its distribution's digest has to do."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One job that is not submitted.

    Attributes:
        name: Its name.
        payload: The user's objects.
        resources: What it asks for, complete.
        environment: The client's environment, as the job would carry it.
        demand: What it asks for, by Ray's names.
    """

    name: str
    payload: Payload
    resources: Resources
    environment: Environment
    demand: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, submission: Submission) -> Trial:
        """What would be submitted."""
        demand = demand_of(submission.resources)
        order = submission.order
        return cls(submission.name, submission.payload, submission.resources, order.environment, demand)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for jobs of the same code that differ in nothing but their data, and may be looked at once."""
        payload = self.payload
        loaders = sorted({str(value.loader) for _, value in values_of(payload.inputs) if isinstance(value, InputRef)})
        kinds = sorted(
            {f"{type(value).__module__}.{type(value).__qualname__}" for _, value in values_of(payload.inputs)}
        )
        return (type(payload.capability), type(payload.config), *loaders, *kinds, self.demand.get("GPU", 0.0))


def trial_of(value: Any, *, backend: str, store: AnalyticsStoreConfig, version_skew: SkewPolicy = "error") -> Trial:
    """The trial of a work, of a mapping of its arguments, or of a capability alone, without inputs.

    Raises:
        SubmissionError: It could not be submitted.
    """
    if isinstance(value, Capability):  # without the inputs that it takes, so it could not be submitted
        resources = Resources.parse(value.resources, "the capability").over(DEFAULT_RESOURCES)
        environment = describe_environment(type(value).__module__)
        payload = Payload(value, Inputs(), None)
        return Trial(type(value).__name__, payload, resources, environment, demand_of(resources))
    work = value if isinstance(value, Work | Mapping) else Work(capability=value)
    return Trial.of(prepare_submission(work, backend=backend, store=store, version_skew=version_skew))


def values_of(inputs: Inputs) -> list[tuple[str, Any]]:
    """All inputs, with what each is, such as ``datasets[0]``."""
    kinds = {"models": inputs.models, "datasets": inputs.datasets, "metrics": inputs.metrics}
    return [(f"{kind}[{index}]", value) for kind, values in kinds.items() for index, value in enumerate(values)]


def facts_of(trial: Trial, *, gpus: float) -> WorkFacts:
    """What the worker is told of a job.

    Args:
        trial: The job.
        gpus: How many GPUs the asking process reserves.
    """
    capability, config = trial.payload.capability, trial.payload.config
    values = [value for _, value in values_of(trial.payload.inputs)]
    references = [value for value in values if isinstance(value, InputRef)]
    loaders = {label(value): value.loader for value in references if isinstance(value.loader, str)}
    kinds = [type(capability), type(config)]
    if isinstance(capability, Capability):
        kinds += [capability.config_class, capability.run_class]
    kinds += [type(value) for value in values if not isinstance(value, InputRef)]
    names = [kind.__module__ for kind in kinds]
    # A loader is but a name here; whether the worker has it is asked in any case.
    names += [name for loader in loaders.values() if (name := loader.partition(":")[0]) in sys.modules]
    return WorkFacts(
        job=trial.name,
        capability=f"{type(capability).__module__}.{type(capability).__qualname__}",
        modules=_modules(names),
        models=fields_of_models(capability, config),
        identity=identity_of(capability, config),
        loaders=loaders,
        gpus=gpus,
    )


def _modules(names: list[str]) -> tuple[ModuleFacts, ...]:
    """One for each package: its other modules have the same digest."""
    found: dict[str, ModuleFacts] = {}
    for name in names:
        top = name.partition(".")[0]
        if top in _FRAMEWORK or top in sys.stdlib_module_names or name in found:
            continue
        facts = _module(name)
        if facts.code is None or all(facts.code != other.code for other in found.values()):
            found[name] = facts
    return tuple(found.values())


def _module(name: str) -> ModuleFacts:
    folder = _folder(name)
    small = folder is not None and _size(Path(folder)) <= _LARGE_PACKAGE
    return ModuleFacts(
        name=name,
        code=_found(code_of_module, name),
        files=_found(files_of_module, name) if small else None,
        folder=folder,
        distribution=_requirement(name.partition(".")[0], folder),
    )


def _found(function: Callable[[str], T], name: str) -> T | None:
    try:
        return function(name)
    except OSError:
        return None  # its files have gone since it was imported: there is nothing to compare


def _folder(name: str) -> str | None:
    """Where the outermost package that has a file lies, or the module's own file."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        module = sys.modules.get(".".join(parts[:count]))
        file: str | None = getattr(module, "__file__", None)
        if file is not None:
            return os.path.abspath(os.path.dirname(file) if getattr(module, "__path__", None) else file)
    return None


def _size(path: Path) -> int:
    """Bytes of a file or folder; counting ends above what is too large."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for here, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(here, file)).st_size for file in files)
        if total > _LARGE_PACKAGE:
            break
    return total


def _requirement(top: str, folder: str | None) -> str | None:
    """What to install for a module; None for what is not installed, or only as a link to a folder."""
    name = distribution_of(top)
    if name is None or folder is None:
        return None
    try:
        installed = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    root = os.path.realpath(str(installed.locate_file("")))
    return f"{name}=={installed.version}" if Path(os.path.realpath(folder)).is_relative_to(root) else None
