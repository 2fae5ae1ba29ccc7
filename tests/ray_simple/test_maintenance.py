"""Workers put the store in order: after many jobs, and at shutdown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._sealed import seal
from checkmaite_core import (
    AccessDeniedError,
    JobStatus,
    StoreMaintenanceWarning,
    cancelled,
    configure_job_backend,
)
from checkmaite_storage import LocalObjectStore

AFTER = 5


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def connect(cluster, place):
    """Open backends on the cluster with a store of the test's own, and leave none behind."""
    opened = []

    def connect(address=None, **options):
        options = {"maintain_after": AFTER, "cancel_grace_seconds": 1.0, **options}
        store = {"backend": "parquet", "uri": str(place)}
        backend = configure_job_backend(
            "ray-simple", analytics_store=store, address=address or cluster.address, **options
        )
        opened.append(backend)
        return backend

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)
    assert not ray.is_initialized()


def folded(place):
    """How many runs lie in the store's Parquet files."""
    with AnalyticsStore(place) as store:
        return sum(pq.read_metadata(file).num_rows for file in store.files("runs"))


def damage(place):
    """A manifest of a format to come: maintenance repairs what is damaged, and leaves alone what it does not know."""
    (place / "manifests").mkdir()
    (place / "manifests/v0000000001.json").write_bytes(seal("manifest", {"format": 99}))


def stored(place):
    with AnalyticsStore(place) as store:
        return store.query("select count(*) as n from runs")["n"].to_pylist()[0]


@pytest.mark.parametrize("which", ["address", "client_address"])
def test_many_jobs_are_folded_while_the_backend_goes_on_and_the_rest_at_its_end(
    connect, cluster, place, work, until, which
):
    backend = connect(getattr(cluster, which))
    capability = work(lambda: 1)
    for number in range(AFTER):
        assert folded(place) == 0 if number else not place.exists()
        backend.submit(capability).result(60)
    until(lambda: folded(place) >= AFTER, "the fold")
    jobs = [backend.submit(capability) for _ in range(2)]
    assert [job.wait(60) for job in jobs] == [JobStatus.COMPLETED] * 2
    assert folded(place) == AFTER, "less than that does not pay"
    assert stored(place) == AFTER + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend.shutdown()
    assert folded(place) == stored(place) == AFTER + 2
    assert len(backend.jobs()) == AFTER + 2, "a maintenance is no job"


def test_a_client_that_cannot_write_the_store_still_gets_it_folded(connect, place, work, monkeypatch):
    # It is this process that may not write; root may write everywhere, so the store's own methods refuse it here.
    # Workers are other processes, and have theirs.
    def refuse(self, key, *_):
        raise AccessDeniedError(f"{key} is not ours to write.", hint="Ask.", uri=self.uri)

    monkeypatch.setattr(LocalObjectStore, "put_if_absent", refuse)
    monkeypatch.setattr(LocalObjectStore, "delete", refuse)
    with connect() as backend:
        backend.submit(work(lambda: 1)).result(60)
        with pytest.raises(AccessDeniedError):
            backend.store.fold()
    assert folded(place) == 1


def test_it_runs_beside_a_job_that_holds_the_only_cpu(connect, place, work, tmp_path, until):
    backend = connect()
    backend.submit(work(lambda: 1)).result(60)

    def hold():
        (tmp_path / "held").touch()
        while not cancelled():
            time.sleep(0.02)

    held = backend.submit(work(hold), resources={"num_cpus": 2})
    until((tmp_path / "held").exists, "it runs")
    until(lambda: held.status is JobStatus.RUNNING, "RUNNING is seen")
    backend._dispatcher.call(backend._maintenance.finish, 60)
    until(lambda: folded(place) == 1, "the fold")
    assert held.status is JobStatus.RUNNING
    held.cancel()
    assert held.wait(60) is JobStatus.CANCELLED


