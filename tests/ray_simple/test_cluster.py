"""Connecting to a running cluster: directly, through ray://, and when something about it is wrong."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
import ray

from checkmaite_core import (
    ClusterError,
    ClusterMismatchError,
    ClusterUnreachableError,
    DeploymentError,
    FailureKind,
    JobLostError,
    JobStatus,
    Progress,
    cancelled,
    configure_job_backend,
    progress,
)

KNOWN_WITHIN = 2.0
"""Seconds in which a wrong address is to be known for what it is."""


@pytest.fixture
def connect(store):
    """Open backends, and leave none behind."""
    opened = []

    def connect(address, **options):
        options = {"cancel_grace_seconds": 1.0, "max_retries": 1, **options}
        opened.append(configure_job_backend("ray-simple", analytics_store=store, address=address, **options))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)
    assert not ray.is_initialized()


def refused(connect, error, address):
    """Connect, and see that it is refused in time."""
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        connect(address)
    assert time.monotonic() - begun < KNOWN_WITHIN
    assert address.removeprefix("ray://") in str(caught.value)
    return str(caught.value)


@pytest.fixture
def dead_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_dead_port_is_unreachable(connect, cluster, dead_port, scheme):
    assert "ray start --head" in refused(connect, ClusterUnreachableError, f"{scheme}127.0.0.1:{dead_port}")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_port_that_is_not_rays_is_told_from_a_dead_one(connect, cluster, scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        assert "does not answer as Ray does" in refused(connect, ClusterUnreachableError, address)


def test_the_other_kind_of_port_is_named(connect, cluster):
    as_client = f"ray://{cluster.address}"
    assert f"address='{cluster.address}'" in refused(connect, ClusterMismatchError, as_client)
    as_gcs = cluster.client_address.removeprefix("ray://")
    assert f"'{cluster.client_address}'" in refused(connect, ClusterMismatchError, as_gcs)


def test_another_version_of_ray_or_python_is_told_before_connecting(connect, cluster, monkeypatch):
    from checkmaite_ray_simple import probe

    # The cluster is real; it is this side that claims to be another.
    monkeypatch.setattr(probe.ray, "__version__", "2.1.0")
    monkeypatch.setattr(probe.platform, "python_version", lambda: "3.99.1")
    message = refused(connect, ClusterMismatchError, cluster.address)
    assert "there, 2.1.0 here" in message
    assert "there, 3.99.1 here" in message


def test_auto_follows_ray_address_and_says_so_when_it_is_dead(connect, cluster, dead_port, monkeypatch, work):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead_port}")
    with pytest.raises(ClusterUnreachableError, match="RAY_ADDRESS"):
        connect("auto")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    assert connect("auto").submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED


@pytest.mark.soak  # Ray takes half a minute to give up
def test_after_a_failed_connection_through_ray_client_a_direct_one_works(connect, cluster, work):
    with pytest.raises(DeploymentError, match="Conda"):
        connect(cluster.client_address, runtime_env={"conda": "no-such-environment"})
    assert connect(cluster.address).submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED


@pytest.mark.parametrize(("crashes", "connected"), [(2, True), (3, False)])
def test_rays_server_for_a_client_may_crash_twice_at_its_start(connect, cluster, monkeypatch, work, crashes, connected):
    # Ray's own crash comes by chance; here it is only said to have come.
    really, crashed = ray.init, []
    texts = [
        "Starting Ray client server failed. See ray_client_server_23000.err for details.",
        "Attempted to reconnect a session that has already been cleaned up",
    ]

    def init(*arguments, **options):
        if len(crashed) < crashes:
            crashed.append(arguments)
            raise ConnectionError(texts[len(crashed) % 2])
        return really(*arguments, **options)

    monkeypatch.setattr(ray, "init", init)
    if connected:
        assert connect(cluster.client_address).submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED
    else:
        with pytest.raises(ClusterError, match="tried 3 times"):
            connect(cluster.client_address)


@pytest.fixture(params=["address", "client_address"])
def backend(request, connect, cluster):
    """A backend on the cluster, reached in both ways."""
    return connect(getattr(cluster, request.param))


def test_a_job_runs_is_followed_fails_and_is_cancelled_in_both_ways(backend, work, tmp_path, until):
    def count():
        for _ in progress(range(3)):
            while not (tmp_path / "go").exists():
                time.sleep(0.01)
        return "counted"

    job = backend.submit(work(count))
    until(lambda: job.progress == Progress(0, 3), "the first report")
    assert job.status is JobStatus.RUNNING
    (tmp_path / "go").touch()
    reference = job.result(60)
    answers = backend.store.query(f"select answer from answers where run_uid = '{reference.run_uid}'")
    assert answers["answer"].to_pylist() == ["counted"]

    def fail():
        raise ValueError("no such class: zebra")

    failing = backend.submit(work(fail))
    assert failing.wait(60) is JobStatus.FAILED
    assert "zebra" in failing.failure.message

    def cooperate():
        while not cancelled():
            time.sleep(0.01)
        (tmp_path / "tidied").touch()

    polite = backend.submit(work(cooperate))
    until(lambda: polite.status is JobStatus.RUNNING, "the polite job runs")
    polite.cancel()
    assert polite.wait(60) is JobStatus.CANCELLED
    assert (tmp_path / "tidied").exists()

    stubborn = backend.submit(work(lambda: time.sleep(1000)))
    until(lambda: stubborn.status is JobStatus.RUNNING, "the stubborn job runs")
    stubborn.cancel()
    assert stubborn.wait(60) is JobStatus.CANCELLED

    blob = os.urandom(1_000_000)
    assert {job.wait(60) for job in [backend.submit(work(lambda: len(blob))) for _ in range(5)]} == {
        JobStatus.COMPLETED
    }


def test_a_worker_that_dies_is_replaced_once_and_then_the_job_is_lost_in_both_ways(backend, work, tmp_path):
    starts = tmp_path / "starts"

    def die():
        with starts.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), 9)

    job = backend.submit(work(die))
    assert job.wait(60) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.LOST
    assert starts.read_text() == "xx"


def test_what_is_left_at_shutdown_ends_lost_and_is_named(backend, work, capsys, until):
    held = backend.submit(work(lambda: time.sleep(1000)), name="held")
    until(lambda: held.status is JobStatus.RUNNING, "it runs")
    waiting = threading.Thread(target=held.wait)
    waiting.start()
    backend.shutdown(wait=False)
    waiting.join(20)
    assert not waiting.is_alive()
    with pytest.raises(JobLostError, match="shut down"):
        held.result(0)
    assert "held (RUNNING)" in capsys.readouterr().err
    assert backend.store.query(f"select * from runs where job_id = '{held.job_id}'").num_rows == 0


@pytest.mark.soak
def test_a_node_that_dies_uses_up_no_retries_of_its_job(connect, cluster, work, tmp_path, until):
    node = cluster.add_node(resources='{"corner": 1}')
    backend = connect(cluster.address, max_retries=0)
    begun, go = tmp_path / "begun", tmp_path / "go"

    def hold():
        begun.touch()
        while not go.exists():
            time.sleep(0.01)

    job = backend.submit(work(hold), resources={"num_cpus": 0, "custom": {"corner": 1}})
    for _ in range(2):
        until(begun.exists, "the job's begin on one node")
        until(lambda: job.status is JobStatus.RUNNING, "RUNNING is seen")
        another = cluster.add_node(resources='{"corner": 1}')
        begun.unlink()
        cluster.kill(node)
        node = another
    until(begun.exists, "the job's begin on the last node")
    assert not job.status.is_terminal
    go.touch()
    assert job.wait(60) is JobStatus.COMPLETED
    assert backend.store.query(f"select * from runs where job_id = '{job.job_id}'").num_rows == 1


def test_backends_share_a_connection_and_a_different_one_is_refused(connect, cluster, store, work, tmp_path):
    first = connect(cluster.address)
    other_store = {"backend": "parquet", "uri": str(tmp_path / "other")}
    overlay = {"env_vars": {"WHOSE": "the second's"}}
    second = configure_job_backend(
        "ray-simple", analytics_store=other_store, address=cluster.address, runtime_env=overlay
    )
    assert second is not first
    for backend, whose in ((first, "None"), (second, "the second's")):
        reference = backend.submit(work(lambda: os.environ.get("WHOSE"))).result(60)
        found = backend.store.query(f"select answer from answers where run_uid = '{reference.run_uid}'")
        assert found["answer"].to_pylist() == [whose], "each runs with its own overlay"
    with pytest.raises(ClusterMismatchError, match="address='local'"):
        connect("local")
    with pytest.raises(ClusterMismatchError, match=r"reinit=True would end the jobs of 2"):
        connect(cluster.address, reinit=True)
    second.shutdown()
    assert first.submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED, "the first still has its connection"
    first.shutdown()
    assert not ray.is_initialized()


def test_a_ray_of_other_code_is_used_if_it_fits_and_left_running(connect, cluster, work):
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        with pytest.raises(ClusterMismatchError, match="by other code"):
            connect("local")
        backend = connect(cluster.address)
        assert backend.submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED
        backend.shutdown()
        assert ray.is_initialized()
        connect(cluster.address, reinit=True).shutdown()
        assert not ray.is_initialized(), "reinit makes it ours"
    finally:
        ray.shutdown()


def test_an_overlay_that_cannot_be_set_up_fails_the_job_as_deployment(connect, cluster, work):
    overlay = {"conda": "no-such-environment"}
    with pytest.raises(DeploymentError, match="Install conda in the nodes' image"):
        connect(cluster.address, runtime_env=overlay)
    backend = connect(cluster.address, runtime_env=overlay, version_skew="ignore")
    job = backend.submit(work(lambda: 1))
    assert job.wait(60) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.DEPLOYMENT
    assert "No worker could be asked" not in job.failure.message, "what never began needs no settling"


def test_a_board_that_dies_costs_no_job_and_news_come_again(connect, cluster, work, tmp_path, until):
    backend = connect(cluster.address)

    def hold():
        for _ in progress(range(10_000)):
            if cancelled():
                (tmp_path / "tidied").touch()
                return
            time.sleep(0.3)

    before = backend.submit(work(hold))
    until(lambda: before.progress, "a report")
    ray.kill(backend._board, no_restart=False)
    seen = before.progress.done
    until(lambda: before.progress.done > seen + 1, "a report through the restarted board")
    before.cancel()
    assert before.wait(60) is JobStatus.CANCELLED
    assert (tmp_path / "tidied").exists()
    assert backend.submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED


@pytest.mark.parametrize("again", [False, True], ids=["for-good", "and-connects-anew"])
def test_jobs_end_lost_when_other_code_shuts_ray_down_under_them(connect, cluster, work, until, again):
    backend = connect(cluster.address)
    job = backend.submit(work(lambda: time.sleep(1000)))
    until(lambda: job.status is JobStatus.RUNNING, "it runs")
    ray.shutdown()
    if again:
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    assert job.wait(30) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.LOST
    assert "Ray was shut down" in job.failure.message
    for call in (lambda: backend.submit(work(lambda: 1)), backend.environments):
        with pytest.raises(ClusterUnreachableError, match="shut down in this process"):
            call()
    assert ray.is_initialized() is again, "a Ray that nobody asked for"
    backend.shutdown()
    assert ray.is_initialized() is again, "the new one is not ours to close"
    ray.shutdown()


def test_a_worker_that_dies_while_shutdown_waits_is_still_replaced(connect, cluster, work, tmp_path):
    killed = tmp_path / "killed"

    def die_once():
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), 9)

    with connect(cluster.address) as backend:
        job = backend.submit(work(die_once))
    assert job.status is JobStatus.COMPLETED
