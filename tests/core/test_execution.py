"""The one function that every worker runs: each way that it can end."""

from __future__ import annotations

import importlib
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from faulty_memory import FaultyPlugin, FaultyStore

from checkmaite_core import (
    AnalyticsStoreConfig,
    FailureKind,
    InlineTextReport,
    JobStatus,
    Progress,
    cancelled,
    progress,
)
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import Environment
from checkmaite_core.errors import StorageUnreachableError, StoreError
from checkmaite_core.execution import cancelled_error, execute, maintain
from checkmaite_core.failure import FailureRecord
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.report import ArtifactReport
from checkmaite_core.settling import settle
from checkmaite_core.submission import Payload, Submission, WorkOrder, prepare_submission
from checkmaite_core.testing import MEMORY_STORE, installed_plugins
from checkmaite_core.testing._bundles import Identified, make_record

SECRET = "s3cr3t-planted-value"


class Monitor:
    """The backend's end of a run, with a switch for cancellation."""

    def __init__(self) -> None:
        self.cancel = False
        self.seen: list[Progress] = []

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        self.seen.append(Progress(done, total, description))

    def cancel_requested(self) -> bool:
        return self.cancel

    def report_waiting(self, reason: str | None) -> None:
        pass


FAULTY = FaultyPlugin()


class Scripted:
    """A capability, of no base class, that does what a test tells it to."""

    id = "scripted"

    def run(self, **_: Any) -> Any:
        return TODAY["act"]()


TODAY: dict[str, Callable[[], Any]] = {}


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    FaultyStore.faults = {}
    FaultyStore.late = False
    stores = {"memory": "checkmaite_core.testing:MEMORY_STORE", "faulty": "faulty_plugin_of_a_test:FAULTY"}
    with installed_plugins({"checkmaite.result_stores": stores}) as folder:
        # Under importlib mode a test module has no importable name, so the plugin is handed over.
        (folder / "faulty_plugin_of_a_test.py").write_text("import builtins\nFAULTY = builtins.faulty_plugin\n")
        importlib.invalidate_caches()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.faulty_plugin", FAULTY, raising=False)
            yield


def _submission(backend: str = "memory") -> Submission:
    return prepare_submission(
        {"capability": Scripted()},
        backend="test",
        store=AnalyticsStoreConfig(backend=backend, uri=f"{backend}://{uuid.uuid4()}", storage_options={"key": SECRET}),
        commit=CommitPolicy(commit_timeout_s=0),
    )


def _execute(
    act: Callable[[], Any] | None = None,
    *,
    order: WorkOrder | None = None,
    monitor: Monitor | None = None,
    payload: Any = None,
    loads: Callable[[bytes], Any] | None = None,
    attempt: int = 2,
) -> Outcome:
    outcome = _answer(act, order=order, monitor=monitor, payload=payload, loads=loads, attempt=attempt)
    assert isinstance(outcome, Outcome)
    return outcome


def _answer(
    act: Callable[[], Any] | None = None,
    *,
    order: WorkOrder | None = None,
    monitor: Monitor | None = None,
    payload: Any = None,
    loads: Callable[[bytes], Any] | None = None,
    attempt: int = 2,
) -> Outcome | Unsettled:
    order = order or _submission().order
    TODAY["act"] = act or (lambda: _run("run-1"))
    work = payload or Payload(Scripted(), _submission().payload.inputs, None)
    outcome = execute(order, b"work", loads=loads or (lambda _: work), monitor=monitor or Monitor(), attempt=attempt)
    assert SECRET not in outcome.model_dump_json() + repr(order) + str(order)
    assert type(outcome).model_validate_json(outcome.model_dump_json()) == outcome
    assert (Unsettled.read(outcome.model_dump_json()) is None) is isinstance(outcome, Outcome)
    return outcome


class _Reported(Identified):
    report: Any = None

    def collect_md_report(self, threshold: float) -> Any:
        return self.report() if callable(self.report) else self.report


