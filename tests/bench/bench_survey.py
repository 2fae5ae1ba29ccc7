"""What looking at the nodes costs a client that connects: the first one of a cluster, and the next ones."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_fixtures import Cluster

from checkmaite_core import configure_job_backend
from checkmaite_ray_simple import survey

pytestmark = pytest.mark.bench

ROUNDS = 5


@pytest.fixture(params=[1, 2], ids=["one-node", "two-nodes"])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="cmb-", dir="/tmp") as name:
        monkeypatch.setenv("HOME", name)
        cluster = Cluster(Path(name))
        try:
            cluster.start_head(cpus=1)
            for _ in range(request.param - 1):
                cluster.add_node(cpus=1)
            for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                monkeypatch.setenv(variable, cluster.environment[variable])
            yield cluster
        finally:
            cluster.stop()


@pytest.mark.parametrize("kind", ["ray-simple", "ray"])
@pytest.mark.parametrize("form", ["address", "client_address"], ids=["direct", "ray-client"])
def test_connecting(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: str) -> None:
    def seconds(policy: str) -> float:
        options = {"idempotency_scope": f"bench-{uuid.uuid4().hex[:8]}"} if kind == "ray" else {}
        begun = time.perf_counter()
        with configure_job_backend(
            kind,
            analytics_store={"backend": "parquet", "uri": str(tmp_path / "store")},
            address=getattr(cluster, form),
            version_skew=policy,
            **options,
        ):
            return time.perf_counter() - begun

    def forgetful() -> float:
        with monkeypatch.context() as patch:
            patch.setattr(survey, "recall", dict)
            return seconds("error")

    seconds("ignore")
    figures: dict[str, list[float]] = {"not looking": [], "first client of a cluster": [], "next ones": []}
    for _ in range(ROUNDS):  # one after the other, so that a busy machine is busy for all
        figures["not looking"].append(seconds("ignore"))
        figures["first client of a cluster"].append(forgetful())
        figures["next ones"].append(seconds("error"))
    floor = statistics.median(figures["not looking"])
    print(f"\n\n{kind}, {form}: seconds to connect (median / worst), and what that is of not looking")
    for what, measured in figures.items():
        median = statistics.median(measured)
        print(f"  {what:27} {median:6.2f} / {max(measured):6.2f}   {median / floor:5.2f}")
