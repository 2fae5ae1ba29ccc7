"""What Ray raises for a job is told apart: it decides whether, and how often, the job is started again."""

from __future__ import annotations

import pytest
from ray import exceptions as raised

from checkmaite_core import FailureKind, FailureRecord, VersionSkewError
from checkmaite_core.outcome import Unsettled
from checkmaite_ray_simple.failures import Loss, classify, read_answer


@pytest.mark.parametrize(
    ("error", "loss", "kind"),
    [
        (raised.WorkerCrashedError(), Loss.LOST, FailureKind.LOST),
        (raised.NodeDiedError("gone"), Loss.NODE, FailureKind.LOST),
        (raised.LocalRayletDiedError(), Loss.NODE, FailureKind.LOST),
        (raised.OutOfMemoryError("a\npage"), Loss.OUT_OF_MEMORY, FailureKind.OUT_OF_MEMORY),
        (raised.RaySystemError("odd"), Loss.LOST, FailureKind.LOST),
        (raised.RuntimeEnvSetupError("no pip"), None, FailureKind.DEPLOYMENT),
    ],
)
def test_each_loss_has_its_kind(error, loss, kind):
    record, found = classify(error, 2, ", process 7 on node abc")
    assert (found, record.kind, record.attempts) == (loss, kind, 2)
    assert record.retryable is (loss is not None)
    if kind is FailureKind.LOST:
        assert "process 7 on node abc (start 2)" in record.message
    if loss is Loss.OUT_OF_MEMORY:
        assert "page" not in record.message


def test_a_worker_that_lacks_the_code_that_runs_jobs_is_said_with_what_to_install():
    text = "The remote function failed to import on the worker.\nModuleNotFoundError: No module named 'checkmaite_core'"
    record, loss = classify(raised.RayTaskError("run_job", text, RuntimeError(text)), 1, " on node abc")
    assert (record.kind, loss, record.error_type) == (
        FailureKind.DEPLOYMENT,
        None,
        "checkmaite_core.errors.DeploymentError",
    )
    assert "on node abc: ModuleNotFoundError: No module named 'checkmaite_core'" in record.message
    assert "Install checkmaite-ray-simple" in record.message


@pytest.mark.parametrize("line", ["KeyError: 'caps'", "pydantic_core._pydantic_core.ValidationError: 1 error"])
@pytest.mark.parametrize("importing", [False, True])
def test_what_nobody_foresaw_in_our_own_function_is_a_defect_and_no_missing_installation(line, importing):
    text = f"ray::run_job()\n  File x.py, line 3, in find\n{line}"
    if importing:  # an import of ours that raises as no incomplete installation does
        text = f"RuntimeError: The remote function failed to import on the worker.\n\n{text}"
    record, loss = classify(raised.RayTaskError("run_job", text, RuntimeError(text)), 1, ", process 7 on node abc")
    assert (record.kind, loss, record.retryable) == (FailureKind.DEFECT, None, False)
    assert record.error_type == "checkmaite_core.errors.DefectError"
    assert line in record.message
    assert "process 7 on node abc" in record.message
    assert "nstall checkmaite" not in record.message
    assert "in find" in record.traceback


def test_an_exception_in_our_own_bookkeeping_is_a_defect_and_no_loss():
    record, loss = classify(KeyError("job-1"), 1, "")
    assert (record.kind, loss) == (FailureKind.DEFECT, None)
    assert classify(ConnectionError("gone"), 1, "")[1] is Loss.LOST


def test_an_order_that_a_worker_cannot_read_fails_with_what_it_says_of_that():
    cause = VersionSkewError("the worker's checkmaite-core is older.", hint="Update the image.")
    record, _ = classify(raised.RayTaskError("run_job", "pages", cause), 1, "")
    assert record.error_type == "checkmaite_core.errors.VersionSkewError"
    assert record.message == str(cause)


def test_an_answer_is_an_outcome_or_what_is_to_be_tried_again():
    failure = FailureRecord(kind=FailureKind.USER_CODE, error_type="builtins.ValueError", message="no")
    assert read_answer(Unsettled(failure=failure).model_dump_json()) == (None, Unsettled(failure=failure))
    assert read_answer('{"status":"COMPLETED"}') == ('{"status":"COMPLETED"}', None)
