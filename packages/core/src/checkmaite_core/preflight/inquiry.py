"""What is asked on a node, and what it answers: JSON, so that nothing is unpickled to understand it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from checkmaite_core.deployment import Environment
from checkmaite_core.preflight.checks import Check
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["Inquiry", "LocationFacts", "ModuleFacts", "Reply", "WorkFacts"]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class ModuleFacts(_Facts):
    """A module that the work needs, as the client has it.

    Attributes:
        name: Its full name.
        code: Digest of its code (see :func:`checkmaite_core._code_digest.code_of_module`); None if there is none.
        files: Digests of its files by name, which also compare an installed package with an editable one; None where
            they are too many.
        folder: Where its outermost package, or its file, lies on the client.
        distribution: What installs it, such as ``my-package==1.2``; None where that is not known.
    """

    name: str
    code: str | None = None
    files: dict[str, str] | None = None
    folder: str | None = None
    distribution: str | None = None


class WorkFacts(_Facts):
    """One job, as the client sees it.

    Attributes:
        job: Its name.
        capability: Full name of the capability's class.
        modules: The modules that its classes are from.
        models: Fields of its config, run and outputs classes (see :func:`fields_of_models`).
        identity: Of a run with its config and no inputs (see :func:`identity_of`); None if it has none.
        loaders: By the input's id, the loader, where that is a name.
        gpus: How many GPUs the asking process reserves.
    """

    job: str
    capability: str
    modules: tuple[ModuleFacts, ...] = ()
    models: dict[str, dict[str, str]] = Field(default_factory=dict)
    identity: str | None = None
    loaders: dict[str, str] = Field(default_factory=dict)
    gpus: float = 0.0


class LocationFacts(_Facts):
    """A location that a worker must be able to read.

    Attributes:
        location: A path or URI as the input has it; it may hold credentials.
        on_client: Whether the client finds it; None if it did not look.
    """

    location: str = Field(repr=False)
    on_client: bool | None = None


class Inquiry(_Facts):
    """What is asked on one node.

    Attributes:
        environments: The client's, one for each of the jobs' capabilities: the node's is described alike.
        work: The job whose payload comes along.
        locations: What must be readable.
        store: Where results go; it may hold credentials.
        token: What to leave in the store as a probe; None if the store is not asked about.
        seconds: How long reading and probing may take, together.
    """

    environments: tuple[Environment, ...] = ()
    work: WorkFacts | None = None
    locations: tuple[LocationFacts, ...] = ()
    store: AnalyticsStoreConfig | None = None
    token: str | None = None
    seconds: float = 10.0


class Reply(_Facts):
    """What a node answers.

    Attributes:
        environments: The node's, described as those of the inquiry are; the first is whole.
        checks: What was found; the nodes' names are not filled in.
        stored: Whether the probe was left in the store.
    """

    environments: tuple[Environment, ...] = ()
    checks: tuple[Check, ...] = ()
    stored: bool = False