def test_what_goes_wrong_fails_no_job_and_is_told_at_the_next_submission(connect, place, work, until):
    backend = connect()
    capability = work(lambda: 1)
    jobs = [backend.submit(capability) for _ in range(AFTER - 1)]
    assert {job.wait(60) for job in jobs} == {JobStatus.COMPLETED}
    damage(place)
    last = backend.submit(capability)
    assert last.wait(60) is JobStatus.COMPLETED
    until(lambda: backend._maintenance._failure, "the answer")
    with pytest.warns(StoreMaintenanceWarning, match=r"v0000000001\.json(.|\n)*checkmaite store fold --store") as told:
        following = backend.submit(capability)
    assert told[0].filename == __file__
    assert f"the analytics store at {place}" in str(told[0].message)
    assert following.wait(60) in {JobStatus.COMPLETED, JobStatus.FAILED}
    with pytest.warns(StoreMaintenanceWarning, match=r"v0000000001\.json"):
        backend.shutdown()
    assert not ray.is_initialized()


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """An overlay in whose workers a maintenance never ends."""
    (tmp_path / "overlay").mkdir()
    # Python imports sitecustomize in every process that starts with this path.
    code = """
import importlib.abc, sys, time

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "checkmaite_analytics_store":
            return None
        sys.meta_path.remove(self)
        import checkmaite_analytics_store

        def hang(self, *, at_least=1):
            open({touched!r}, "w").close()
            time.sleep(1000)

        checkmaite_analytics_store.AnalyticsStore.maintain = hang
        return checkmaite_analytics_store.__spec__

sys.meta_path.insert(0, Finder())
"""
    touched = tmp_path / "hangs"
    (tmp_path / "overlay/sitecustomize.py").write_text(code.replace("{touched!r}", repr(str(touched))))
    return {"env_vars": {"PYTHONPATH": str(tmp_path / "overlay")}}, touched


def test_shutdown_waits_no_longer_than_it_may_and_says_so(connect, place, work, hanging):
    overlay, touched = hanging
    backend = connect(runtime_env=overlay, maintain_timeout_seconds=1.0)
    backend.submit(work(lambda: 1)).result(60)
    begun = time.monotonic()
    with pytest.warns(StoreMaintenanceWarning, match="not done within 1 seconds"):
        backend.shutdown()
    assert time.monotonic() - begun < 20
    assert touched.exists()
    assert stored(place) == 1


@pytest.mark.soak  # a connection of its own
def test_ctrl_c_ends_the_wait_and_leaves_nothing_behind(connect, place, work, hanging, until):
    overlay, touched = hanging
    backend = connect(runtime_env=overlay, maintain_timeout_seconds=100.0)
    backend.submit(work(lambda: 1)).result(60)

    def interrupt():
        until(touched.exists, "it hangs")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        backend.shutdown()
    assert backend.closed
    assert not ray.is_initialized()
    assert stored(place) == 1


@pytest.mark.parametrize(
    "options", [{"maintain_after": 0}, pytest.param({"maintain_timeout_seconds": 0}, marks=pytest.mark.soak)]
)
def test_it_can_be_turned_off(connect, place, work, options):
    with connect(**options) as backend:
        backend.submit(work(lambda: 1)).result(60)
    assert folded(place) == 0


@pytest.mark.soak  # a connection of its own
def test_where_other_code_has_shut_ray_down_it_is_left_out_silently(connect, work, place):
    backend = connect()
    backend.submit(work(lambda: 1)).result(60)
    ray.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend.shutdown()
    assert not ray.is_initialized()
    assert folded(place) == 0


SCRIPT = """
import sys
from checkmaite_core import configure_job_backend
from checkmaite_core.testing._workloads import Data, Write, WriteConfig

store = {"backend": "parquet", "uri": sys.argv[1]}
backend = configure_job_backend("ray-simple", analytics_store=store, address=sys.argv[2])
backend.submit(Write(), datasets=[Data("here")], config=WriteConfig()).result(60)
"""


def test_a_script_that_just_ends_leaves_a_folded_store(cluster, place):
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place), cluster.address],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert folded(Path(place)) == 1


@pytest.mark.soak  # a connection of its own
def test_a_cluster_that_has_gone_makes_the_shutdown_neither_wait_nor_complain(connect, cluster, place, work, capfd):
    backend = connect(cluster.client_address)
    backend.submit(work(lambda: 1)).result(60)
    cluster.stop()
    capfd.readouterr()
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend.shutdown()
    assert time.monotonic() - begun < 20
    assert "StoreMaintenanceWarning" not in capfd.readouterr().err
