"""What an overlay costs the first task that needs it, and the next ones, beside bare tasks of Ray with one like it."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from no_op import ARGUMENTS, NoOp, bare, milliseconds
from ray_fixtures import Cluster

from checkmaite_core import JobBackend, configure_job_backend

pytestmark = pytest.mark.bench

KINDS = ("none", "env_vars", "working_dir", "py_modules", "pip")
WARM = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    ray.cloudpickle.register_pickle_by_value(__import__("no_op"))
    with tempfile.TemporaryDirectory(prefix="cmb-", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", name)
        cluster = Cluster(Path(name))
        try:
            cluster.start_head()
            for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(variable, cluster.environment[variable])
            with connected(cluster, {}) as backend:  # so that the registry is there
                assert backend.submit(NoOp(), force=True).wait(120)
            yield cluster
        finally:
            cluster.stop()


def connected(cluster: Cluster, runtime_env: dict[str, Any]) -> JobBackend:
    return configure_job_backend(
        "ray",
        address=cluster.address,
        analytics_store={"uri": str(cluster.folder / "store")},
        idempotency_scope="bench",
        runtime_env=runtime_env,
    )


def overlay(kind: str, folder: Path, package: str) -> dict[str, Any]:
    """An overlay that no worker has been started with."""
    code = folder / f"code_{uuid.uuid4().hex}"
    code.mkdir()
    (code / "__init__.py").write_text(f"WHICH = {code.name!r}\n")
    return {
        "none": {},
        "env_vars": {"env_vars": {"BENCH": code.name}},
        "working_dir": {"working_dir": str(code)},
        "py_modules": {"py_modules": [str(code)]},
        "pip": {"pip": [package]},
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_first_and_next_tasks(benchmark: Any, cluster: Cluster, tmp_path: Path, kind: str) -> None:
    given = overlay(kind, tmp_path, "iniconfig==2.1.0")
    begun = time.perf_counter()
    with connected(cluster, given) as backend:
        connecting = (time.perf_counter() - begun) * 1e3
        run = lambda: backend.submit(NoOp(), force=True).result(300)  # noqa: E731
        first = milliseconds(run)
        following = statistics.median(milliseconds(run) for _ in range(WARM))
        benchmark.pedantic(run, rounds=5)
        print(f"\n\noverlay: {kind} (ms)")
        print(f"  {'connect, which looks at the nodes in the overlay':<52}{connecting:10.0f}")
        print(f"  {'first job':<52}{first:10.0f}")
        print(f"  {'next jobs, median':<52}{following:10.1f}")
        if kind in ("none", "env_vars", "pip"):  # the others belong to a driver, not to a task
            given = overlay(kind, tmp_path, "pluggy==1.6.0")
            task = bare.options(runtime_env=given) if given else bare
            call = lambda: ray.get(task.remote(*ARGUMENTS))  # noqa: E731
            cold = milliseconds(call)
            warm = statistics.median(milliseconds(call) for _ in range(WARM))
            print(f"  {'floor: first bare task with another one like it':<52}{cold:10.0f}")
            print(f"  {'floor: next bare tasks, median':<52}{warm:10.1f}")
