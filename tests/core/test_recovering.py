"""Twenty ways to fail at the last step, each recovered without running the user's code again."""

from __future__ import annotations

import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

from checkmaite_core import (
    AnalyticsStoreConfig,
    Capability,
    CapabilityConfig,
    CapabilityOutputs,
    CapabilityRun,
    FailureKind,
    JobStatus,
    Provenance,
    Record,
    staging_disk,
)
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    ContainerNotFoundError,
    CorruptObjectError,
    JobError,
    SchemaError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
    StoreError,
    StoreFormatError,
    UnauthenticatedError,
)
from checkmaite_core.execution import execute, settle
from checkmaite_core.failure import FailureRecord
from checkmaite_core.inputs import Inputs
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.provenance import configure_provenance
from checkmaite_core.recovering import prepare_recovery
from checkmaite_core.report import INLINE_REPORT_LIMIT
from checkmaite_core.store import open_result_store
from checkmaite_core.submission import Submission, prepare_submission
from checkmaite_core.testing import MemoryResultStore, installed_plugins


class Score(Record, table_name="recovered_scores"):
    value: float


class NightConfig(CapabilityConfig):
    hours: int = 8


class NightOutputs(CapabilityOutputs):
    value: float


class NightRun(CapabilityRun[NightConfig, NightOutputs]):
    """Its last step is whatever the test makes it."""

    extract_now: ClassVar[Callable[[Any], Sequence[Any]] | None] = None
    report_now: ClassVar[Callable[[Any], Any] | None] = None

    def extract(self) -> Sequence[Any]:
        if NightRun.extract_now is not None:
            return NightRun.extract_now(self)
        return [Score(run_uid=self.run_uid, value=self.outputs.value)]

    def collect_md_report(self, threshold: float) -> Any:
        return f"# {threshold}" if NightRun.report_now is None else NightRun.report_now(self)


class Night(Capability[NightConfig, NightOutputs]):
    """Counts how often it is run."""

    config_class = NightConfig
    run_class = NightRun
    runs: ClassVar[int] = 0

    def evaluate(self, inputs: Inputs, config: NightConfig) -> NightOutputs:
        type(self).runs += 1
        return NightOutputs(value=0.75)


class Monitor:
    def __init__(self) -> None:
        self.cancel = False
        self.waits: list[str | None] = []

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return self.cancel

    def report_waiting(self, reason: str | None) -> None:
        self.waits.append(reason)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CHECKMAITE_STAGING_DIR", str(tmp_path / "staged"))
    monkeypatch.setattr(NightRun, "extract_now", None)
    monkeypatch.setattr(NightRun, "report_now", None)
    monkeypatch.setattr(Night, "runs", 0)
    configure_provenance(user_id="ada", workspace_id="w")
    with installed_plugins():
        yield
    configure_provenance()


@pytest.fixture
def store() -> AnalyticsStoreConfig:
    return AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")


def submitted(store: AnalyticsStoreConfig, **policy: Any) -> Submission:
    commit = CommitPolicy(**{"commit_timeout_s": 0, "stage_after_s": 0, **policy})
    return prepare_submission(
        {"capability": Night(), "report_threshold": 0.25}, backend="test", store=store, commit=commit
    )


def run(submission: Submission, **options: Any) -> Outcome:
    outcome = execute(
        submission.order,
        submission.pickle(pickle.dumps),
        **{"loads": pickle.loads, "monitor": Monitor(), "pickler": pickle.Pickler, **options},
    )
    assert isinstance(outcome, Outcome)
    return outcome


def recovery(outcome: Outcome, job_id: str, store: AnalyticsStoreConfig, **changes: Any) -> Submission:
    arguments = {"capability": None, "run_class": None, "report_threshold": None, "resources": None, **changes}
    commit = CommitPolicy(commit_timeout_s=0, stage_after_s=0)
    return prepare_recovery(job_id, "night", outcome.failure, backend="test", store=store, commit=commit, **arguments)


def rows(store: AnalyticsStoreConfig, table: str) -> list[dict[str, Any]]:
    opened = open_result_store(store)
    assert isinstance(opened, MemoryResultStore)
    return opened.rows(table)


def _raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    return fail


class Drifted(Record, table_name="recovered_scores"):
    value: str


