"""Two clusters and one scope: what becomes of jobs when theirs is lost, and who serves while both live."""

from __future__ import annotations

import contextlib
import os
import secrets

import pytest
import ray_faults
from ray import cloudpickle
from ray_faults import Traces, a_cluster, answers_of
from ray_remote import RemoteClient, RemoteError

from checkmaite_core import FailureKind, JobLostError, JobOrigin, JobStatus, ScopeInUseError
from checkmaite_ledger import JobLedger

TOKEN = secrets.token_hex(32)


@pytest.fixture(scope="module", autouse=True)
def travelling_helpers():
    cloudpickle.register_pickle_by_value(ray_faults)
    yield
    cloudpickle.unregister_pickle_by_value(ray_faults)


@pytest.fixture(scope="module")
def home(own_folders):
    """The cluster that takes over."""
    with a_cluster(own_folders, token=TOKEN) as cluster:
        yield cluster


@pytest.fixture
def other(own_folders, home):
    """A cluster of the test's own."""
    with a_cluster(own_folders, token=TOKEN) as cluster:
        yield cluster


@pytest.fixture
def remote(store, tmp_path):
    """Open clients of their own, and leave none behind."""
    opened = []

    def remote(cluster, scope, **options):
        folder = tmp_path / f"client-{len(opened)}"
        given = {"address": cluster.address, "idempotency_scope": scope, "analytics_store": store, **options}
        opened.append(RemoteClient(folder, max_retries=1, cancel_grace_seconds=1.0, **given))
        return opened[-1]

    yield remote
    for one in opened:
        one.kill()


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.timeout(180)
def test_when_a_cluster_is_lost_the_next_shows_its_history_and_ends_its_jobs_as_configured(
    home, other, connect, scope, remote, tmp_path, until
):
    scopes = {"fail": f"{scope}-fail", "resubmit": f"{scope}-resubmit"}
    left = {}
    for policy, name in scopes.items():
        client = remote(other, name, on_cluster_loss=policy)
        traces = {
            "done": Traces(tmp_path / f"{policy}-done", f"{policy}-done", ""),
            "committed": Traces(tmp_path / f"{policy}-committed", f"{policy}-committed", "committed"),
            "running": Traces(tmp_path / f"{policy}-running", f"{policy}-running"),
            "queued": Traces(tmp_path / f"{policy}-queued", f"{policy}-queued"),
        }
        ids = {}
        for kind in ("done", "committed", "running"):
            ids[kind] = client.submit(traces[kind].work, name=kind, resources={"num_cpus": 0.5})
        assert client.call("wait", job_id=ids["done"], timeout=60) == "COMPLETED"
        until(lambda running=traces["running"]: running.executions, "it runs")
        until(lambda waiting=traces["committed"]: waiting.committed, "it has committed")
        ids["queued"] = client.submit(traces["queued"].work, name="queued", resources={"num_cpus": 2})
        left[policy] = (traces, ids)
    other.stop()

    for policy, name in scopes.items():
        traces, ids = left[policy]
        traces["queued"].let_go()  # it takes every CPU, and may be the first to be started again
        backend = connect(home.address, idempotency_scope=name)
        assert [job.name for job in backend.jobs()] == ["queued", "running", "committed", "done"]
        jobs = {kind: backend.job(job_id) for kind, job_id in ids.items()}
        assert jobs["done"].status is JobStatus.COMPLETED
        assert jobs["committed"].wait(90) is JobStatus.COMPLETED, "what has committed is completed"
        if policy == "fail":
            for kind in ("running", "queued"):
                with pytest.raises(JobLostError):
                    jobs[kind].result(90)
                assert answers_of(backend.store, ids[kind]) == 0
        else:
            until(lambda running=traces["running"]: len(running.executions) == 2, "it runs here")
            traces["running"].let_go()
            for kind in ("running", "queued"):
                assert jobs[kind].wait(90) is JobStatus.COMPLETED
        runs = {"done": 1, "committed": 1, "running": 1, "queued": 0}
        if policy == "resubmit":
            runs |= {"running": 2, "queued": 1}
        assert {kind: len(trace.executions) for kind, trace in traces.items()} == runs
        for kind in ("done", "committed"):
            assert answers_of(backend.store, ids[kind]) == 1
            assert len(JobLedger(backend.store_config.uri, name).epochs()) == 2


def controllers_in(cluster):
    """How many of a cluster's processes are controllers."""
    import psutil

    family = (one for node in cluster._processes for one in psutil.Process(node.pid).children(recursive=True))
    count = 0
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            count += one.cmdline()[:1] == ["ray::Controller"] or one.name().startswith("ray::Controller")
    return count


@pytest.mark.timeout(180)
def test_of_two_live_clusters_the_second_is_refused_until_it_takes_over_and_then_the_first_stops(
    home, other, connect, scope, remote, tmp_path, until
):
    traces = Traces(tmp_path / "job", "job")
    client, waiting = remote(other, scope), remote(other, scope)
    job_id = client.submit(traces.work, name="held")
    until(lambda: traces.executions, "it runs")
    waiting.begin("wait", job_id=job_id)
    until(lambda: controllers_in(other) == 2, "both controllers")

    with pytest.raises(ScopeInUseError, match=r"takeover=True") as refused:
        connect(home.address)
    port = other.address.partition(":")[2]
    assert f":{port}" in str(refused.value), "it names the cluster that serves"

    backend = connect(home.address, takeover=True)
    with pytest.raises(JobLostError):
        backend.job(job_id).result(90)
    assert backend.job(job_id).failure.kind is FailureKind.LOST
    mine = backend.submit(Traces(tmp_path / "mine", "mine", "").work)
    assert mine.wait(60) is JobStatus.COMPLETED
    assert mine.origin is JobOrigin.STARTED

    with pytest.raises(RemoteError, match="ScopeSealedError") as sealed:
        client.submit(Traces(tmp_path / "late", "late", "").work)
    assert "takeover=True" in str(sealed.value)
    with pytest.raises(RemoteError, match="ScopeSealedError"):
        waiting.answer()
    until(lambda: gone(traces.executions[0]), "the end of what the first had running")
    until(lambda: not controllers_in(other), "the end of its controllers")
    traces.let_go()
    assert answers_of(backend.store, job_id) == 0
    assert not Traces(tmp_path / "late", "late").executions
    assert [job.name for job in backend.jobs(name="held")] == ["held"]