def _run(uid: str, report: Any = None) -> _Reported:
    run = _Reported(uid, [make_record("scores", uid, score=0.5)])
    run.report = report
    return run


def _failure(outcome: Outcome, status: JobStatus, kind: FailureKind, *, attempts: int = 2) -> FailureRecord:
    assert outcome.status is status
    assert outcome.failure is not None
    assert outcome.failure.kind is kind
    assert outcome.failure.attempts == attempts
    assert outcome.started_at is not None
    assert outcome.started_at <= outcome.finished_at
    return outcome.failure


def _raiser(error: BaseException) -> Callable[..., Any]:
    def act(*_: Any) -> Any:
        raise error

    return act


def test_a_run_that_goes_well_is_committed_under_the_jobs_id() -> None:
    order = _submission().order
    outcome = _execute(order=order)
    assert outcome.status is JobStatus.COMPLETED
    assert outcome.reference is not None
    assert (outcome.reference.event_id, outcome.reference.run_uid) == (order.job_id, "run-1")
    store = MEMORY_STORE.open(order.store.uri, {})
    (row,) = store.rows("runs")
    assert (row["job_id"], row["backend"], row["submitted_at"]) == (order.job_id, "test", order.provenance.submitted_at)
    assert row["completed_at"] is not None


def test_a_second_attempt_of_a_job_that_committed_has_the_first_ones_outcome() -> None:
    order = _submission().order
    first = _execute(lambda: _run("run-1"), order=order)
    again = _execute(lambda: _run("run-2"), order=order)
    failed = _execute(_raiser(ValueError("the second time")), order=order)
    assert first.reference == again.reference == failed.reference
    assert failed.status is JobStatus.COMPLETED
    assert [row["run_uid"] for row in MEMORY_STORE.open(order.store.uri, {}).rows("runs")] == ["run-1"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        RecursionError("deep"),
        ExceptionGroup("two", [ValueError("a"), TypeError("b")]),
        BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError("a")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_code_raises_is_its_failure_and_the_job_is_shut(error: BaseException) -> None:
    order = _submission().order
    failure = _failure(_execute(_raiser(error), order=order), JobStatus.FAILED, FailureKind.USER_CODE)
    assert failure.error_type == f"builtins.{type(error).__name__}"
    assert not failure.retryable
    assert "in act" in failure.traceback
    # A straggler of the job meets the marker.
    late = _failure(_execute(order=order), JobStatus.FAILED, FailureKind.LOST)
    assert late.error_type.endswith("EventAbandonedError")
    assert MEMORY_STORE.open(order.store.uri, {}).rows("runs") == []


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    failure = _failure(_execute(_raiser(MemoryError("no room"))), JobStatus.FAILED, FailureKind.OUT_OF_MEMORY)
    assert failure.message == "no room"


def test_notes_on_an_error_are_part_of_the_message() -> None:
    error = ValueError("bad pixel")
    error.add_note("while image 7 was read")
    failure = _failure(_execute(_raiser(error)), JobStatus.FAILED, FailureKind.USER_CODE)
    assert failure.message == "bad pixel\nwhile image 7 was read"


class _ExitsWhenAsked(Exception):
    def __str__(self) -> str:
        raise SystemExit("even this")


class _NotText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


@pytest.mark.parametrize("error", [_ExitsWhenAsked(), _NotText()])
def test_an_exception_whose_text_cannot_be_made_is_described_without_it(error: Exception) -> None:
    failure = _failure(_execute(_raiser(error)), JobStatus.FAILED, FailureKind.USER_CODE)
    assert "text could not be made" in failure.message
    assert failure.error_type.endswith(type(error).__qualname__)


def test_the_text_of_a_failure_is_clean_and_bounded() -> None:
    text = (
        "\x1b[1;31mred\x1b[0m\x1b]8;;http://x\x1b\\link\x07\x00\r\x9b2J tab\tnew\nline \ud800" + "x" * 200_000 + "end"
    )
    failure = _failure(_execute(_raiser(ValueError(text))), JobStatus.FAILED, FailureKind.USER_CODE)
    assert failure.message.startswith("redlink2J tab\tnew\nline ?x")
    assert failure.message.endswith("xend")
    assert "characters left out" in failure.message
    assert len(failure.message) < 70_000
    assert len(failure.traceback) < 70_000


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'their_code'"), "worker's image"),
        (AttributeError("module has no Brightness"), "worker's image"),
        (pickle.UnpicklingError("truncated"), "when they are unpickled"),
        (SystemExit(2), "when they are unpickled"),
        (KeyboardInterrupt(), "when they are unpickled"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_work_that_cannot_be_read_is_the_deployments_failure(error: BaseException, words: str) -> None:
    outcome = _execute(loads=_raiser(error))
    failure = _failure(outcome, JobStatus.FAILED, FailureKind.DEPLOYMENT)
    assert failure.error_type == "checkmaite_core.errors.PayloadError"
    assert type(error).__name__ in failure.message
    assert words in failure.message


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x80\x05", pickle.dumps({"not": "work"}), b"cos\nnothing\n."])
def test_bytes_that_are_not_work_are_the_deployments_failure(data: bytes) -> None:
    outcome = execute(_submission().order, data, loads=pickle.loads, monitor=Monitor(), attempt=2)
    _failure(outcome, JobStatus.FAILED, FailureKind.DEPLOYMENT)


def test_a_worker_that_does_not_fit_never_touches_the_payload() -> None:
    order = _submission().order
    other = Environment(python="2.7.18", platform="amiga", versions={"ray": "0.1"})
    touched: list[bytes] = []
    outcome = _execute(order=order.model_copy(update={"environment": other}), loads=touched.append)
    failure = _failure(outcome, JobStatus.FAILED, FailureKind.DEPLOYMENT)
    assert failure.error_type == "checkmaite_core.errors.VersionSkewError"
    assert "2.7.18" in failure.message
    assert touched == []


def test_code_that_saw_the_cancellation_has_no_results_even_if_it_returns_normally() -> None:
    monitor = Monitor()
    order = _submission().order

    def act() -> Any:
        assert not cancelled()
        monitor.cancel = True
        assert cancelled()
        return _run("run-1")

    failure = _failure(_execute(act, order=order, monitor=monitor), JobStatus.CANCELLED, FailureKind.CANCELLED)
    assert failure.error_type == "checkmaite_core.errors.JobCancelledError"
    assert MEMORY_STORE.open(order.store.uri, {}).rows("runs") == []


def test_code_that_saw_the_cancellation_and_raises_is_cancelled() -> None:
    monitor = Monitor()
    monitor.cancel = True

    def act() -> Any:
        if cancelled():
            raise ValueError("stopped half way")

    _failure(_execute(act, monitor=monitor), JobStatus.CANCELLED, FailureKind.CANCELLED)


def test_code_that_never_asked_has_whole_results() -> None:
    monitor = Monitor()
    monitor.cancel = True
    assert _execute(monitor=monitor).status is JobStatus.COMPLETED


def test_an_interrupt_is_a_cancellation_only_if_one_was_asked_for() -> None:
    monitor = Monitor()
    monitor.cancel = True
    for act in ({"act": _raiser(KeyboardInterrupt())}, {"loads": _raiser(KeyboardInterrupt())}):
        _failure(_execute(monitor=monitor, **act), JobStatus.CANCELLED, FailureKind.CANCELLED)
    outcome = _execute(_raiser(ValueError("its own")), monitor=monitor)
    _failure(outcome, JobStatus.FAILED, FailureKind.USER_CODE)
    _failure(_execute(_raiser(KeyboardInterrupt())), JobStatus.FAILED, FailureKind.USER_CODE)


def test_progress_reaches_the_monitor_and_ends_at_the_end() -> None:
    monitor = Monitor()

    def act() -> Any:
        assert list(progress(iter("ab"), description="letters")) == ["a", "b"]
        assert list(progress([1])) == [1]
        return _run("run-1")

    _execute(act, monitor=monitor)
    assert monitor.seen == [
        Progress(0, None, "letters"),
        Progress(1, None, "letters"),
        Progress(2, None, "letters"),
        Progress(2, 2, "letters"),
        Progress(0, 1),
        Progress(1, 1),
    ]
    assert list(progress([1, 2])) == [1, 2]  # outside a run it only iterates
    assert not cancelled()
    assert len(monitor.seen) == 6


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (7, "not a report"),
        ("\ud800", "surrogate"),
        (InlineTextReport(content="\ud800"), "surrogate"),
        (object(), "not a report"),
    ],
)
def test_a_report_that_is_none_fails_the_run(report: Any, words: str) -> None:
    outcome = _execute(lambda: _run("run-1", report))
    failure = _failure(outcome, JobStatus.FAILED, FailureKind.USER_CODE)
    assert failure.error_type == "checkmaite_core.errors.RunContractError"
    assert words in failure.message


