"""A registry that dies at the worst moment, and how soon the next one answers."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from pathlib import Path

import pytest
import ray
import ray_faults
from preflight_world import s3_with_passwords
from ray import cloudpickle
from ray_faults import Traces, answers_of, controllers_of, end_scope, pid_of, registry_of

from checkmaite_core import JobOrigin, JobStatus
from checkmaite_core.errors import StorageFullError
from checkmaite_ledger import JobLedger
from checkmaite_ray import joining
from checkmaite_ray.controller import Controller
from checkmaite_ray.protocol import NAMESPACE

RECOVERY = 8.0
"""Seconds after its death in which a registry is to answer again."""


@pytest.fixture(scope="module", autouse=True)
def travelling_helpers():
    cloudpickle.register_pickle_by_value(ray_faults)
    yield
    cloudpickle.unregister_pickle_by_value(ray_faults)


@pytest.fixture
def backend(cluster, connect, scope):
    yield connect(cluster.address)
    end_scope(scope)


def never_answer(registry, marker):
    """Run in the registry: what it makes durable next is all that it does."""
    committer = registry._reign._committer
    append = committer._append

    def append_and_hang(*arguments):
        append(*arguments)
        Path(marker).touch()
        time.sleep(1000)

    committer._append = append_and_hang


def test_a_job_that_was_accepted_without_an_answer_is_accepted_once(backend, scope, tmp_path, until):
    pid, durable = pid_of(registry_of(scope)), tmp_path / "durable"
    ray.get(registry_of(scope).__ray_call__.remote(never_answer, str(durable)), timeout=30)
    traces, answers = Traces(tmp_path / "job", "job", ""), queue.SimpleQueue()
    thread = threading.Thread(target=lambda: answers.put(backend.submit(traces.work)))
    thread.start()
    until(durable.exists, "it is durable")
    assert answers.empty()
    os.kill(pid, signal.SIGKILL)
    job = answers.get(timeout=60)
    thread.join()
    assert job.origin is JobOrigin.STARTED, "it is the very submission, that came again"
    assert job.wait(60) is JobStatus.COMPLETED
    assert [one.job_id for one in backend.jobs()] == [job.job_id]
    assert len(traces.executions) == 1
    assert answers_of(backend.store, job.job_id) == 1


def test_a_job_whose_answer_is_read_when_its_registry_has_died_and_been_followed_is_still_told_of(
    backend, scope, tmp_path, until, monkeypatch
):
    held = Traces(tmp_path / "job", "job")
    answer = joining.answer

    def read_late(*arguments):
        given = answer(*arguments)
        os.kill(pid_of(registry_of(scope)), signal.SIGKILL)
        until(lambda: backend._handles._followed, "the next registry is told of the handles that there are")
        return given

    with monkeypatch.context() as patch:
        patch.setattr(joining, "answer", read_late)
        job = backend.submit(held.work)
    held.let_go()
    assert job.wait(60) is JobStatus.COMPLETED
    assert len(held.executions) == 1


def find_the_disk_full(registry):
    """Run in the registry: what it makes durable next finds no room."""

    def no_room(*arguments):
        raise StorageFullError("no space left on device.", hint="Free space.", uri="file:///store")

    registry._reign._committer._append = no_room


def test_when_a_job_finds_no_room_in_the_ledger_its_client_is_told_and_the_registry_goes_on(
    backend, scope, tmp_path, until
):
    held, refused, later = (Traces(tmp_path / name, name) for name in ("held", "refused", "later"))
    running = backend.submit(held.work)
    until(lambda: held.executions, "it runs")
    ray.get(registry_of(scope).__ray_call__.remote(find_the_disk_full), timeout=30)
    with pytest.raises(StorageFullError, match="no space left"):
        backend.submit(refused.work)
    until(lambda: ray.get(registry_of(scope).about.remote())["problem"] is None, "it has begun again")
    job = backend.submit(later.work, resources={"num_cpus": 0})
    later.let_go()
    held.let_go()
    assert job.wait(60) is JobStatus.COMPLETED
    assert running.wait(60) is JobStatus.COMPLETED
    assert len(held.executions) == 1
    assert refused.executions == []
    assert len(JobLedger(backend.store_config.uri, scope).epochs()) == 2, "it began again once"


@pytest.mark.parametrize(("deaths", "limit"), [(1, 60.0), pytest.param(5, RECOVERY, marks=pytest.mark.soak)])
def test_a_registry_answers_again_takes_what_was_submitted_meanwhile_and_tells_who_waited_before(
    backend, scope, tmp_path, until, deaths, limit
):
    held = Traces(tmp_path / "held", "held")
    first = backend.submit(held.work)
    until(lambda: held.executions, "it runs")
    ended = queue.SimpleQueue()
    waiting = threading.Thread(target=lambda: ended.put(first.wait(100)))
    waiting.start()
    took = []
    for turn in range(deaths):
        pid = pid_of(registry_of(scope))
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        traces = Traces(tmp_path / f"job-{turn}", f"job-{turn}", "")
        job = backend.submit(traces.work, resources={"num_cpus": 0})
        took.append(time.monotonic() - begun)
        assert job.wait(60) is JobStatus.COMPLETED
        assert len(traces.executions) == 1
        assert pid_of(registry_of(scope)) != pid
    print(f"accepted again after {', '.join(f'{seconds:.1f}' for seconds in took)} s")
    assert max(took) < limit
    held.let_go()
    assert ended.get(timeout=60) is JobStatus.COMPLETED
    waiting.join()
    assert len(held.executions) == 1


def test_of_several_controllers_in_one_place_the_next_registry_keeps_the_one_that_has_jobs(
    backend, scope, tmp_path, until
):
    held = Traces(tmp_path / "held", "held")
    job = backend.submit(held.work)
    until(lambda: held.executions, "it runs")
    until(lambda: len(controllers_of(scope)) == 2, "both are there")
    rightful = controllers_of(scope)
    # As a registry leaves them behind that dies while it replaces controllers that it took for dead.
    for name in sorted(rightful):
        for incarnation in ("0" * 16, "f" * 16):
            options = {
                "name": f"{name.rpartition(':')[0]}:{incarnation}",
                "namespace": NAMESPACE,
                "lifetime": "detached",
            }
            ray.get(Controller.options(**options).remote(incarnation).about.remote(), timeout=30)
    os.kill(pid_of(registry_of(scope)), signal.SIGKILL)
    holder = next(name for name in rightful if ray.get(ray.get_actor(name, NAMESPACE).about.remote())["tasks"])
    until(lambda: len(controllers_of(scope)) == 2, "the others have been ended")
    assert holder in controllers_of(scope)
    held.let_go()
    assert job.wait(60) is JobStatus.COMPLETED
    assert len(held.executions) == 1


def test_clients_that_spell_the_place_of_the_results_otherwise_share_a_scope_and_its_work(
    cluster, connect, scope, tmp_path
):
    with s3_with_passwords() as s3:
        options = {"key": s3.key, "secret": s3.secret, "endpoint_url": s3.proxy.url}
        try:
            first = connect(
                cluster.address, analytics_store={"uri": f"s3://{s3.bucket}/store", "storage_options": options}
            )
            # Something else is different too: an equal call would be given the same backend.
            other = connect(
                cluster.address,
                analytics_store={"uri": f"S3A://{s3.bucket}//./store/", "storage_options": options},
                max_retries=2,
            )
            assert other is not first
            traces = Traces(tmp_path / "job", "job", "")
            job = first.submit(traces.work)
            assert job.wait(60) is JobStatus.COMPLETED
            again = other.submit(traces.work)
            assert (again.job_id, again.origin) == (job.job_id, JobOrigin.REUSED)
            assert again.result().store_uri == other.store_config.uri == f"s3://{s3.bucket}/store"
        finally:
            end_scope(scope)


def test_storage_options_and_variables_are_seen_in_what_workers_send(backend, cluster, connect, tmp_path):
    off = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
    with s3_with_passwords() as s3:
        options = {"key": s3.key, "secret": s3.secret, "endpoint_url": s3.proxy.url, "requester_pays": True}
        other = connect(
            cluster.address,
            analytics_store={"uri": f"s3://{s3.bucket}/store", "storage_options": options},
            ledger={"uri": backend.store_config.uri},
            runtime_env={"env_vars": dict.fromkeys(off, "when_required")},
        )
        assert other.submit(Traces(tmp_path / "job", "job", "").work).wait(60) is JobStatus.COMPLETED
        sent = [request for request in s3.proxy.requests if "/inbox/" in request.path]
        assert "PUT" in {request.method for request in sent}
        assert {request.headers.get("x-amz-request-payer") for request in sent} == {"requester"}
        assert not {name for request in sent for name in request.headers if "checksum" in name}


def test_a_link_to_the_folder_of_the_results_leads_into_the_same_scope(backend, cluster, connect, tmp_path):
    folder = Path(backend.store_config.uri)
    (tmp_path / "link").symlink_to(folder.parent)
    spelled = {"uri": f"{tmp_path}/link/x/../{folder.name}/"}
    other = connect(cluster.address, analytics_store=spelled, max_retries=2)
    job_id = backend.submit(Traces(tmp_path / "job", "job", "").work).job_id
    assert other.job(job_id).result(60).store_uri == str(folder)


def test_a_job_that_is_started_again_after_its_registry_still_reaches_the_store_of_a_client_that_has_left(
    backend, cluster, connect, scope, tmp_path, until
):
    with s3_with_passwords() as s3:
        options = {"key": s3.key, "secret": s3.secret, "endpoint_url": s3.proxy.url}
        store = {"uri": f"s3://{s3.bucket}/store", "storage_options": options}
        other = connect(cluster.address, analytics_store=store, ledger={"uri": backend.store_config.uri})
        held = Traces(tmp_path / "held", "held")
        job_id = other.submit(held.work).job_id
        other.shutdown(wait=False)
        until(lambda: held.executions, "it runs")
        os.kill(pid_of(registry_of(scope)), signal.SIGKILL)
        job = backend.job(job_id)
        os.kill(held.executions[0], signal.SIGKILL)
        until(lambda: len(held.executions) == 2, "it runs again")
        held.let_go()
        assert job.wait(60) is JobStatus.COMPLETED
        secrets_kept = [file for file in Path(backend.store_config.uri).rglob("*") if file.is_file()]
        assert not [file for file in secrets_kept if s3.secret.encode() in file.read_bytes()]
