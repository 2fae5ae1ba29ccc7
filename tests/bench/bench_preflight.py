"""How long a preflight takes on two nodes: the first one of a cluster, and the next ones. The target is 10 s."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from measuring import Timing, milliseconds, show
from preflight_world import write_module
from ray_fixtures import Cluster

from checkmaite_core import DatasetRef, JobBackend, Work, configure_job_backend
from checkmaite_ray_simple.site import on_node

pytestmark = pytest.mark.bench

ROUNDS = 5
JOBS = 4


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head and a node, freshly started, that have the modules of the jobs."""
    with tempfile.TemporaryDirectory(prefix="cmb-", dir="/tmp") as name:
        modules = Path(name) / "modules"
        for number in range(JOBS):
            write_module(modules, f"bench_job_{number}")
        monkeypatch.setenv("HOME", name)
        monkeypatch.setenv("PYTHONPATH", str(modules), prepend=":")
        monkeypatch.syspath_prepend(str(modules))
        cluster = Cluster(Path(name))
        try:
            cluster.start_head(cpus=1)
            cluster.add_node(cpus=1)
            for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                monkeypatch.setenv(variable, cluster.environment[variable])
            yield cluster
        finally:
            cluster.stop()


def works(folder: Path) -> list[Work]:
    """Jobs of different modules, each with an input by reference."""
    data = folder / "data.bin"
    data.write_bytes(b"x" * 1000)
    inputs = [DatasetRef(id="data", uri=str(data), loader="json:loads")]
    return [
        Work(capability=__import__(f"bench_job_{number}").Count(), datasets=inputs, name=f"job {number}")
        for number in range(JOBS)
    ]


def seconds(backend: JobBackend, jobs: list[Work]) -> float:
    report = backend.preflight(*jobs)
    assert report.exit_code == 0, report.table()
    return report.seconds


@pytest.mark.parametrize("kind", ["ray-simple", "ray"])
@pytest.mark.parametrize("form", ["address", "client_address"], ids=["direct", "ray-client"])
def test_two_nodes(cluster: Cluster, tmp_path: Path, kind: str, form: str) -> None:
    store = {"backend": "parquet", "uri": str(tmp_path / "store")}
    options = {"idempotency_scope": "bench"} if kind == "ray" else {}
    jobs = works(tmp_path)
    begun = time.monotonic()
    with configure_job_backend(kind, address=getattr(cluster, form), analytics_store=store, **options) as backend:
        connected = time.monotonic() - begun
        first = seconds(backend, jobs)
        nothing = sorted(seconds(backend, []) for _ in range(ROUNDS))
        again = sorted(seconds(backend, jobs) for _ in range(ROUNDS))
        noop = ray.remote(num_cpus=0)(lambda: None)
        nodes = [node["NodeID"] for node in ray.nodes()]  # type: ignore[no-untyped-call]

        def ask() -> None:
            ray.get([noop.options(scheduling_strategy=on_node(node)).remote() for node in nodes])

        ask()
        floors = sorted(milliseconds(ask) for _ in range(ROUNDS))
    process = milliseconds(lambda: subprocess.run([sys.executable, "-c", "import ray, checkmaite_core"], check=True))
    show(
        f"preflight of {JOBS} jobs on two nodes, {kind}, {'direct' if form == 'address' else 'over ray://'}",
        ("the first, in s (target 10)", first, f"after {connected:.1f} s for connecting, which compares all nodes"),
        ("the next ones", Timing(again[ROUNDS // 2] * 1e3, again[-1] * 1e3), "median and worst"),
        ("without jobs: cluster and store alone", Timing(nothing[ROUNDS // 2] * 1e3, nothing[-1] * 1e3), ""),
        ("floor of the first: one Python with Ray", process, f"ms; each node starts up to {JOBS + 1} at a time"),
        ("floor of the next: a task on each node", Timing(floors[ROUNDS // 2], floors[-1]), ""),
    )