def test_reports_may_be_absent_or_not_implemented() -> None:
    for run in (Identified("run-1", []), _run("run-1"), _run("run-1", _raiser(NotImplementedError()))):
        outcome = _execute(lambda run=run: run)
        assert outcome.reference is not None
        assert outcome.reference.report is None


def test_a_report_is_large_by_its_bytes() -> None:
    for text, kind in (("x" * 262_144, InlineTextReport), ("é" * 131_073, ArtifactReport)):
        outcome = _execute(lambda text=text: _run("run-1", text))
        assert outcome.reference is not None
        assert isinstance(outcome.reference.report, kind)


UNREACHABLE = StorageUnreachableError("no answer from the store.", hint="Try again.", uri="faulty://")


@pytest.mark.parametrize("place", ["open", "report", "commit"])
@pytest.mark.parametrize(
    ("fault", "retryable"),
    [(UNREACHABLE, True), (StoreError("refused.", hint="Ask."), False), (OSError("disk"), False)],
    ids=["unreachable", "refused", "a bug in the store"],
)
def test_whatever_the_store_raises_is_the_jobs_failure(place: str, fault: Exception, retryable: bool) -> None:
    FaultyStore.faults = {place: fault}
    order = _submission("faulty").order
    outcome = _execute(lambda: _run("run-1", "x" * 300_000), order=order, attempt=1)
    failure = _failure(outcome, JobStatus.FAILED, FailureKind.STORE, attempts=1)
    assert failure.error_type == f"{type(fault).__module__}.{type(fault).__name__}"
    assert failure.retryable is retryable
    assert failure.message.count(str(fault)) == 1
    if place == "open":
        return
    FaultyStore.faults = {}
    assert FAULTY.opened[order.store.uri].rows("runs") == []
    late = _execute(order=order)
    assert _failure(late, JobStatus.FAILED, FailureKind.LOST).error_type.endswith("EventAbandonedError")


