"""Runs: what a capability returns, and how any run becomes something that can be committed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, to_jsonable_python

from checkmaite_core._cells import NotExactError, check_unicode, plain_number
from checkmaite_core._leaves import with_steps_before
from checkmaite_core.errors import RunContractError
from checkmaite_core.input_identity import InputIdentity, covering_uid
from checkmaite_core.naming import check_event_id, check_run_uid, check_text, compute_run_uid
from checkmaite_core.provenance import Provenance, utc_now
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import Report, as_report
from checkmaite_core.resources import Resources
from checkmaite_core.store import RunBundle

__all__ = [
    "CapabilityConfig",
    "CapabilityOutputs",
    "CapabilityRun",
    "RunLike",
    "bundle_run",
    "config_identity",
    "make_report",
]


class CapabilityConfig(BaseModel):
    """How a capability is to be run. Subclass it with the settings of yours; they are part of the run's identity.

    Attributes:
        resources: What a run with this config asks for, over the capability's own default. Where something runs
            does not change what it finds, so this field is not part of the run's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    resources: Resources | None = Field(default=None, exclude=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # pydantic would turn a NumPy int into an int by way of a float.
        numbers = frozenset({"int", "float", "bool"})
        return with_steps_before(handler(source), lambda leaf, _: plain_number if leaf["type"] in numbers else None)


class CapabilityOutputs(BaseModel):
    """What a capability found. Subclass it with the results of yours."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


ConfigT = TypeVar("ConfigT", bound=CapabilityConfig)
OutputsT = TypeVar("OutputsT", bound=CapabilityOutputs)


@runtime_checkable
class RunLike(Protocol):
    """What the backends need of a run; no base class of ours is needed.

    A run may also have ``collect_md_report(threshold)``, which returns Markdown text or a report, or raises
    NotImplementedError if there is none.
    """

    @property
    def run_uid(self) -> str:
        """Identity of the run: equal work has an equal one."""
        ...

    @property
    def capability_id(self) -> str:
        """What was run."""
        ...

    @property
    def dataset_metadata(self) -> Sequence[Mapping[str, Any]]:
        """One mapping with an ``id`` per dataset."""
        ...

    @property
    def model_metadata(self) -> Sequence[Mapping[str, Any]]:
        """One mapping with an ``id`` per model."""
        ...

    @property
    def metric_metadata(self) -> Sequence[Mapping[str, Any]]:
        """One mapping with an ``id`` per metric."""
        ...

    def extract(self) -> Iterable[Any]:
        """The run's records: pydantic objects with ``table_name``, ``run_uid`` and scalar fields."""
        ...


class CapabilityRun(BaseModel, Generic[ConfigT, OutputsT]):
    """One finished run of a capability of ours. Subclass it to say what it extracts and reports.

    Attributes:
        capability_id: What was run.
        config: How.
        dataset_metadata: One mapping with an ``id`` per dataset.
        model_metadata: One mapping with an ``id`` per model.
        metric_metadata: One mapping with an ``id`` per metric.
        outputs: What was found.
        records: The classes of the records that :meth:`extract` returns. If they are given, here or as its return
            annotation, their columns are compared with the store's before the work, and not only after it.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    records: ClassVar[tuple[type[Record], ...]] = ()

    capability_id: str
    config: ConfigT
    dataset_metadata: list[dict[str, Any]]
    model_metadata: list[dict[str, Any]]
    metric_metadata: list[dict[str, Any]]
    outputs: OutputsT

    @property
    def run_uid(self) -> str:
        """SHA-256 of the capability's id, the config and the ids of the inputs."""
        return compute_run_uid(
            self.capability_id,
            config_identity(self.config),
            {
                "models": [item["id"] for item in self.model_metadata],
                "datasets": [item["id"] for item in self.dataset_metadata],
                "metrics": [item["id"] for item in self.metric_metadata],
            },
        )

    def extract(self) -> Sequence[Record]:
        """The records to store; made with ``run_uid=self.run_uid``."""
        return ()

    def collect_md_report(self, threshold: float) -> Report | str | None:
        """A report for people, as Markdown.

        Args:
            threshold: Scores below it deserve a second look.

        Raises:
            NotImplementedError: The capability makes none.
        """
        raise NotImplementedError


def config_identity(config: BaseModel, *, only: str | None = None) -> Any:
    """What of a config is part of a run's identity, as JSON values.

    Args:
        config: The config.
        only: This field alone.

    Raises:
        PydanticSerializationError: Something in it has no JSON form.
        RunContractError: A text in it cannot be encoded, or a number of an array library has no exact form.
    """
    try:
        return _ordered(config.model_dump(mode="python", include=None if only is None else {only}))
    except NotExactError as error:
        raise RunContractError(f"in the config, {error.why}", hint=error.hint) from None


