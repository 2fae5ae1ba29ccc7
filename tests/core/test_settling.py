"""How jobs are settled whose store answers, does not answer, or answers about some only."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import hypothesis
import hypothesis.strategies as st
import pytest

from checkmaite_core import AnalyticsStoreConfig, Capability, JobStatus
from checkmaite_core.committing import kept_store
from checkmaite_core.errors import (
    AccessDeniedError,
    CorruptObjectError,
    PluginNotFoundError,
    StorageFullError,
    StorageUnreachableError,
    UnauthenticatedError,
)
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.settling import pause_s, settle, settle_all, settle_patiently, waits_for
from checkmaite_core.submission import WorkOrder, prepare_submission
from checkmaite_core.testing import MemoryResultStore, installed_plugins
from checkmaite_core.testing._bundles import make_bundle

FAILURE = FailureRecord(kind=FailureKind.LOST, error_type="tests.Lost", message="its worker was lost")
NOON = datetime(2026, 1, 1, 12, 3, 11, tzinfo=UTC)
KNOWN = (StorageUnreachableError, UnauthenticatedError, AccessDeniedError, StorageFullError, CorruptObjectError)


class _Store(MemoryResultStore):
    faults: ClassVar[dict[str, list[Exception]]] = {}
    asked: ClassVar[list[str]] = []

    def settle(self, event_id: str) -> Any:
        self.asked.append(event_id)
        faults = self.faults.get(event_id, [])
        if faults:
            raise faults.pop(0)
        return super().settle(event_id)


class _Plugin:
    def __init__(self) -> None:
        self.opened: list[_Store] = []
        self.contents: dict[str, _Store] = {}

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> _Store:
        self.opened.append(self.contents.setdefault(uri, _Store(uri)))
        return self.opened[-1]


PLUGIN = _Plugin()


@pytest.fixture(autouse=True, scope="module")
def _plugins() -> Iterator[None]:
    with installed_plugins({"checkmaite.result_stores": {"settled": "settled_plugin_of_a_test:STORE"}}) as folder:
        (folder / "settled_plugin_of_a_test.py").write_text("import builtins\nSTORE = builtins.settled_plugin\n")
        importlib.invalidate_caches()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.settled_plugin", PLUGIN, raising=False)
            yield


class _Nothing(Capability[Any, Any]):
    def evaluate(self, inputs: Any, config: Any) -> Any:
        return None


@pytest.fixture
def orders() -> list[WorkOrder]:
    """Of three jobs on one store."""
    _Store.faults, _Store.asked = {}, []
    store = AnalyticsStoreConfig(backend="settled", uri=f"settled://{uuid.uuid4()}")
    return [prepare_submission({"capability": _Nothing()}, backend="test", store=store).order for _ in range(3)]


def _raise(kind: type[Exception]) -> Exception:
    if issubclass(kind, KNOWN):
        return kind("connection refused.", hint="Wait.", uri="settled://")
    return kind("connection refused.")


def _known(since: datetime | None = None) -> Unsettled:
    return Unsettled(failure=FAILURE, since=since)


@pytest.mark.parametrize("kind", [*KNOWN, RuntimeError, KeyError, OSError], ids=lambda kind: kind.__name__)
def test_whatever_a_store_raises_is_no_answer_and_it_is_opened_anew(
    orders: list[WorkOrder], kind: type[Exception]
) -> None:
    order = orders[0]
    _Store.faults = {order.job_id: [_raise(kind)]}
    before = len(PLUGIN.opened)
    answer = settle(order, FAILURE, since=NOON)
    assert isinstance(answer, Unsettled)
    assert answer.failure == FAILURE
    assert answer.waits_for is not None
    assert f"the analytics store at {order.store.uri}, " in answer.waits_for
    assert "since 12:03:11 UTC: " in answer.waits_for
    assert "connection refused." in answer.waits_for
    assert isinstance(settle(order, FAILURE), Outcome)
    assert len(PLUGIN.opened) == before + 2, "credentials are looked up again"


def test_a_store_that_a_worker_cannot_import_has_not_answered(orders: list[WorkOrder]) -> None:
    store = orders[0].store.model_copy(update={"backend": "nowhere"})
    answer = settle(orders[0].model_copy(update={"store": store}), FAILURE)
    assert isinstance(answer, Unsettled)
    assert answer.waits_for is not None
    assert "nowhere" in answer.waits_for


def test_a_store_that_answers_nobody_is_not_asked_about_the_next_job(orders: list[WorkOrder]) -> None:
    _Store.faults = {order.job_id: [_raise(StorageUnreachableError)] for order in orders}
    answers = settle_all([(order, _known(NOON)) for order in orders])
    assert all(isinstance(answer, Unsettled) and answer.since == NOON for answer in answers)
    assert _Store.asked == [orders[0].job_id]


def test_what_is_wrong_with_one_job_alone_does_not_keep_the_others(orders: list[WorkOrder]) -> None:
    _Store.faults = {orders[0].job_id: [_raise(CorruptObjectError)]}
    first, *others = settle_all([(order, _known()) for order in orders])
    assert isinstance(first, Unsettled)
    assert all(isinstance(answer, Outcome) and answer.status is JobStatus.FAILED for answer in others)


@hypothesis.given(
    committed=st.booleans(),
    faults=st.lists(st.sampled_from([*KNOWN, PluginNotFoundError, RuntimeError]), max_size=6),
    patience=st.integers(0, 8),
)
def test_a_job_is_never_ended_but_as_the_store_says(
    committed: bool, faults: list[type[Exception]], patience: int
) -> None:
    store = AnalyticsStoreConfig(backend="settled", uri=f"settled://{uuid.uuid4()}")
    order = prepare_submission({"capability": _Nothing()}, backend="test", store=store).order
    contents = kept_store(order.store)
    if committed:
        contents.commit(make_bundle(contents, order.job_id, "run-1", {"scores": [{"score": 0.5}]}))
    wrong = [
        PluginNotFoundError("gone.", hint="Install it.") if kind is PluginNotFoundError else _raise(kind)
        for kind in faults
    ]
    _Store.faults = {order.job_id: list(wrong)}
    said: list[str] = []
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) < patience

    answer = settle_patiently(order, _known(), waiting=said.append, pause=pause)
    allowed = max(patience, 1)
    tries = min(len(faults), allowed)
    assert pauses == [pause_s(number) for number in range(1, tries + 1)]
    assert len(said) == tries
    assert len({text.partition("since ")[2][:8] for text in said}) <= 1, "since when does not change"
    assert isinstance(answer, Outcome) is (len(faults) < allowed)
    if isinstance(answer, Outcome):
        assert answer.status is (JobStatus.COMPLETED if committed else JobStatus.FAILED)
    else:
        assert answer.failure == FAILURE
    assert (contents.reference(order.job_id) is not None) is committed


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_s(tries) for tries in range(1, 50)]
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15.0


def test_what_a_job_waits_for_is_one_line() -> None:
    long = waits_for("the analytics store at s3://b/p", NOON, RuntimeError("first\tline " + "x" * 1000 + "\nsecond"))
    assert "second" not in long
    assert len(long) < 500
    assert waits_for("it", NOON, KeyError()).endswith("UTC: KeyError")
