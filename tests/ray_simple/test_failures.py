"""What Ray raises for a job is told apart: it decides whether, and how often, the job is started again."""

from __future__ import annotations

import pytest
from ray import exceptions as raised

from checkmaite_core import FailureKind, FailureRecord
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


def test_an_answer_is_an_outcome_or_what_is_to_be_tried_again():
    failure = FailureRecord(kind=FailureKind.USER_CODE, error_type="builtins.ValueError", message="no")
    assert read_answer(Unsettled(failure=failure).model_dump_json()) == (None, failure)
    assert read_answer('{"status":"COMPLETED"}') == ('{"status":"COMPLETED"}', None)
