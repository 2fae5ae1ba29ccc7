"""What a job of the ray backend costs a client that is connected over ``ray://``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from no_op import Bare, NoOp, milliseconds, one_after_the_other, show
from ray_fixtures import Cluster

from checkmaite_core import JobBackend, JobStatus, Work, configure_job_backend

pytestmark = pytest.mark.bench

ROUNDS = 100


@pytest.fixture(scope="module")
def backend() -> Iterator[JobBackend]:
    ray.cloudpickle.register_pickle_by_value(__import__("no_op"))
    with tempfile.TemporaryDirectory(prefix="cmb-", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", name)
        cluster = Cluster(Path(name))
        try:
            cluster.start_head()
            for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(variable, cluster.environment[variable])
            with configure_job_backend(
                "ray",
                analytics_store={"backend": "parquet", "uri": f"{name}/store"},
                address=cluster.client_address,
                idempotency_scope="bench",
            ) as backend:
                warm = backend.submit_all([Work(capability=NoOp())] * 20, force=True)
                assert {job.wait(120) for job in warm} == {JobStatus.COMPLETED}
                yield backend
        finally:
            cluster.stop()


def test_latencies(benchmark: Any, backend: JobBackend) -> None:
    floor = Bare.remote()  # type: ignore[attr-defined]
    ray.get(floor.echo.remote(b""))
    calls: list[float] = []
    submits, ends = one_after_the_other(
        backend, ROUNDS, lambda: calls.append(milliseconds(lambda: ray.get(floor.echo.remote(b"x" * 2000))))
    )
    benchmark.pedantic(lambda: backend.submit(NoOp(), force=True).result(60), rounds=10)
    print(f"\n\nray over ray://, {ROUNDS} jobs one after the other (ms: median / 95th / worst)")
    show("submit, durably accepted", submits)
    show("worker's end to client's answer (target 40)", ends)
    show("floor: one actor call", calls)
