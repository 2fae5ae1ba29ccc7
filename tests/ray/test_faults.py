"""Who is killed, and when: what becomes of the jobs, how often their code runs, and what is stored."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
import ray_faults
from ray import cloudpickle
from ray_faults import (
    Traces,
    answers_of,
    controller_of,
    controllers_of,
    end_scope,
    pid_of,
    registry_of,
    stopped,
)
from ray_remote import RemoteClient

from checkmaite_core import JobOrigin, JobStatus
from checkmaite_ledger import JobLedger
from checkmaite_ray import joining

pytestmark = pytest.mark.timeout(180)

VICTIMS = ("registry", "controller", "worker", "node", "client")
MOMENTS = ("in flight", "queued", "running", "committed", "ended")
QUICK = {
    ("registry", "in flight"),
    ("registry", "running"),
    ("controller", "running"),
    ("worker", "committed"),
    ("node", "running"),
    ("client", "in flight"),
}
"""In the plain tests: each victim once; the rest is for the soak."""
RECORD_GOES_WITH = {"worker", "controller", "node"}
"""Whose death takes with it what a job that has committed had used."""
SECOND_TIME = {("controller", "running"), ("worker", "running"), ("node", "running")}
"""Whose death takes running code along that has not committed."""


def _cells() -> list[Any]:
    return [
        pytest.param(
            who, when, id=f"{who}-{when.replace(' ', '-')}", marks=[] if (who, when) in QUICK else [pytest.mark.soak]
        )
        for who in VICTIMS
        for when in MOMENTS
    ]


@pytest.fixture(scope="module", autouse=True)
def kept_connection(cluster, tmp_path_factory):
    """One connection for the module, and helpers that workers need not be able to import."""
    cloudpickle.register_pickle_by_value(ray_faults)
    from checkmaite_core import configure_job_backend

    store = {"backend": "parquet", "uri": str(tmp_path_factory.mktemp("unused") / "store")}
    with configure_job_backend("ray", address=cluster.address, idempotency_scope="unused", analytics_store=store):
        yield
    cloudpickle.unregister_pickle_by_value(ray_faults)


@dataclass
class Scene:
    """A cluster with one job under test, and a bystander that runs all the while."""

    backend: Any
    cluster: Any
    scope: str
    folder: Path
    until: Callable[..., Any]
    job: Traces
    demand: dict[str, Any]
    remote: RemoteClient | None
    node: Any = None

    @property
    def ledger(self) -> JobLedger:
        return JobLedger(self.backend.store_config.uri, self.scope)

    def submit(self) -> str:
        """Submit the job from the client under test; returns its id."""
        if self.remote is not None:
            return self.remote.submit(self.job.work, resources=self.demand)
        return self.backend.submit(self.job.work, resources=self.demand).job_id

    def kill(self, who: str, record: Any, worker: int | None) -> None:
        """End the victim; the job's controller, or the worker that is in the way."""
        if who == "registry":
            os.kill(pid_of(registry_of(self.scope)), signal.SIGKILL)
        elif who == "controller":
            os.kill(pid_of(controller_of(self.scope, record)), signal.SIGKILL)
        elif who == "worker":
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
        elif who == "node":
            kill_raylet(self.node)
            self.node = self.cluster.add_node(cpus=0, resources='{"corner": 1}')
        else:
            assert self.remote is not None
            self.remote.kill()


def kill_raylet(node: Any) -> None:
    """End a node's raylet, and nothing else of it."""
    import psutil

    family = psutil.Process(node.pid).children(recursive=True)
    [raylet] = [one for one in family if one.name() == "raylet"]
    raylet.kill()
    node.wait(timeout=60)


@pytest.fixture
def scene(request, cluster, connect, scope, tmp_path, until):
    """The client under test is another process where it is the victim."""
    who, when = request.getfixturevalue("who"), request.getfixturevalue("when")
    # Evenly spread, so that the bystander may have another controller than the job.
    backend = connect(cluster.address, registry={"spread_after": 1})
    remote = None
    if who == "client":
        store = {"backend": "parquet", "uri": backend.store_config.uri}
        remote = RemoteClient(
            tmp_path / "client", address=cluster.address, idempotency_scope=scope, analytics_store=store
        )
        remote.connected()
    demand = {"num_cpus": 0, "custom": {"corner": 1}} if who == "node" else {"num_cpus": 1}
    waits = {"queued": "", "running": "running", "committed": "committed"}.get(when, "")
    scene = Scene(backend, cluster, scope, tmp_path, until, Traces(tmp_path / "job", "job", waits), demand, remote)
    if who == "node":
        scene.node = cluster.add_node(cpus=0, resources='{"corner": 1}')
    yield scene
    for record in scene.ledger.jobs().records:  # shown beside a failure
        print(record)
    if remote is not None:
        remote.kill()
    if scene.node is not None:
        cluster.kill(scene.node)
    end_scope(scope)


