"""An unexpected exception in checkmaite's own code is told as what it is, wherever it is raised."""

from __future__ import annotations

import json

import pytest
from planted_defects import Defects

from checkmaite_core import FailureKind, JobFailedError, JobStatus, configure_job_backend
from checkmaite_core.store import StoreMaintenanceWarning
from checkmaite_core.testing import eventually
from checkmaite_ray_simple import failures, survey_nodes
from checkmaite_ray_simple.survey_nodes import Node, read_answer

TARGETS = [
    "checkmaite_core.execution:describe_alike",
    "checkmaite_core.execution:execute",
    "checkmaite_core.settling:settle_all",
    "checkmaite_core.execution:maintain",
    "checkmaite_core.preflight:answer",
]


@pytest.fixture(scope="module")
def defects(tmp_path_factory):
    return Defects(tmp_path_factory.mktemp("defects"), TARGETS)


@pytest.fixture(scope="module")
def local(store, defects):
    with (
        defects.around_a_ray(),
        configure_job_backend("ray-simple", analytics_store=store, address="local", num_cpus=2) as backend,
    ):
        yield backend


def assert_defect(text):
    assert "unexpected exception in checkmaite while " in text
    assert "KeyError: 'planted'" in text
    assert "not of your code or your installation" in text
    assert "nstall checkmaite" not in text


@pytest.mark.parametrize("step", ["describe_alike", "execute"])
def test_in_a_jobs_task(local, work, defects, step):
    with defects.planted(step), pytest.raises(JobFailedError) as caught:
        local.submit(work(lambda: "never")).result(60)
    failure = caught.value.failure
    assert failure.kind is FailureKind.DEFECT
    assert_defect(f"{failure.message}")
    assert "raise_it" in failure.traceback
    assert "checkmaite has a defect" in str(caught.value)
    assert local.submit(work(lambda: "after it")).wait(60) is JobStatus.COMPLETED


def test_in_settling_the_job_waits_and_says_why_and_its_failure_stays_its_own(local, work, defects):
    def fail():
        import os

        os._exit(1)

    with defects.planted("settle_all"):
        job = local.submit(work(fail))
        eventually(lambda: "KeyError: 'planted'" in (job.waiting_for or ""), "it says why it cannot be settled")
        assert not job.status.is_terminal
    assert job.wait(60) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.LOST


def test_in_preflight(local, defects):
    with defects.planted("answer"):
        report = local.preflight()
    (found,) = {check.found for check in report.checks if check.mender == "checkmaite"}
    assert "unexpected exception in checkmaite" in found
    assert "KeyError: 'planted'" in found


def test_in_the_thread_of_the_backend_the_store_says_how_the_job_ended_and_the_defect_is_told(local, work, monkeypatch):
    def broken(answer):
        raise KeyError("planted")

    told = []
    monkeypatch.setattr(failures, "read_answer", broken)
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: told.append(error))
    job = local.submit(work(lambda: "done"))
    assert job.wait(60) is JobStatus.COMPLETED
    eventually(lambda: bool(told), "the defect is told")
    assert_defect(str(told[0]))
    assert "in broken" in told[0].traceback


def test_in_describing_a_node(monkeypatch):
    def broken(**_):
        raise KeyError("planted")

    monkeypatch.setattr("checkmaite_core.deployment.describe_environment", broken)
    answer = survey_nodes._question()._function()
    said = read_answer(Node("abc", "here"), json.dumps({}), answer, None)
    assert "no job can start there, for describing it has raised KeyError: 'planted', a defect of checkmaite" in (
        said.problem
    )
    assert "in broken" in said.problem
    assert said.environment is not None, "what can be said without it is"


def test_in_maintenance(local, work, defects, tmp_path):
    store = {"backend": "parquet", "uri": str(tmp_path / "store")}
    backend = configure_job_backend("ray-simple", analytics_store=store, address="local", num_cpus=2)
    backend.submit(work(lambda: "done")).result(60)
    with defects.planted("maintain"), pytest.warns(StoreMaintenanceWarning) as warned:
        backend.shutdown()
    assert_defect(str(warned[0].message))