class Foreign:
    """No record."""


def _of_another_run(run: Any) -> Sequence[Any]:
    return [Score(run_uid="another", value=1.0)]


def _not_a_number(run: Any) -> Sequence[Any]:
    return [Score.model_construct(run_uid=run.run_uid, value="much")]


def _endless(run: Any) -> Sequence[Any]:
    def one() -> Iterator[Any]:
        yield Score(run_uid=run.run_uid, value=1.0)
        raise RuntimeError("the second record cannot be made")

    return one()  # type: ignore[return-value]


EXTRACTS: dict[str, Callable[[Any], Any]] = {
    "extract raises": _raising(ValueError("extract")),
    "extract exits": _raising(SystemExit(2)),
    "extract is out of memory": _raising(MemoryError()),
    "extract raises in the middle": _endless,
    "extract returns no records": lambda run: [Foreign()],
    "extract returns nothing": lambda run: None,
    "a record of another run": _of_another_run,
    "a value that is no number": _not_a_number,
    "a column of another type": lambda run: [Drifted(run_uid=run.run_uid, value="0.75")],
}
REPORTS: dict[str, Callable[[Any], Any]] = {
    "the report raises": _raising(KeyError("accuracy")),
    "the report is no text": lambda run: 7,
}
STORES: dict[str, StoreError] = {
    "the store is away": StorageUnreachableError("refused.", hint="", uri="memory://"),
    "the token has expired": UnauthenticatedError("ExpiredToken.", hint="", uri="memory://"),
    "the store is full": StorageFullError("no space.", hint="", uri="memory://"),
    "the bucket is gone": ContainerNotFoundError("NoSuchBucket.", hint="", uri="memory://"),
    "the store says no": AccessDeniedError("AccessDenied.", hint="", uri="memory://"),
    "puts are not conditional": ConditionalPutError("ignored.", hint="", uri="memory://"),
    "the store is of another format": StoreFormatError("format 9.", hint=""),
    "the store is damaged": CorruptObjectError("bytes.", hint="", uri="memory://"),
    "the store refuses a schema": SchemaError("a column.", hint=""),
}
ALL = [*EXTRACTS, *REPORTS, *STORES]


def plant(fault: str, patch: pytest.MonkeyPatch) -> None:
    if fault in EXTRACTS:
        patch.setattr(NightRun, "extract_now", staticmethod(EXTRACTS[fault]))
    elif fault in REPORTS:
        patch.setattr(NightRun, "report_now", staticmethod(REPORTS[fault]))
    else:
        patch.setattr(MemoryResultStore, "commit", _raising(STORES[fault]))


def test_there_are_twenty_of_them() -> None:
    assert len(ALL) == 20


@pytest.mark.parametrize("fault", ALL)
def test_what_failed_at_the_last_step_is_recovered_and_nothing_is_run_again(
    fault: str, store: AnalyticsStoreConfig
) -> None:
    seed = submitted(store)
    assert run(seed).status is JobStatus.COMPLETED  # so that the table's column is a number
    Night.runs = 0
    submission = submitted(store)
    job_id = submission.order.job_id
    with pytest.MonkeyPatch.context() as patch:
        plant(fault, patch)
        outcome = run(submission)
        again = run(recovery(outcome, job_id, store))  # not mended yet: it can be recovered still
    for failed in (outcome, again):
        assert failed.status is JobStatus.FAILED
        assert failed.failure is not None
        assert failed.failure.recoverable
        assert failed.failure.staged is not None
        assert failed.failure.staged.event_id == job_id
        assert "job.recommit()" in failed.failure.message
    second = recovery(again, "the failed recovery", store)
    assert second.order.recovers == job_id
    assert run(second).status is JobStatus.COMPLETED
    assert Night.runs == 1  # 0 s of the user's code were repeated
    shown = rows(store, "recovered_scores")
    assert [row["value"] for row in shown] == [0.75]
    assert shown[0]["event_id"] == second.order.job_id
    (event,) = [row for row in rows(store, "runs") if row["event_id"] == second.order.job_id]
    assert (event["recovers"], event["job_id"]) == (job_id, second.order.job_id)
    assert (event["user_id"], event["submitted_at"]) == ("ada", submission.submitted_at)
    opened = open_result_store(store)
    assert opened.staged(job_id) is None
    assert opened.reference(job_id) is None  # the job that failed has no rows, and never will