@pytest.mark.parametrize(("who", "when"), _cells())
def test_a_death_loses_no_job_and_repeats_none_that_it_does_not_touch(scene, who, when, monkeypatch):
    until, backend = scene.until, scene.backend
    bystander = Traces(scene.folder / "bystander", "bystander")
    other = backend.submit(bystander.work)
    until(lambda: bystander.executions, "the bystander runs")
    blocker = Traces(scene.folder / "blocker", "blocker")
    controllers = controllers_of(scene.scope)

    touched = when == "in flight"  # it is the bystander's controller that dies then
    if when == "in flight":
        job_id = die_in_flight(scene, who, other.job_id, monkeypatch)
    else:
        first = None
        if when == "queued":
            first = backend.submit(blocker.work, resources=scene.demand)
            until(lambda: blocker.executions, "the blocker runs")
        job_id = scene.submit()
        if when == "queued":
            until(lambda: scene.ledger.job(job_id).attempt, "the job is handed to its controller")
        elif when == "running":
            until(lambda: scene.job.executions, "the job runs")
        elif when == "committed":
            until(lambda: scene.job.committed, "the job has committed")
        else:
            assert backend.job(job_id).wait(60) is JobStatus.COMPLETED
        processes = scene.job.executions or blocker.executions
        touched = scene.ledger.job(other.job_id).incarnation == scene.ledger.job(job_id).incarnation
        scene.kill(who, scene.ledger.job(job_id), processes[0] if processes else None)
        if who == "controller" and touched:
            until(lambda: len(bystander.executions) == 2, "the bystander, of the same controller, runs again")
        if (who, when) in SECOND_TIME:
            until(lambda: len(scene.job.executions) == 2, "the job runs again")
        if first is not None:
            blocker.let_go()
            assert first.wait(90) is JobStatus.COMPLETED
            assert answers_of(backend.store, first.job_id) == 1

    scene.job.let_go()
    if job_id is not None:
        job = backend.job(job_id)
        assert job.wait(90) is JobStatus.COMPLETED
        assert job.result(0).event_id == job_id
        assert answers_of(backend.store, job_id) == 1
        assert len(scene.job.executions) == (2 if (who, when) in SECOND_TIME else 1)
        record = scene.ledger.job(job_id)
        assert record.status is JobStatus.COMPLETED
        assert record.attempt <= 2
        if who != "client":  # what came out of a pickle has no source, and is never shared
            again = backend.submit(scene.job.work, resources=scene.demand)
            if when == "committed" and who in RECORD_GOES_WITH:
                # The results are stored; what the code had imported and read by then, nobody can tell any more.
                assert again.origin is JobOrigin.STARTED
                assert "had committed when its worker was lost" in again.origin_reason
            else:
                assert (again.job_id, again.origin) == (job_id, JobOrigin.REUSED)

    assert scene.ledger.job(other.job_id).status is not JobStatus.COMPLETED
    bystander.let_go()
    assert other.wait(60) is JobStatus.COMPLETED
    assert answers_of(backend.store, other.job_id) == 1
    if who != "controller" or not touched:
        assert len(bystander.executions) == 1, "nothing of it died"
    if who != "controller":
        assert controllers_of(scene.scope) == controllers


def die_in_flight(scene: Scene, who: str, other: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Kill while the call that submits the job is on its way to a registry that does not move."""
    pid = pid_of(registry_of(scene.scope))
    if who == "client":
        assert scene.remote is not None
        with stopped(pid):
            scene.remote.begin("submit", scene.job.work, resources=scene.demand)
            scene.remote.asked()
            scene.remote.kill()
        after = scene.backend.submit(Traces(scene.folder / "after", "after", "").work, resources=scene.demand)
        assert after.wait(90) is JobStatus.COMPLETED
        [*accepted] = {job.job_id for job in scene.backend.jobs()} - {other, after.job_id}
        assert len(accepted) <= 1
        return accepted[0] if accepted else None

    sent, submitted = threading.Event(), queue.SimpleQueue[str]()
    answer = joining.answer

    def tell(*arguments: Any) -> Any:
        sent.set()
        return answer(*arguments)

    controller = pid_of(controller_of(scene.scope, scene.ledger.job(other)))
    with stopped(pid):
        monkeypatch.setattr(joining, "answer", tell)
        thread = threading.Thread(target=lambda: submitted.put(scene.submit()))
        thread.start()
        assert sent.wait(20)
        if who in ("registry", "controller"):
            os.kill({"registry": pid, "controller": controller}[who], signal.SIGKILL)
        else:
            # No worker has the job: one that would have been used dies.
            scene.kill(who, None, spare_worker())
    monkeypatch.undo()
    job_id = submitted.get(timeout=90)
    thread.join()
    return job_id


def spare_worker() -> int:
    """An idle worker's process."""
    return int(ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote(), timeout=60))
