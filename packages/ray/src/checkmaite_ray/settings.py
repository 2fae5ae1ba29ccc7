"""The backend's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import SkewPolicy
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.evolving import Given
from checkmaite_core.retrying import ExceptionName
from checkmaite_core.store import StoreLocation
from checkmaite_ledger import Policy, check_scope
from checkmaite_ray_simple.maxima import NodeMaxima
from checkmaite_ray_simple.overlay import OverlayFields

__all__ = ["LedgerConfig", "RayOptions", "RegistrySettings"]

_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LedgerConfig(Given):
    """Where the history of jobs is kept, if not under the analytics store's location.

    Attributes:
        uri: A folder or an object-store prefix, kept in one spelling as the analytics store's is.
        storage_options: Passed on to the storage connector as they are; never logged, stored or shown.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    uri: StoreLocation
    storage_options: dict[str, JsonValue] = Field(default_factory=dict, repr=False)


class RegistrySettings(Given):
    """How a scope's registry works. Those of the client that starts the registry count; others join it as it is.

    Attributes:
        controllers: How many controllers own the running tasks.
        spread_after: Jobs that one controller is given before the next gets any. Ray gives each controller worker
            processes of its own, so few jobs are better kept together; 1 spreads them evenly, and the death of a
            controller then has the fewest jobs run again.
        window: How many jobs that ask for the same are handed to controllers at a time, at least; twice as many as
            the cluster has CPUs, if that is more. The others wait in the registry, where one costs a record.
        max_unfinished: How many jobs may wait and run; further ones are refused with ``BackpressureError``.
        retry_after_seconds: What a refused client is told to wait.
        idle_seconds: How long controllers stay when there is nothing to do.
        control_plane_resources: Ray resources that the node of the registry and its controllers must have, such as
            ``{"control": 0.001}``; the head node if empty.
        maintain_after: After so many jobs that stored results, a worker puts the store in order, and once more when
            there is nothing left to do. While results come fast it is after ten times as many: CPUs are for jobs. 0
            turns both off.
    """

    controllers: Annotated[int, Field(ge=1, le=16)] = 2
    spread_after: Annotated[int, Field(ge=1)] = 64
    window: Annotated[int, Field(ge=1)] = 64
    max_unfinished: Annotated[int, Field(ge=1)] = 100_000
    retry_after_seconds: _Seconds = 1.0
    idle_seconds: _Seconds = 60.0
    control_plane_resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    maintain_after: _Count = 500


