"""The backend's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import SkewPolicy
from checkmaite_core.retrying import ExceptionName
from checkmaite_ray_simple.maxima import NodeMaxima
from checkmaite_ray_simple.overlay import OverlayFields

__all__ = ["RaySimpleOptions"]

_Count = Annotated[int, Field(ge=0)]


class RaySimpleOptions(CommitPolicy):
    """How to reach Ray, and how to treat jobs there.

    Attributes:
        address: ``local`` starts a Ray of its own that ends with this process; ``auto`` finds a running one as Ray
            does (``RAY_ADDRESS``, then the latest one of this machine); ``host:port`` is a cluster's GCS port;
            ``ray://host:port`` its client port.
        runtime_env: Ray's overlay for the workers of this backend's jobs: ``env_vars``, ``working_dir``,
            ``py_modules``, ``pip``, ``uv`` ...
        max_retries: How many times a job is started again after its worker was lost. A lost node does not count.
        oom_retries: How many times it is started again after its worker was killed for memory.
        retry_exceptions: Names of exceptions after which its code is run again, such as ``ConnectionError`` or
            ``package.module.Error``; those derived from them count too.
        exception_retries: How many times that is done.
        max_unfinished: How many jobs may wait and run; further ones are refused with ``BackpressureError``.
        cancel_grace_seconds: How long a cancelled job that is running may take to see
            :func:`checkmaite_core.cancelled` and stop, before it is stopped by force.
        fresh_process: Run each job in a process of its own, which ends with it. Otherwise a process runs one job after
            another, and of what a job leaves there, threads and the state of libraries reach the next one.
        commit_timeout_s: Seconds that a commit waits for a store that does not answer, has no room, or does not
            know the worker's credentials; ``job.waiting_for`` says so meanwhile.
        stage_after_s: Seconds that loading the inputs and ``run()`` must have taken for their outputs to be staged, so
            that ``job.recommit()`` can store them if what follows fails.
        stage_max_bytes: Outputs that are larger are not staged; 0 turns staging off.
        maintain_after: After so many jobs that stored results, a worker puts the store in order, so that queries stay
            quick; and once more when the backend is shut down. 0 turns both off. Jobs neither wait for it nor fail
            with it: what goes wrong is a :class:`checkmaite_core.StoreMaintenanceWarning`.
        maintain_timeout_seconds: How long shutting the backend down may wait for that, also without waiting for jobs;
            0 leaves the last one out.
        version_skew: What to do where a node's environment does not fit this process's, so that jobs would fail there:
            ``error`` refuses to connect, and workers refuse jobs; ``warn`` says so and goes on; ``ignore`` does not
            look. Other differences that may matter are a :class:`checkmaite_core.VersionSkewWarning`.
        node_maxima: What nodes have that the cluster does not have yet but may get, one mapping for each kind, by Ray's
            names: ``[{"CPU": 64, "GPU": 8, "memory": 512 * 2**30}]``. A demand that neither a node nor one of these
            meets is refused at once, where it would otherwise wait for an autoscaler that never adds such a node.
        reinit: Leave the Ray that this process is connected to and connect anew; refused while it has our jobs.
        num_cpus: CPUs that a local Ray offers; all of the machine's if left out. Only with ``address="local"``.
        dashboard: Start Ray's dashboard. Only with ``address="local"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: str = Field(default="local", min_length=1)
    # It may hold secrets in env_vars, so it is shown nowhere.
    runtime_env: OverlayFields = Field(default_factory=dict, repr=False)
    max_retries: _Count = 2
    oom_retries: _Count = 1
    retry_exceptions: tuple[ExceptionName, ...] = ()
    exception_retries: _Count = 2
    max_unfinished: Annotated[int, Field(ge=1)] = 100_000
    cancel_grace_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    maintain_after: _Count = 500
    maintain_timeout_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    version_skew: SkewPolicy = "error"
    node_maxima: NodeMaxima = ()
    fresh_process: bool = False
    reinit: bool = False
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    dashboard: bool = False

    explained: ClassVar[Mapping[str, str]] = {
        "idempotency_scope": "ray-simple neither shares nor deduplicates jobs: they are this process's own and end "
        'with it. Use kind="ray" for that, or leave the option out.',
        "namespace": "ray-simple names nothing in the cluster, so it needs no namespace; leave it out.",
        "takeover": 'ray-simple has nothing to take over: its jobs end with their driver. Use kind="ray" for that.',
        "on_cluster_loss": 'its jobs end with their driver, and with its cluster. Use kind="ray" for that.',
        "ledger": 'ray-simple keeps no history of jobs beside the runs table. Use kind="ray" for that.',
        "num_gpus": "A local Ray offers the machine's GPUs by itself; set CUDA_VISIBLE_DEVICES to offer fewer. What a "
        "job asks for goes into submit_capability(resources={'num_gpus': 1}).",
        "resources": "What a job asks for goes into submit_capability(resources={...}).",
        "log_to_driver": "What workers print stays in Ray's logs; job.failure.traceback has what a failure needs.",
    }

    @model_validator(mode="after")
    def _local_only(self) -> Self:
        for name in ("num_cpus", "dashboard"):
            if getattr(self, name) and self.address != "local":
                raise ValueError(f"{name} is for address='local'; a running cluster has its own")
        return self