def test_a_report_that_cannot_be_kept_is_recovered(store: AnalyticsStoreConfig) -> None:
    submission = submitted(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NightRun, "report_now", staticmethod(lambda run: "x" * (INLINE_REPORT_LIMIT + 1)))
        patch.setattr(MemoryResultStore, "put_report", _raising(StorageError("EntityTooLarge.", hint="", uri="m")))
        outcome = run(submission)
    assert outcome.failure is not None
    assert outcome.failure.recoverable
    done = run(recovery(outcome, submission.order.job_id, store))
    assert done.reference is not None
    assert done.reference.report is not None
    assert done.reference.report.content == "# 0.25"  # type: ignore[union-attr]  # the threshold of the first job
    assert Night.runs == 1


def test_work_that_was_short_is_not_staged_and_asks_the_store_for_nothing_more(
    store: AnalyticsStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stage", "staged", "discard_staged"):
        monkeypatch.setattr(MemoryResultStore, name, _raising(AssertionError(f"{name} was called")))
    assert run(submitted(store, stage_after_s=10.0)).status is JobStatus.COMPLETED
    monkeypatch.setattr(NightRun, "extract_now", staticmethod(_raising(ValueError("extract"))))
    outcome = run(submitted(store, stage_after_s=10.0))
    assert outcome.failure is not None
    assert not outcome.failure.recoverable
    with pytest.raises(JobError, match="kept"):
        recovery(outcome, "job", store)


def test_outputs_over_the_limit_are_not_staged_and_the_failure_says_so(
    store: AnalyticsStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NightRun, "extract_now", staticmethod(_raising(ValueError("extract"))))
    outcome = run(submitted(store, stage_max_bytes=200))
    assert outcome.failure is not None
    assert not outcome.failure.recoverable
    assert "more than stage_max_bytes=200 bytes" in outcome.failure.message


def test_outputs_that_cannot_be_pickled_are_committed_all_the_same_and_a_failure_says_why_not(
    store: AnalyticsStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NightOutputs, "__reduce_ex__", _raising(TypeError("cannot pickle a lock")))
    assert run(submitted(store)).status is JobStatus.COMPLETED
    monkeypatch.setattr(NightRun, "extract_now", staticmethod(_raising(ValueError("extract"))))
    outcome = run(submitted(store))
    assert outcome.failure is not None
    assert not outcome.failure.recoverable
    assert "cannot be pickled: TypeError: cannot pickle a lock" in outcome.failure.message


def test_staged_outputs_are_removed_at_the_commit(store: AnalyticsStoreConfig) -> None:
    submission = submitted(store)
    assert run(submission).status is JobStatus.COMPLETED
    assert not open_result_store(store).has_staged(submission.order.job_id)


def test_a_further_start_of_the_same_job_takes_what_was_staged(store: AnalyticsStoreConfig) -> None:
    submission = submitted(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NightRun, "extract_now", staticmethod(_raising(ConnectionError("once"))))
        payload = submission.pickle(pickle.dumps)
        unsettled = execute(
            submission.order,
            payload,
            loads=pickle.loads,
            monitor=Monitor(),
            pickler=pickle.Pickler,
            retry_exceptions=("ConnectionError",),
        )
        assert not isinstance(unsettled, Outcome)
    assert run(submission, attempt=2).status is JobStatus.COMPLETED
    assert Night.runs == 1


def test_what_was_staged_by_other_work_or_is_damaged_is_not_taken(store: AnalyticsStoreConfig) -> None:
    for spoil in (lambda data: b"rubbish", lambda data: data[:-1] + b"x"):
        submission = submitted(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryResultStore, "settle", _raising(StorageUnreachableError("no.", hint="", uri="m")))
            plant("the store is away", patch)
            answer = execute(
                submission.order,
                submission.pickle(pickle.dumps),
                loads=pickle.loads,
                monitor=Monitor(),
                pickler=pickle.Pickler,
            )
            assert isinstance(answer, Unsettled), "whether it has committed is not known"
        opened = open_result_store(store)
        staged = opened.staged(submission.order.job_id)
        assert staged is not None
        opened.discard_staged(submission.order.job_id)
        opened.stage(submission.order.job_id, spoil(staged))
        Night.runs = 0
        assert run(submission, attempt=2).status is JobStatus.COMPLETED
        assert Night.runs == 1


def test_a_job_whose_worker_was_lost_after_staging_is_recoverable(store: AnalyticsStoreConfig) -> None:
    submission = submitted(store)
    with pytest.MonkeyPatch.context() as patch:  # its process ends in the last step
        patch.setattr(NightRun, "extract_now", staticmethod(_raising(Killed())))
        patch.setattr("checkmaite_core.stopping.CancelWatch.stopped", _raising(Killed()))
        with pytest.raises(Killed):
            run(submission)
    lost = FailureRecord(kind=FailureKind.LOST, error_type="x", message="its node went away")
    outcome = settle(submission.order, lost)
    assert isinstance(outcome, Outcome)
    assert outcome.failure is not None
    assert outcome.failure.recoverable
    assert run(recovery(outcome, submission.order.job_id, store)).status is JobStatus.COMPLETED
    assert Night.runs == 1


class Killed(BaseException):
    pass


def test_outputs_lie_on_the_workers_disk_while_the_store_does_not_answer(
    store: AnalyticsStoreConfig, tmp_path: Path
) -> None:
    submission = submitted(store)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("commit", "stage"):
            patch.setattr(MemoryResultStore, name, _raising(StorageUnreachableError("no.", hint="", uri="m")))
        outcome = run(submission, node="node:10.0.0.7")
    assert outcome.failure is not None
    staged = outcome.failure.staged
    assert staged is not None
    assert (staged.node, staged.path) == (
        "node:10.0.0.7",
        str(staging_disk.path_of(store.uri, submission.order.job_id)),
    )
    assert staged.path in outcome.failure.message
    path = Path(staged.path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    second = recovery(outcome, submission.order.job_id, store)
    assert second.resources.custom == {"node:10.0.0.7": 0.001}  # only there can it be found
    assert run(second).status is JobStatus.COMPLETED
    assert Night.runs == 1
    assert not path.exists()
    assert not open_result_store(store).has_staged(submission.order.job_id)


def test_nothing_is_read_from_a_folder_that_others_may_write_to(store: AnalyticsStoreConfig, tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(AccessDeniedError, match="others may write"):
        staging_disk.read(store.uri, "job-1")
    with pytest.raises(AccessDeniedError):
        staging_disk.keep(store.uri, "job-1", b"")


def test_a_class_of_today_takes_the_place_of_the_runs_own(
    store: AnalyticsStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NightRun, "extract_now", staticmethod(_raising(ValueError("extract"))))
    submission = submitted(store)
    outcome = run(submission)
    done = run(recovery(outcome, submission.order.job_id, store, run_class=Mended, report_threshold=0.9))
    assert done.status is JobStatus.COMPLETED
    assert [row["value"] for row in rows(store, "recovered_scores")] == [7.5]
    assert done.reference is not None
    assert done.reference.report.content == "# 0.9"  # type: ignore[union-attr]


class Mended(CapabilityRun[NightConfig, NightOutputs]):
    def extract(self) -> Sequence[Score]:
        return [Score(run_uid=self.run_uid, value=self.outputs.value * 10)]

    def collect_md_report(self, threshold: float) -> str:
        return f"# {threshold}"


def test_a_cancel_ends_the_wait_and_what_was_computed_is_kept(store: AnalyticsStoreConfig) -> None:
    monitor = Monitor()
    monitor.report_waiting = lambda reason: setattr(monitor, "cancel", True)  # type: ignore[method-assign]
    submission = submitted(store, commit_timeout_s=60)
    with pytest.MonkeyPatch.context() as patch:
        plant("the store is away", patch)
        begun = time.monotonic()
        outcome = run(submission, monitor=monitor)
    assert time.monotonic() - begun < 5
    assert outcome.status is JobStatus.CANCELLED
    assert outcome.failure is not None
    assert outcome.failure.recoverable
    assert run(recovery(outcome, submission.order.job_id, store)).status is JobStatus.COMPLETED
    assert Night.runs == 1


def test_provenance_knows_what_a_run_recovers() -> None:
    assert Provenance(recovers="job-1").recovers == "job-1"