def test_a_commit_that_arrived_although_its_answer_was_lost_completes_the_job() -> None:
    FaultyStore.faults = {"commit": UNREACHABLE}
    FaultyStore.late = True
    outcome = _execute(order=_submission("faulty").order)
    assert outcome.status is JobStatus.COMPLETED
    assert outcome.reference is not None
    assert outcome.reference.run_uid == "run-1"


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("fault", [UNREACHABLE, RuntimeError("a bug in the store")])
def test_a_job_whose_commit_may_have_been_applied_has_not_ended_while_the_store_cannot_say(
    fault: Exception, applied: bool
) -> None:
    FaultyStore.faults = {"commit": fault, "settle": fault}
    FaultyStore.late = applied
    order = _submission("faulty").order
    answer = _answer(order=order, attempt=1)
    assert isinstance(answer, Unsettled)
    assert answer.waits_for is not None
    assert answer.waits_for.startswith(f"the analytics store at {order.store.uri}, ")
    assert answer.waits_for.endswith(f"UTC: {str(fault).splitlines()[0]}")
    assert answer.failure.kind is (FailureKind.STORE if fault is UNREACHABLE else FailureKind.DEFECT)
    FaultyStore.faults = {}
    outcome = settle(order, answer.failure, started_at=answer.started_at)
    assert outcome.started_at is not None
    assert isinstance(outcome, Outcome)
    assert outcome.status is (JobStatus.COMPLETED if applied else JobStatus.FAILED)
    assert len(FAULTY.opened[order.store.uri].rows("runs")) == applied


