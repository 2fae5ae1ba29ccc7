"""Unexpected exceptions of checkmaite itself, planted at each step of a job: told as a defect, and of whom."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from checkmaite_core import AnalyticsStoreConfig, FailureKind, InlineTextReport, JobStatus
from checkmaite_core.defects import explained, raised_by_us
from checkmaite_core.errors import DefectError, DeploymentError, QueryError
from checkmaite_core.execution import execute, maintain
from checkmaite_core.failure import FailureRecord
from checkmaite_core.outcome import Outcome
from checkmaite_core.submission import Payload, WorkOrder, prepare_submission
from checkmaite_core.testing import MemoryResultStore
from checkmaite_core.testing._bundles import Identified, make_record


class Monitor:
    """The backend's end of a run."""

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def report_waiting(self, reason: str | None) -> None:
        pass

    def cancel_requested(self) -> bool:
        return False


class Reported(Identified):
    """A run with a large report."""

    def collect_md_report(self, threshold: float) -> Any:
        return InlineTextReport(filename="r.md", content="x" * 2**20)


class Scripted:
    """A capability, of no base class."""

    id = "scripted"
    act: ClassVar[Callable[..., Any] | None] = None

    def run(self, **_: Any) -> Any:
        if Scripted.act is not None:
            return Scripted.act()
        return Reported("run-1", [make_record("scores", "run-1", score=0.5)])


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of each test's own, opened by whatever name."""
    kept = MemoryResultStore("memory://defects")
    Scripted.act = None
    monkeypatch.setattr("checkmaite_core.committing.open_result_store", lambda _: kept)


def _order() -> WorkOrder:
    store = AnalyticsStoreConfig(backend="mine", uri=f"memory://{uuid.uuid4()}")
    return prepare_submission({"capability": Scripted()}, backend="test", store=store).order


def _execute(order: WorkOrder, loads: Callable[[bytes], Any] | None = None) -> FailureRecord:
    inputs = prepare_submission(
        {"capability": Scripted()}, backend="test", store=AnalyticsStoreConfig(backend="mine", uri="memory://x")
    ).payload.inputs
    outcome = execute(
        order, b"work", loads=loads or (lambda _: Payload(Scripted(), inputs, None)), monitor=Monitor(), attempt=1
    )
    assert isinstance(outcome, Outcome)
    assert outcome.status is JobStatus.FAILED
    assert outcome.failure is not None
    return outcome.failure


def _planted(module: str) -> Callable[..., Any]:
    """A function that raises, and whose code looks as if it stood in ``module``."""
    space: dict[str, Any] = {"__name__": module}
    exec("def planted(*_, **__):\n    raise KeyError('caps')\n", space)
    planted: Callable[..., Any] = space["planted"]
    return planted


def _assert_defect(failure: FailureRecord, owner: str) -> None:
    assert failure.kind is FailureKind.DEFECT
    assert failure.error_type == "checkmaite_core.errors.DefectError"
    assert failure.message.startswith(f"unexpected exception in {owner} while ")
    assert "KeyError: 'caps'" in failure.message
    assert "not of your code or your installation" in failure.message
    assert "checkmaite-core " in failure.message
    assert "Python 3." in failure.message
    assert "in planted" in failure.traceback
    assert not failure.retryable


@pytest.mark.parametrize("step", ["describe_alike", "require_match", "make_report", "bundle_run", "why_unreadable"])
def test_an_unexpected_exception_of_ours_is_a_defect_and_closes_the_jobs_place(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = _order()
    with monkeypatch.context() as patch:
        patch.setattr(f"checkmaite_core.execution.{step}", _planted("checkmaite_core.anywhere"))
        failure = _execute(order, loads=pickle.loads if step == "why_unreadable" else None)
    _assert_defect(failure, "checkmaite")
    assert "(at checkmaite_core.anywhere:2, in planted)" in failure.message
    assert _execute(order).kind is FailureKind.LOST, "its place is closed"


def test_the_same_exception_out_of_the_users_code_is_the_users() -> None:
    Scripted.act = _planted("caps")
    failure = _execute(_order())
    assert (failure.kind, failure.error_type) == (FailureKind.USER_CODE, "builtins.KeyError")


@pytest.mark.parametrize("place", ["commit", "put_report", "open_result_store"])
def test_an_unexpected_exception_of_a_store_is_a_defect_of_that_plugin(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = (
        "checkmaite_core.committing" if place == "open_result_store" else "checkmaite_core.testing.MemoryResultStore"
    )
    monkeypatch.setattr(f"{target}.{place}", _planted("somebodys_store"))
    _assert_defect(_execute(_order()), "the result store 'mine'")


@pytest.mark.parametrize(
    ("target", "owner"),
    [
        ("checkmaite_core.committing.open_result_store", "the result store 'mine'"),
        ("checkmaite_core.testing.MemoryResultStore.maintain", "the result store 'mine'"),
        ("checkmaite_core.execution.describe_alike", "checkmaite"),
    ],
)
def test_maintenance_reports_a_defect_as_one(target: str, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, _planted("checkmaite_core.anywhere"))
    failure = maintain(_order(), at_least=1)
    assert failure is not None
    _assert_defect(failure, owner)


def test_what_says_itself_what_to_do_stays_as_it_is() -> None:
    known = QueryError("no.", hint="Yes.")
    assert explained(known, "asking") is known


def test_what_cannot_be_imported_is_an_installation_that_is_not_whole() -> None:
    found = explained(ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"), "opening the store")
    assert isinstance(found, DeploymentError)
    assert "pyarrow cannot be imported" in found.message


def test_a_long_text_is_cut_and_the_exceptions_class_stays() -> None:
    found = explained(ValueError("x" * 10_000), "reading")
    assert isinstance(found, DefectError)
    assert len(found.message) < 700
    assert "ValueError" in found.message


@pytest.mark.parametrize("error", [TypeError("evaluate() takes 1 argument"), AttributeError("no metadata")])
def test_what_is_as_a_rule_about_the_users_object_is_not_claimed(error: Exception) -> None:
    assert not raised_by_us(error)