class RayOptions(CommitPolicy):
    """How to reach Ray, whose jobs they are, and how to treat them there.

    Attributes:
        idempotency_scope: A stable name for a workspace or an experiment. Clients with the same scope, on the same
            cluster, share jobs: equal work is started once.
        address: ``local`` starts a Ray that ends with this process, or joins the one that another process of this
            machine has started for the scope; ``auto`` finds a running one as Ray does; ``host:port`` is a cluster's
            GCS port; ``ray://host:port`` its client port.
        runtime_env: Ray's overlay for the workers of this client's jobs: ``env_vars``, ``working_dir``,
            ``py_modules``, ``pip``, ``uv`` ...
        ledger: Where the history is kept; under the analytics store's location if left out.
        max_retries: How many times a job is started again after its worker was lost. A lost node or controller
            does not count.
        oom_retries: How many times it is started again after its worker was killed for memory.
        retry_exceptions: Names of exceptions after which its code is run again, such as ``ConnectionError``.
        exception_retries: How many times that is done.
        cancel_grace_seconds: How long a cancelled job that is running may take to stop by itself.
        on_cluster_loss: What becomes of unfinished jobs whose cluster has gone, when another one takes over the
            scope: ``fail`` ends them with ``JobLostError``, ``resubmit`` starts them there.
        fresh_process: Run each job in a process of its own, which ends with it. Otherwise a process runs one job after
            another, and of what a job leaves there, threads and the state of libraries reach the next one.
        commit_timeout_s: Seconds that a commit waits for a store that does not answer, has no room, or does not
            know the worker's credentials; ``job.waiting_for`` says so meanwhile.
        stage_after_s: Seconds that loading the inputs and ``run()`` must have taken for their outputs to be staged, so
            that ``job.recommit()`` can store them if what follows fails.
        stage_max_bytes: Outputs that are larger are not staged; 0 turns staging off.
        store_submissions: Keep what a job needs to be started in the ledger until it has ended. Without it, jobs
            that wait are lost with their registry, and none can be resubmitted.
        takeover: Take the scope over from another cluster that may still be alive.
        registry: How the scope's registry works, if this client starts it.
        version_skew: What to do where a node's environment does not fit this process's, so that jobs would fail there:
            ``error`` refuses to connect, and workers refuse jobs; ``warn`` says so and goes on; ``ignore`` does not
            look. Other differences that may matter are a :class:`checkmaite_core.VersionSkewWarning`.
        node_maxima: What nodes have that the cluster does not have yet but may get, one mapping for each kind, by Ray's
            names: ``[{"CPU": 64, "GPU": 8, "memory": 512 * 2**30}]``. A demand that neither a node nor one of these
            meets is refused at once, where it would otherwise wait for an autoscaler that never adds such a node.
        reinit: Leave the Ray that this process is connected to and connect anew; refused while it has our backends.
        num_cpus: CPUs that a local Ray offers; all of the machine's if left out. Only with ``address="local"``.
        dashboard: Start Ray's dashboard. Only with ``address="local"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    idempotency_scope: str = Field(default="", validate_default=True)
    address: str = Field(default="local", min_length=1)
    # It may hold secrets in env_vars, so it is shown nowhere.
    runtime_env: OverlayFields = Field(default_factory=dict, repr=False)
    ledger: LedgerConfig | None = None
    max_retries: _Count = 2
    oom_retries: _Count = 1
    retry_exceptions: tuple[ExceptionName, ...] = ()
    exception_retries: _Count = 2
    cancel_grace_seconds: _Seconds = 5.0
    on_cluster_loss: Literal["fail", "resubmit"] = "fail"
    store_submissions: bool = True
    takeover: bool = False
    registry: RegistrySettings = RegistrySettings()
    version_skew: SkewPolicy = "error"
    node_maxima: NodeMaxima = ()
    fresh_process: bool = False
    reinit: bool = False
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    dashboard: bool = False

    explained: ClassVar[Mapping[str, str]] = {
        "namespace": "the registry and its controllers lie in the Ray namespace 'checkmaite'; leave it out.",
        "scope": "it is called idempotency_scope.",
        "num_gpus": "A local Ray offers the machine's GPUs by itself; set CUDA_VISIBLE_DEVICES to offer fewer. What a "
        "job asks for goes into submit_capability(resources={'num_gpus': 1}).",
        "resources": "What a job asks for goes into submit_capability(resources={...}); where the registry runs is "
        "registry={'control_plane_resources': {...}}.",
        "control_plane_resources": "it belongs to registry={'control_plane_resources': {...}}.",
        "log_to_driver": "What workers print stays in Ray's logs; job.failure.traceback has what a failure needs.",
    }

    @field_validator("idempotency_scope")
    @classmethod
    def _a_key(cls, scope: str) -> str:
        if not scope:
            raise ValueError(
                "it is needed: a stable name for a workspace or an experiment, such as 'team-a'; clients that give the "
                "same one share their jobs"
            )
        try:
            return check_scope(scope)
        except ConfigurationError:
            raise ValueError(
                "use 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit, such as 'team-a'"
            ) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("num_cpus", "dashboard"):
            if getattr(self, name) and self.address != "local":
                raise ValueError(f"{name} is for address='local'; a running cluster has its own")
        if self.on_cluster_loss == "resubmit" and not self.store_submissions:
            raise ValueError(
                "on_cluster_loss='resubmit' needs store_submissions=True: what is not kept cannot be resubmitted"
            )
        return self

    @property
    def policy(self) -> Policy:
        """How this client's jobs are to be treated."""
        return Policy(
            max_retries=self.max_retries,
            oom_retries=self.oom_retries,
            exception_retries=self.exception_retries,
            retry_exceptions=self.retry_exceptions,
            cancel_grace_seconds=self.cancel_grace_seconds,
            on_cluster_loss=self.on_cluster_loss,
        )