def test_a_job_of_several_starts_has_not_ended_while_the_store_cannot_say_whether_an_earlier_one_committed() -> None:
    FaultyStore.faults = {"settle": UNREACHABLE}
    answer = _answer(_raiser(ValueError("mine")), order=_submission("faulty").order, attempt=2)
    assert isinstance(answer, Unsettled)
    assert answer.failure.message == "mine"


def test_a_job_whose_only_start_never_came_to_its_commit_has_failed_whatever_the_store_says() -> None:
    FaultyStore.faults = {"settle": UNREACHABLE}
    outcome = _execute(_raiser(ValueError("mine")), order=_submission("faulty").order, attempt=1)
    assert _failure(outcome, JobStatus.FAILED, FailureKind.USER_CODE, attempts=1).message == "mine"


def test_a_store_whose_package_the_worker_lacks_is_named() -> None:
    order = _submission().order
    store = order.store.model_copy(update={"backend": "nowhere"})
    outcome = _execute(order=order.model_copy(update={"store": store}), attempt=1)
    failure = _failure(outcome, JobStatus.FAILED, FailureKind.STORE, attempts=1)
    assert failure.error_type == "checkmaite_core.errors.PluginNotFoundError"
    assert "nowhere" in failure.message


def test_settling_a_job_that_never_ran_shuts_it() -> None:
    order = _submission().order
    record = FailureRecord.from_exception(cancelled_error(order.job_id), FailureKind.CANCELLED)
    outcome = settle(order, record)
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.started_at) == (JobStatus.CANCELLED, None)
    _failure(_execute(order=order), JobStatus.FAILED, FailureKind.LOST)


def test_maintenance_opens_the_store_of_the_jobs_and_passes_on_how_many_must_wait() -> None:
    order = _submission("faulty").order
    assert maintain(order, at_least=7) is None
    assert FAULTY.opened[order.store.uri].maintained == [7]


@pytest.mark.parametrize("place", ["open", "maintain"])
def test_what_stands_in_the_way_of_maintenance_is_returned(place: str) -> None:
    FaultyStore.faults = {place: UNREACHABLE}
    failure = maintain(_submission("faulty").order, at_least=1)
    assert failure is not None
    assert (failure.kind, failure.retryable) == (FailureKind.STORE, True)
    assert failure.message == str(UNREACHABLE)


def test_a_worker_that_does_not_fit_never_maintains_the_store() -> None:
    order = _submission("faulty").order
    other = Environment(python="2.7.18", platform="amiga", versions={"ray": "0.1"})
    failure = maintain(order.model_copy(update={"environment": other}), at_least=1)
    assert failure is not None
    assert failure.kind is FailureKind.DEPLOYMENT
    assert order.store.uri not in FAULTY.opened


def test_a_work_order_travels_as_json_and_shows_no_secret() -> None:
    submission = _submission()
    order = WorkOrder.model_validate_json(submission.order.model_dump_json())
    assert order == submission.order
    assert order.store.storage_options == {"key": SECRET}
    assert SECRET not in repr(order) + str(order) + repr(submission) + repr(replace(submission, name="x"))
    broken = submission.order.model_dump() | {"report_threshold": SECRET}
    with pytest.raises(ValueError, match="report_threshold") as caught:
        WorkOrder.model_validate(broken)
    assert SECRET not in str(caught.value)