def _ordered(value: Any) -> Any:
    """A value as JSON values that are the same in every process: sets have no order, so they get one."""
    if isinstance(value, Mapping):
        return {check_unicode(str(to_jsonable_python(key))): _ordered(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    plain = to_jsonable_python(plain_number(value))
    return check_unicode(plain) if isinstance(plain, str) else plain


def bundle_run(
    run: Any,
    *,
    event_id: str,
    provenance: Provenance,
    store_uri: str,
    report: Report | None = None,
    inputs: Sequence[InputIdentity] = (),
) -> RunBundle:
    """Check a run of any class and turn it into what is committed.

    Args:
        run: The run.
        event_id: Key of the commit.
        provenance: Where the run comes from.
        store_uri: The store that it is made for.
        report: The run's report.
        inputs: What the inputs of its job were. They become part of the ``run_uid`` of every row: two models of one
            id are two, whatever the run itself says.

    Raises:
        RunContractError: The run lacks something, or its identity or a table's name cannot be used.
        SchemaError: A record's field is not a scalar.
    """
    run_uid = check_run_uid(_attribute(run, "run_uid"))
    capability_id = _attribute(run, "capability_id")
    if not isinstance(capability_id, str) or not capability_id:
        raise RunContractError(
            f"capability_id of {type(run).__qualname__} is {capability_id!r}.",
            hint="Give the run the id of the capability that made it.",
        )
    check_text(capability_id, "capability_id")
    extract = _attribute(run, "extract")
    stored_uid = covering_uid(run_uid, inputs)
    tables = tabulate(extract(), run_uid, stored_as=stored_uid)
    reference = CapabilityRunRef(
        event_id=check_event_id(event_id),
        run_uid=stored_uid,
        capability_id=capability_id,
        store_uri=store_uri,
        tables={rows.table: len(rows.rows) for rows in tables},
        dataset_ids=_metadata_ids(run, "dataset_metadata"),
        model_ids=_metadata_ids(run, "model_metadata"),
        metric_ids=_metadata_ids(run, "metric_metadata"),
        inputs=tuple(inputs),
        report=report,
        created_at=utc_now(),
    )
    return RunBundle(
        event_id=event_id,
        reference=reference,
        provenance=provenance,
        config=config_text(getattr(run, "config", None)),
        tables=tables,
    )


def make_report(run: Any, threshold: float) -> Report | None:
    """Ask a run of any class for its report; None if it makes none.

    Args:
        run: The run.
        threshold: Scores below it deserve a second look.

    Raises:
        RunContractError: What it returned is not a report.
    """
    collect = getattr(run, "collect_md_report", None)
    if collect is None:
        return None
    try:
        return as_report(collect(threshold))
    except NotImplementedError:
        return None


def _attribute(run: Any, name: str) -> Any:
    try:
        return getattr(run, name)
    except AttributeError as error:
        raise RunContractError(
            f"the capability returned a {type(run).__qualname__}, which has no usable {name}: {error}.",
            hint="A run has run_uid, capability_id, dataset_metadata, model_metadata, metric_metadata and extract().",
        ) from error


def _metadata_ids(run: Any, name: str) -> tuple[str, ...]:
    metadata = _attribute(run, name)
    ids: list[str] = []
    for item in metadata or ():
        value = item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(value, str) or not value:
            raise RunContractError(
                f"{name} of {type(run).__qualname__} has an entry without an id: {item!r:.200}.",
                hint=f"Make {name} a list of mappings, each with an 'id' that is a string.",
            )
        ids.append(check_text(value, f"the id {len(ids)} of {name}"))
    return tuple(ids)


def config_text(config: Any) -> str:
    """A config as JSON, for people who ask the runs table; foreign configs need not be pydantic's.

    Numbers that JSON does not have are texts there, which SQL can cast: ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.

    Raises:
        RunContractError: A text in it cannot be encoded.
    """
    if isinstance(config, CapabilityConfig):
        config = config.model_dump(mode="json", fallback=_told)
    elif isinstance(config, BaseModel):  # in its own JSON, NaN of an unknown type would be null
        config = to_jsonable_python(config.model_dump(mode="python"), inf_nan_mode="constants", fallback=_told)
    try:
        # Twice: what json makes of unknown values is only known when it has.
        plain = json.loads(json.dumps(config, default=_told))
        return json.dumps(_with_texts_for_what_json_lacks(plain), sort_keys=True, allow_nan=False)
    except NotExactError as error:
        raise RunContractError(f"in the config, {error.why}", hint=error.hint) from None


def _told(value: Any) -> Any:
    number = plain_number(value)
    return repr(value) if number is value else number


def _with_texts_for_what_json_lacks(value: Any) -> Any:
    if isinstance(value, dict):
        return {check_unicode(key): _with_texts_for_what_json_lacks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_texts_for_what_json_lacks(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return check_unicode(value) if isinstance(value, str) else value
