"""Jobs on a local Ray: accepted durably, run, told, found again."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
from ray_clients import client

from checkmaite_core import JobCancelledError, JobFailedError, JobStatus


def test_a_job_runs_and_its_results_are_in_the_store(local, work):
    job = local.submit(work(lambda: 42, "answer"), name="the answer")
    reference = job.result(timeout=60)
    assert job.status is JobStatus.COMPLETED
    assert reference.event_id == job.job_id
    rows = local.store.query("select answer from answers").to_pylist()
    assert {"answer": "42"} in rows


def test_code_that_raises_fails_its_job_and_says_what_it_raised(local, work):
    def fail():
        raise ValueError("no such class")

    with pytest.raises(JobFailedError, match="no such class") as caught:
        local.submit(work(fail, "fails")).result(timeout=60)
    assert "raise ValueError" in caught.value.failure.traceback


def test_a_running_job_can_be_cancelled(local, work, until, tmp_path):
    begun = tmp_path / "begun"

    def wait_for_ever():
        begun.touch()
        while True:
            pass

    job = local.submit(work(wait_for_ever, "endless"))
    until(begun.exists, "the job begins")
    assert job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(timeout=60)
    assert not job.cancel()


def test_only_workers_unpickle_the_work(local, work, tmp_path):
    """The registry and the controllers never have the user's code, so an image of theirs need not."""

    class Telltale:
        def __init__(self, file):
            self.file = file

        def __call__(self):
            return "done"

        def __setstate__(self, state):
            self.__dict__.update(state)
            with open(self.file, "a") as file:
                file.write(f"{os.getpid()}\n")

    file = tmp_path / "unpickled"
    local.submit(work(Telltale(str(file)), "telltale")).result(timeout=60)
    assert len(file.read_text().splitlines()) == 1


SECOND = """
import json, sys
from checkmaite_core import configure_job_backend, get_job, list_jobs, shutdown_job_backend
configure_job_backend("ray", address="local", idempotency_scope="shared", analytics_store=json.loads(sys.argv[1]))
job = get_job(sys.argv[2])
print("FOUND", job.result(timeout=60).event_id, job.name, len(list_jobs(name=job.name)))
shutdown_job_backend()
"""


def test_another_process_that_asks_for_a_local_ray_joins_the_one_of_the_scope(local, work, store):
    job = local.submit(work(lambda: "here", "here"), name="found by another process")
    process = client(SECOND, json.dumps(store), job.job_id)
    said, _ = process.communicate(timeout=100)
    assert f"FOUND {job.job_id} found by another process 1" in said


def test_equal_work_is_run_once_and_the_handle_says_what_it_was_given(local, work, tmp_path, until):
    begun, go = tmp_path / "begun", tmp_path / "go"

    def slow():
        with begun.open("a") as file:
            file.write("x")
        while not go.exists():
            pass

    capability = work(slow, "equal")
    first = local.submit(capability)
    until(begun.exists, "the job begins")
    second = local.submit(capability)
    assert (second.job_id, first.origin, second.origin) == (first.job_id, "started", "adopted")
    assert "adopted" in repr(second)
    go.touch()
    assert first.result(timeout=60) == second.result(timeout=60)
    third = local.submit(capability)
    assert (third.origin, third.status) == ("reused", JobStatus.COMPLETED)
    fourth = local.submit(capability, force=True)
    assert fourth.job_id != first.job_id
    fourth.result(timeout=60)
    assert begun.read_text() == "xx"


def test_without_stored_submissions_a_job_runs_and_its_payload_is_nowhere(connect, local, store, work):
    backend = connect("local", num_cpus=2, store_submissions=False)
    secret = f"payload-{os.urandom(8).hex()}"
    job = backend.submit(work(lambda: secret and "kept nothing", "unstored"))
    assert job.result(timeout=60).tables == {"answers": 1}
    kept = Path(store["uri"]) / "jobs"
    found = [path for path in kept.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert found == []


@pytest.fixture
def spaced(monkeypatch):
    """A class of a package without ``__init__.py``; local workers have this folder on their path."""
    monkeypatch.syspath_prepend(os.getcwd())
    return importlib.import_module("tests.support.spaced_capability").Spaced


def test_a_capability_of_a_namespace_package_runs(local, spaced):
    job = local.submit(spaced())
    assert job.wait(100) is JobStatus.COMPLETED, job.failure


def test_a_job_that_read_what_its_key_does_not_cover_is_not_reused(local, spaced):
    certain, again = (local.submit(spaced()), local.submit(spaced()))
    assert certain.wait(100) is JobStatus.COMPLETED
    assert again.origin in ("adopted", "reused")
    first = local.submit(spaced("SPACED_CAPABILITY.PY"))
    assert first.wait(100) is JobStatus.COMPLETED, first.failure
    assert local.submit(spaced("SPACED_CAPABILITY.PY")).origin == "reused", "its own code is covered"
    first = local.submit(spaced("DIRECTORY_STEPS.PY"))
    assert first.wait(100) is JobStatus.COMPLETED, first.failure
    second = local.submit(spaced("DIRECTORY_STEPS.PY"))
    assert second.origin == "started"
    assert "directory_steps.py, which its run key does not cover" in second.origin_reason
    assert second.wait(100) is JobStatus.COMPLETED
