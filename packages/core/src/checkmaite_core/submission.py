"""Submissions: work that has been checked and is ready to be handed to a backend."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from checkmaite_core._describing import Describer
from checkmaite_core.capability import Capability
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import Environment, SkewPolicy, describe_alike, describe_environment, require_match
from checkmaite_core.deployment.reached import pack
from checkmaite_core.early_checks import check_config, check_texts
from checkmaite_core.errors import InvalidCapabilityError, PayloadError, SubmissionError
from checkmaite_core.evolving import Evolving
from checkmaite_core.input_identity import Identifier, InputIdentity
from checkmaite_core.inputs import InputRef, Inputs, label
from checkmaite_core.naming import new_job_id
from checkmaite_core.provenance import Provenance, resolve_provenance, utc_now
from checkmaite_core.recovery import Recovery
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.work import Work

__all__ = ["Payload", "Submission", "WorkOrder", "prepare_submission"]

_LONGEST_NAME = 1000
DEFAULT_RESOURCES = Resources(num_cpus=1)


class WorkOrder(Evolving):
    """What a worker must know before it unpickles anything. Travels as JSON.

    Attributes:
        job_id: The job, and the key of its commit.
        capability_id: What is to be run.
        report_threshold: Passed to ``collect_md_report``.
        provenance: Where the run comes from.
        store: Where its results go.
        environment: The client's environment, to compare with the worker's.
        version_skew: What the worker does where the two do not fit. No part of what is equal work.
        commit: How long its commit waits, and which outputs are staged. No part of what is equal work either.
        recovers: The job whose staged outputs it commits, instead of running anything.
        inputs: What the inputs are: models, datasets, metrics, each in order.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    job_id: str
    capability_id: str
    report_threshold: float
    provenance: Provenance
    store: AnalyticsStoreConfig
    environment: Environment
    version_skew: SkewPolicy = "error"
    commit: CommitPolicy = CommitPolicy()
    recovers: str | None = None
    inputs: tuple[InputIdentity, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _of_another_version(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """An order that cannot be read because client and worker differ is told as just that.

        Raises:
            VersionSkewError: They differ in what must match.
        """
        try:
            return handler(data)
        except ValidationError:
            client = data.get("environment") if isinstance(data, dict) else None
            with contextlib.suppress(ValidationError):
                environment = Environment.model_validate(client)
                require_match(environment, describe_alike(environment))
            raise


@dataclass(frozen=True, slots=True)
class Payload:
    """What is pickled: the user's objects and nothing else."""

    capability: Any
    inputs: Inputs
    config: Any


@dataclass(frozen=True, slots=True)
class Submission:
    """Checked work.

    Attributes:
        order: What the worker reads first.
        payload: The user's objects, not pickled yet.
        name: A name for people.
        resources: What the job asks for, complete.
        submitted_at: When it was submitted (UTC).
        force: Whether equal work, running or completed, is to be ignored.
        position: Its place among works that were submitted together; None if it was submitted alone.
        reuse: Whether a job of equal work that has completed may be given again.
        describer: What has been found out about code, of all works that were submitted together.
        recovery: What is sent instead of the payload, if staged outputs are to be committed and nothing is run.
    """

    order: WorkOrder
    payload: Payload
    name: str
    resources: Resources
    submitted_at: datetime
    force: bool = False
    position: int | None = None
    reuse: bool = True
    describer: Describer = field(default_factory=Describer, repr=False, compare=False)
    recovery: Recovery | None = None

    @property
    def of_which(self) -> str:
        """What an error about this work begins with: its place among works that were submitted together."""
        return "" if self.position is None else f"works[{self.position}]: "

    def pickle(self, dumps: Callable[[Any], bytes]) -> bytes:
        """The payload as bytes.

        Args:
            dumps: Such as ``ray.cloudpickle.dumps``.

        Raises:
            PayloadError: Something in it cannot be pickled; the message names which part.
        """
        try:
            return dumps(self.payload if self.recovery is None else self.recovery)
        except Exception as error:  # pickling runs the user's __reduce__: anything can be raised, all is reported
            part = _culprit(self.payload, dumps) if self.recovery is None else "a class of the run"
            raise PayloadError(
                f"{self.of_which}job {self.name!r}: {part} cannot be sent to a worker: {type(error).__name__}: {error}",
                hint="Locks, open files, connections and generators do not travel: make them inside run(), or pass "
                "data by reference with DatasetRef and ModelRef.",
            ) from error


def _culprit(payload: Payload, dumps: Callable[[Any], bytes]) -> str:
    parts: dict[str, Any] = {"the capability": payload.capability, "the config": payload.config}
    for kind in ("models", "datasets", "metrics"):
        for position, value in enumerate(getattr(payload.inputs, kind)):
            parts[f"{kind}[{position}] ({type(value).__qualname__})"] = value
    for part, value in parts.items():
        try:
            dumps(value)
        except Exception:  # found: the caller reports the error it already has under this name
            return part
    return "the work"


def prepare_submission(
    work: Work | Mapping[str, Any],
    *,
    backend: str,
    store: AnalyticsStoreConfig,
    force: bool = False,
    reuse: bool = True,
    position: int | None = None,
    version_skew: SkewPolicy = "error",
    identifier: Identifier | None = None,
    commit: CommitPolicy | None = None,
) -> Submission:
    """Check work before anything is started.

    Args:
        work: What is to be run: a :class:`Work`, or a mapping of the same names.
        backend: Name of the backend.
        store: Where its results go.
        force: Whether equal work is to be ignored.
        reuse: Whether equal work that has completed may be given again.
        position: Its place among works that are submitted together; errors name it.
        version_skew: What the worker does where its environment does not fit this one.
        identifier: Identifies the inputs of all works that are submitted together.
        commit: How long its commit waits, and which outputs are staged.

    Raises:
        InvalidCapabilityError: The object is not a capability, or its inputs do not fit it.
        SubmissionError: The demand or another argument cannot be understood.
    """
    with _naming(position):
        work = Work.of(work)
        capability, config = work.capability, work.config
        capability_id = _capability_id(capability)
        inputs = Inputs.of(work.models, work.datasets, work.metrics)
        if isinstance(capability, Capability):
            capability.check(inputs, config)
            config = capability.as_own_config(config)
        check_config(capability, config)
        check_threshold(work.report_threshold)
        name = _checked_name(work.name) or _name(capability, inputs)
        check_texts(capability_id, name, inputs)
        demand = Resources.parse(work.resources, "submit_capability")
        demand = demand.over(Resources.parse(getattr(config, "resources", None), "the config"))
        demand = demand.over(Resources.parse(getattr(capability, "resources", None), "the capability"))
        demand = demand.over(DEFAULT_RESOURCES)
        identifier = identifier or Identifier()
        identities = identifier.identify(inputs)
    job_id, now = new_job_id(), utc_now()
    provenance = resolve_provenance().model_copy(update={"job_id": job_id, "backend": backend, "submitted_at": now})
    describer = identifier.describer
    modules = _modules(inputs, config)
    reach = describer.reach([capability, config, *inputs.models, *inputs.datasets, *inputs.metrics], _loaders(inputs))
    order = WorkOrder(
        job_id=job_id,
        capability_id=capability_id,
        report_threshold=work.report_threshold,
        provenance=provenance,
        store=store,
        environment=describe_environment(type(capability).__module__, values=modules, reach=pack(reach)),
        version_skew=version_skew,
        commit=commit or CommitPolicy(),
        inputs=identities,
    )
    payload = Payload(capability, inputs, config)
    return Submission(order, payload, name, demand, now, bool(force), position, bool(reuse), describer)


def _modules(inputs: Inputs, config: Any) -> set[str]:
    """The modules that a worker imports to read the inputs and the config, and to load what they refer to."""
    values = [config, *inputs.models, *inputs.datasets, *inputs.metrics]
    return {type(value).__module__ for value in values} | _loaders(inputs)


def _loaders(inputs: Inputs) -> set[str]:
    values = [*inputs.models, *inputs.datasets, *inputs.metrics]
    loaders = [value.loader for value in values if isinstance(value, InputRef)]
    return {loader.partition(":")[0] for loader in loaders if isinstance(loader, str)}


def _capability_id(capability: Any) -> str:
    if isinstance(capability, type):
        raise InvalidCapabilityError(
            f"{capability.__qualname__} is a class.", hint=f"Pass an instance: {capability.__qualname__}()."
        )
    own = getattr(capability, "id", None)
    if not isinstance(own, str) or not own or not callable(getattr(capability, "run", None)):
        raise InvalidCapabilityError(
            f"a {type(capability).__qualname__} is not a capability: it lacks "
            + ("run()." if isinstance(own, str) and own else "an id (a string)."),
            hint="Anything with an id and run(models=, datasets=, metrics=, config=, use_cache=False) is one.",
        )
    return own


def check_threshold(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SubmissionError(f"report_threshold is {value!r}, not a number.", hint="Pass a score, such as 0.5.")


def _checked_name(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= _LONGEST_NAME):
        return value
    raise SubmissionError(
        f"name is {value!r:.40}, not a text of at most {_LONGEST_NAME} characters.",
        hint='Pass a name for people, such as name="nightly digits", or leave it out.',
    )


def _name(capability: Any, inputs: Inputs) -> str:
    """A name for people, such as ``ModelEvaluation(resnet-18, digits)``."""
    return f"{type(capability).__name__}({', '.join(map(label, (*inputs.models, *inputs.datasets)))})"


@contextlib.contextmanager
def _naming(position: int | None) -> Iterator[None]:
    try:
        yield
    except SubmissionError as error:
        if position is not None:
            error.message = f"works[{position}]: {error.message}"
            error.args = (error.message,)
        raise
