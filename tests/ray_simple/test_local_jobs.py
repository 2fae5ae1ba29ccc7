"""Jobs on a local Ray: what a user sees of them from submission to their end."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
import time

import pytest

from checkmaite_core import (
    ConfigurationError,
    FailureKind,
    JobFailedError,
    JobLostError,
    JobNotFoundError,
    JobStatus,
    PayloadError,
    Progress,
    ResourceDemandError,
    cancelled,
    progress,
)


def test_a_job_ends_completed_with_its_rows_in_the_store(local, work):
    job = local.submit(work(lambda: "forty-two"), name="answer")
    reference = job.result(timeout=60)
    assert job.status is JobStatus.COMPLETED
    assert reference.event_id == job.job_id
    rows = local.store.query(
        f"select answer, user_id, backend from answers join runs using (run_uid) where job_id = '{job.job_id}'"
    )
    assert rows["answer"].to_pylist() == ["forty-two"]
    assert rows["backend"].to_pylist() == ["ray-simple"]


def test_a_job_is_pending_until_a_worker_begins_and_running_after_that(local, work, tmp_path, until):
    def held(name):
        begun, go_on = tmp_path / f"{name}.begun", tmp_path / f"{name}.go"

        def hold():
            begun.touch()
            while not go_on.exists():
                time.sleep(0.01)

        return work(hold, name), begun, go_on

    first, first_begun, first_go = held("first")
    second, second_begun, second_go = held("second")
    one = local.submit(first, resources={"num_cpus": 2})
    two = local.submit(second, resources={"num_cpus": 2})
    until(first_begun.exists, "the first job's begin")
    until(lambda: one.status is JobStatus.RUNNING, "the first job is seen to run")
    assert two.status is JobStatus.PENDING
    assert not second_begun.exists()
    first_go.touch()
    until(lambda: two.status is JobStatus.RUNNING, "the second job runs")
    assert one.wait(30) is JobStatus.COMPLETED
    second_go.touch()
    assert two.wait(30) is JobStatus.COMPLETED
    view = two.view()
    assert view.started_at >= two.created_at
    assert view.finished_at >= view.started_at


def test_progress_is_seen_while_the_job_runs_also_when_quick_steps_come_before_a_long_one(local, work, tmp_path, until):
    go_on = tmp_path / "go"

    def count():
        for item in progress(range(4), description="counting"):
            if item == 2:
                while not go_on.exists():
                    time.sleep(0.01)

    job = local.submit(work(count))
    until(lambda: job.progress == Progress(2, 4, "counting"), "two of four", patience=20)
    assert job.status is JobStatus.RUNNING
    go_on.touch()
    job.result(30)
    assert job.progress.done >= 2, "the last report may lose the race against the end"


def test_code_that_raises_fails_once_with_its_traceback(local, work, tmp_path):
    starts = tmp_path / "starts"

    def fail():
        with starts.open("a") as file:
            file.write("x")
        raise ValueError("no such class: zebra")

    job = local.submit(work(fail))
    with pytest.raises(JobFailedError, match="zebra") as caught:
        job.result(30)
    assert caught.value.failure.kind is FailureKind.USER_CODE
    assert "in fail" in job.failure.traceback
    assert not job.failure.retryable
    assert starts.read_text() == "x"


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_users_own_is_a_failure_and_not_a_cancellation(local, work, exception):
    def interrupt():
        raise exception("mine")

    job = local.submit(work(interrupt))
    assert job.wait(30) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.USER_CODE
    assert job.failure.error_type == f"builtins.{exception.__name__}"


def test_a_killed_worker_is_replaced_and_the_job_completes(local, work, tmp_path):
    killed = tmp_path / "killed"

    def die_once():
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), 9)
        return "alive"

    job = local.submit(work(die_once))
    assert job.wait(60) is JobStatus.COMPLETED


def test_a_job_whose_workers_keep_dying_is_lost_after_its_retries(local, work, tmp_path):
    starts = tmp_path / "starts"

    def die():
        with starts.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), 9)

    job = local.submit(work(die))
    with pytest.raises(JobLostError, match="killed, crashed"):
        job.result(60)
    assert starts.read_text() == "xx", "max_retries=1 is one more start"
    assert job.failure.kind is FailureKind.LOST
    assert job.failure.retryable
    assert job.failure.attempts == 2
    assert local.store.query(f"select * from runs where job_id = '{job.job_id}'").num_rows == 0


def test_a_job_that_committed_before_its_worker_died_is_completed(local, work):
    def die_after_the_commit():
        from checkmaite_analytics_store import AnalyticsStore

        real = AnalyticsStore.commit

        def commit(store, bundle):
            real(store, bundle)
            os.kill(os.getpid(), 9)

        AnalyticsStore.commit = commit
        return "kept"

    job = local.submit(work(die_after_the_commit))
    reference = job.result(60)
    assert reference.event_id == job.job_id
    answers = local.store.query(f"select answer from answers where run_uid = '{reference.run_uid}'")
    assert answers["answer"].to_pylist() == ["kept"]


def test_work_that_cannot_be_pickled_is_refused_and_the_part_is_named(local, work):
    lock = threading.Lock()
    with pytest.raises(PayloadError, match="the capability"):
        local.submit(work(lambda: lock))


def test_a_module_that_the_worker_lacks_is_a_deployment_failure_with_its_name(local, work, tmp_path, monkeypatch):
    (tmp_path / "only_at_the_client.py").write_text("def answer():\n    return 42\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        import only_at_the_client

        job = local.submit(work(only_at_the_client.answer))
    assert job.wait(30) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.DEPLOYMENT
    assert "only_at_the_client" in job.failure.message
    assert "runtime_env" in job.failure.message


def test_a_demand_that_no_node_meets_is_refused_at_once_and_says_what_there_is(local, work):
    with pytest.raises(
        ResourceDemandError, match=r"64 CPU on one node.*The nodes have: 2 CPU, .* GiB memory"
    ) as caught:
        local.submit(work(lambda: 0), name="huge", resources={"num_cpus": 64})
    assert "'huge'" in str(caught.value)
    with pytest.raises(ResourceDemandError, match="1 GPU"):
        local.submit(work(lambda: 0), resources={"num_gpus": 1})
    with pytest.raises(ResourceDemandError, match="licence"):
        local.submit(work(lambda: 0), resources={"custom": {"licence": 1}})
    with pytest.raises(ResourceDemandError, match="GiB memory"):
        local.submit(work(lambda: 0), resources={"memory": 2**50})


@pytest.mark.parametrize("demand", [{"custom": {"CPU": 1}}, {"num_cpus": 0.00001}])
def test_a_demand_that_ray_does_not_take_is_refused_and_leaves_no_job_to_wait_for(local, work, demand):
    with pytest.raises(ResourceDemandError, match="Ray does not take what job 'odd' asks for"):
        local.submit(work(lambda: "never"), name="odd", resources=demand)
    assert not local.jobs(name="odd")


def test_in_a_fork_submitting_is_refused_and_leaving_disturbs_nobody(local, work):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            for call in (lambda: local.submit(work(lambda: "never")), local.preflight):
                try:
                    call()
                except ConfigurationError as error:
                    os.write(write, str(error).encode())
            local.shutdown()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    assert "a fork of the process" in said
    assert said.count("this ray-simple backend cannot work in process") == 2
    os.waitpid(child, 0)
    assert local.submit(work(lambda: "here")).wait(60) is JobStatus.COMPLETED


def test_the_demand_reaches_ray(local, work):
    def assigned():
        import ray

        return sorted(ray.get_runtime_context().get_assigned_resources().items())

    job = local.submit(work(assigned), resources={"num_cpus": 0.5, "memory": 2**20})
    answers = local.store.query(f"select answer from answers where run_uid = '{job.result(30).run_uid}'")
    assert answers["answer"].to_pylist() == ["[('CPU', 0.5), ('memory', 1048576.0)]"]


def test_a_large_input_arrives_whole(local, work):
    blob = os.urandom(5_000_000)
    job = local.submit(work(lambda: len(blob)))
    answers = local.store.query(f"select answer from answers where run_uid = '{job.result(30).run_uid}'")
    assert answers["answer"].to_pylist() == ["5000000"]


def test_a_hundred_jobs_at_once_all_complete_and_are_listed_newest_first(local, work):
    threads = threading.active_count()
    jobs = [local.submit(work(lambda: 1, f"many-{number}"), name="many") for number in range(100)]
    assert threading.active_count() <= threads + 5, "a job costs a record, not a thread"
    assert {job.wait(60) for job in jobs} == {JobStatus.COMPLETED}
    page = local.jobs(name="many", limit=60)
    assert [job.job_id for job in page] == [job.job_id for job in reversed(jobs[40:])]
    rest = local.jobs(name="many", cursor=page.next_cursor)
    assert [job.job_id for job in rest] == [job.job_id for job in reversed(jobs[:40])]
    assert local.job(jobs[3].job_id) is jobs[3]


def test_a_job_of_another_process_is_not_found_and_the_hint_says_why(local):
    with pytest.raises(JobNotFoundError, match="its process"):
        local.job("job-of-yesterday")


def test_a_job_can_be_awaited(local, work):
    async def both():
        return await asyncio.gather(local.submit(work(lambda: 1, "a")), local.submit(work(lambda: 2, "b")))

    assert [reference.capability_id for reference in asyncio.run(both())] == ["test.a", "test.b"]


def test_cancelled_is_false_for_a_job_that_nobody_cancelled(local, work):
    job = local.submit(work(cancelled))
    answers = local.store.query(f"select answer from answers where run_uid = '{job.result(30).run_uid}'")
    assert answers["answer"].to_pylist() == ["False"]


@pytest.fixture
def spaced(monkeypatch):
    """A class of a package without ``__init__.py``; local workers have this folder on their path."""
    monkeypatch.syspath_prepend(os.getcwd())
    return importlib.import_module("tests.support.spaced_capability").Spaced


def test_a_capability_of_a_namespace_package_runs(local, spaced):
    job = local.submit(spaced())
    assert job.wait(100) is JobStatus.COMPLETED, job.failure
