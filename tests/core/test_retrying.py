"""Which exceptions leave a job unsettled, and what a further attempt of it does first."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel, ValidationError

from checkmaite_core import AnalyticsStoreConfig, FailureKind, FailureRecord, JobStatus, StorageUnreachableError
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.execution import execute
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.retrying import ExceptionName, is_named
from checkmaite_core.submission import Submission, prepare_submission
from checkmaite_core.testing import MEMORY_STORE, MemoryResultStore, installed_plugins
from checkmaite_core.testing._bundles import Identified, make_record


class Watcher:
    def report_progress(self, done: int, total: int | None, description: str) -> None: ...

    def cancel_requested(self) -> bool:
        return False

    def report_waiting(self, reason: str | None) -> None:
        pass


class OwnError(ConnectionError):
    """An exception of a library's."""


class Script:
    """A capability that does what a test tells it to."""

    id = "script"
    act: Any = staticmethod(lambda: Identified("run-1", [make_record("scores", "run-1", score=0.5)]))
    runs = 0

    def run(self, **_: Any) -> Any:
        type(self).runs += 1
        return type(self).act()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Script, "act", Script.act)
    monkeypatch.setattr(Script, "runs", 0)
    with installed_plugins():
        yield


def _submission() -> Submission:
    store = AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")
    commit = CommitPolicy(commit_timeout_s=0)
    return prepare_submission({"capability": Script()}, backend="test", store=store, commit=commit)


def _execute(submission: Submission, *, attempt: int = 1, retry: tuple[str, ...] = ()) -> Outcome | Unsettled:
    payload = submission.payload
    return execute(
        submission.order,
        b"work",
        loads=lambda _: payload,
        monitor=Watcher(),
        attempt=attempt,
        retry_exceptions=retry,
    )


def _raise(error: BaseException) -> Any:
    def act() -> NoReturn:
        raise error

    return staticmethod(act)


@pytest.mark.parametrize(
    ("error", "name", "expected"),
    [
        (ConnectionResetError(), "ConnectionError", True),
        (ConnectionResetError(), "builtins.ConnectionError", True),
        (ConnectionResetError(), "OSError", True),
        (ConnectionResetError(), "BaseException", True),
        (ConnectionError(), "ConnectionResetError", False),
        (ValueError(), "ValueErr", False),
        (OwnError(), f"{OwnError.__module__}.OwnError", True),
        (OwnError(), "OwnError", False),
        (OwnError(), "ConnectionError", True),
        (pickle.PicklingError(), "_pickle.PicklingError", True),
        (KeyboardInterrupt(), "Exception", False),
    ],
)
def test_an_exception_is_named_by_its_class_or_a_base(error: BaseException, name: str, expected: bool) -> None:
    assert is_named(error, ["package.Other", name]) is expected


def test_a_short_name_means_a_notebooks_own_exception_too() -> None:
    kind = type("NotReadyError", (Exception,), {"__module__": "__main__"})
    assert is_named(kind(), ["NotReadyError"])
    assert is_named(kind(), ["__main__.NotReadyError"])


@pytest.mark.parametrize("name", ["", "Value Error", "pkg.", ".Error", "pkg:Error", "1Error", "Error()"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    class Options(BaseModel):
        names: tuple[ExceptionName, ...]

    assert Options(names=("ConnectionError", "pkg.mod.Größe")).names
    with pytest.raises(ValidationError, match="name of an exception"):
        Options(names=(name,))


def test_an_exception_that_was_named_leaves_the_job_open_for_another_attempt() -> None:
    submission = _submission()
    good = Script.act
    Script.act = _raise(OwnError("hung up"))
    answer = _execute(submission, retry=("ConnectionError",))
    assert isinstance(answer, Unsettled)
    assert (answer.failure.kind, answer.failure.message) == (FailureKind.USER_CODE, "hung up")
    assert answer.failure.retryable
    Script.act = staticmethod(good)
    second = _execute(submission, attempt=2, retry=("ConnectionError",))
    assert isinstance(second, Outcome)
    assert second.status is JobStatus.COMPLETED


@pytest.mark.parametrize("retry", [(), ("ValueError",)])
def test_any_other_exception_shuts_the_job(retry: tuple[str, ...]) -> None:
    submission = _submission()
    Script.act = _raise(OwnError("hung up"))
    answer = _execute(submission, retry=retry)
    assert isinstance(answer, Outcome)
    assert answer.status is JobStatus.FAILED
    store = MEMORY_STORE.open(submission.order.store.uri, {})
    assert store.settle(submission.order.job_id) is None
    assert answer.failure is not None
    assert not answer.failure.retryable


def test_only_what_the_code_raises_is_worth_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: MemoryResultStore, bundle: Any) -> NoReturn:
        raise StorageUnreachableError("no answer.", hint="Wait.", uri="memory://")

    monkeypatch.setattr(MemoryResultStore, "commit", unreachable)
    answer = _execute(_submission(), retry=("BaseException",))
    assert isinstance(answer, Outcome)
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.STORE


def test_a_further_attempt_runs_nothing_if_an_earlier_one_has_committed() -> None:
    submission = _submission()
    first = _execute(submission)
    assert isinstance(first, Outcome)
    assert Script.runs == 1
    again = execute(
        submission.order, b"", loads=lambda _: pytest.fail("it was unpickled"), monitor=Watcher(), attempt=2
    )
    assert isinstance(again, Outcome)
    assert (again.status, again.reference) == (JobStatus.COMPLETED, first.reference)
    assert Script.runs == 1


def test_a_first_attempt_does_not_ask_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryResultStore, "reference", lambda *_: pytest.fail("it was asked"))
    answer = _execute(_submission())
    assert isinstance(answer, Outcome)
    assert answer.status is JobStatus.COMPLETED


def test_a_store_that_cannot_be_asked_fails_a_further_attempt_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(self: MemoryResultStore, event_id: str) -> NoReturn:
        raise StorageUnreachableError("no answer.", hint="Wait.", uri="memory://")

    monkeypatch.setattr(MemoryResultStore, "reference", unreachable)
    answer = _execute(_submission(), attempt=2)
    assert isinstance(answer, Outcome)
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.retryable, Script.runs) == (FailureKind.STORE, True, 0)


def test_both_answers_travel_as_json_and_are_told_apart() -> None:
    failure = FailureRecord(kind=FailureKind.USER_CODE, error_type="builtins.ValueError", message='{"unsettled":true')
    unsettled = Unsettled(failure=failure)
    assert Unsettled.read(unsettled.model_dump_json()) == unsettled
    outcome = _execute(_submission())
    assert Unsettled.read(outcome.model_dump_json()) is None
