"""An unexpected exception in the control plane is told to clients as what it is, with its traceback."""

from __future__ import annotations

import pytest
from planted_defects import Defects

from checkmaite_core import FailureKind, JobFailedError, JobStatus, configure_job_backend
from checkmaite_core.errors import DefectError

TARGETS = [
    "checkmaite_core.execution:execute",
    "checkmaite_ray.reign:Reign.submit",
    "checkmaite_ray.reign:Reign.describe",
    "checkmaite_ray.sessions:Sessions.follow",
    "checkmaite_ray.sessions:Sessions.watch",
    "checkmaite_ray.launching:Item.start",
]


@pytest.fixture(scope="module")
def defects(tmp_path_factory):
    return Defects(tmp_path_factory.mktemp("defects"), TARGETS)


@pytest.fixture(scope="module")
def local(store, defects):
    with (
        defects.around_a_ray(),
        configure_job_backend(
            "ray", address="local", idempotency_scope="defects", analytics_store=store, num_cpus=2
        ) as backend,
    ):
        yield backend


def assert_defect(error):
    assert isinstance(error, DefectError)
    text = "\n".join([str(error), *getattr(error, "__notes__", ()), error.traceback])
    assert "unexpected exception in checkmaite while " in text
    assert "KeyError: 'planted'" in text
    assert "not of your code or your installation" in text
    assert "raise_it" in text, "its traceback"


@pytest.mark.parametrize("step", ["execute", "Item.start"])
def test_in_a_jobs_task_and_in_its_start(local, work, defects, step):
    with defects.planted(step), pytest.raises(JobFailedError) as caught:
        local.submit(work(lambda: "never", step)).result(60)
    failure = caught.value.failure
    assert failure.kind is FailureKind.DEFECT
    assert "KeyError: 'planted'" in failure.message
    assert "not of your code or your installation" in failure.message
    assert "raise_it" in failure.traceback
    assert local.submit(work(lambda: "after it", step), force=True).wait(60) is JobStatus.COMPLETED


def test_in_the_registrys_answer_to_a_submission(local, work, defects):
    with defects.planted("Reign.submit"), pytest.raises(DefectError) as caught:
        local.submit(work(lambda: "never", "submit"))
    assert_defect(caught.value)


def test_in_the_registrys_answer_to_a_question(local, work, defects):
    job = local.submit(work(lambda: "done", "asked"))
    assert job.wait(60) is JobStatus.COMPLETED
    with defects.planted("Reign.describe"):
        with pytest.raises(DefectError) as caught:
            local.jobs()
        assert_defect(caught.value)
        with pytest.raises(DefectError) as caught:
            local.job(job.job_id)
        assert_defect(caught.value)
    assert local.job(job.job_id).status is JobStatus.COMPLETED


def test_in_joining_the_registry(local, defects, store):
    with defects.planted("Sessions.follow"), pytest.raises(DefectError) as caught:
        configure_job_backend(
            "ray", address="local", idempotency_scope="defects", analytics_store=store, num_cpus=2, max_retries=0
        )
    assert_defect(caught.value)


def test_in_waiting_for_news_the_waiting_is_told_and_goes_on_later(local, work, defects, tmp_path):
    go = tmp_path / "go"

    def hold():
        import time

        while not go.exists():
            time.sleep(0.01)

    job = local.submit(work(hold, "held"))
    with defects.planted("Sessions.watch"):
        local.submit(work(lambda: "done", "beside")).add_done_callback(lambda _: None)  # answers the parked call
        with pytest.raises(DefectError) as caught:
            job.wait(60)
        assert_defect(caught.value)
    go.touch()
    assert job.wait(60) is JobStatus.COMPLETED
