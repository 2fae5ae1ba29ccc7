from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from checkmaite_core.errors import (
    CorruptObjectError,
    EventAbandonedError,
    RunContractError,
    StoreFormatError,
)
from checkmaite_core.provenance import Provenance
from checkmaite_core.run import CapabilityConfig, CapabilityOutputs, CapabilityRun
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from checkmaite_analytics_store import AnalyticsStore

Ask = "Callable[[AnalyticsStore, str], list[tuple[object, ...]]]"


def test_a_commit_is_visible_at_once_to_every_reader(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    receipt = open_store().commit(make.scores_of("job-1", "run-1", 0.5, None))
    assert receipt.created
    rows = open_store().query("SELECT * FROM scores ORDER BY label").to_pylist()
    assert rows == [
        {"event_id": "job-1", "run_uid": "run-1", "label": "label-0", "value": 0.5},
        {"event_id": "job-1", "run_uid": "run-1", "label": "label-1", "value": None},
    ]
    (run,) = open_store().query("SELECT * FROM runs").to_pylist()
    assert run["event_id"] == "job-1"
    assert run["is_current"] is True
    assert run["user_id"] == "tester"
    assert run["dataset_ids"] == '["data"]'
    assert run["config"] == '{"k":1}'


def test_a_repeat_changes_nothing_and_returns_the_first_reference(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, ask: Ask
) -> None:
    first = open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    again = open_store().commit(make.scores_of("job-1", "run-1", 2.0))
    assert not again.created
    assert again.reference == first.reference
    assert ask(open_store(), "SELECT value FROM scores") == [(1.0,)]


@pytest.mark.parametrize("removed", [False, True], ids=["in the inbox", "removed from the inbox"])
def test_a_repeat_of_a_folded_event_returns_the_first_reference(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, ask: Ask, root: Path, removed: bool
) -> None:
    old = open_store(grace=0)
    first = old.commit(make.scores_of("job-1", "run-1", 1.0))
    open_store(grace=0).fold()
    if removed:
        assert open_store(grace=0).fold().deleted == 1
    assert (root / "inbox" / "job-1.run").exists() is not removed
    again = open_store().commit(make.scores_of("job-1", "run-1", 2.0))
    assert not again.created
    assert again.reference == first.reference
    old.commit(make.scores_of("job-1", "run-1", 3.0))  # its process does not know of the fold
    assert ask(open_store(), "SELECT value FROM scores") == [(1.0,)]
    assert ask(open_store(), "SELECT count(*) FROM runs") == [(1,)]


def test_settling_a_committed_event_returns_its_reference(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    receipt = open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    assert open_store().settle("job-1") == receipt.reference
    assert open_store().settle("job-1") == receipt.reference


def test_a_settled_event_can_never_be_committed_and_has_no_rows(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, ask: Ask
) -> None:
    assert open_store().settle("job-1") is None
    assert open_store().settle("job-1") is None
    with pytest.raises(EventAbandonedError, match="job-1"):
        open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    assert ask(open_store(), "SELECT count(*) FROM runs") == [(0,)]
    assert open_store().tables() == ["runs"]


def test_settling_after_the_event_was_folded_and_removed_still_tells_its_reference(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, ask: Ask
) -> None:
    receipt = open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    open_store(grace=0).fold()
    assert open_store(grace=0).fold().deleted == 1
    for _ in range(2):  # the second meets the marker that the first one left
        assert open_store().settle("job-1") == receipt.reference
    assert ask(open_store(), "SELECT value FROM scores") == [(1.0,)]


def test_an_abandoned_event_stays_abandoned_after_its_marker_is_removed(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, ask: Ask
) -> None:
    straggler = open_store()
    straggler.commit(make.scores_of("other", "other", 5.0))
    open_store().settle("job-1")
    assert open_store(grace=0).fold().abandoned == 1
    assert open_store(grace=0).fold().deleted == 2
    straggler.commit(make.scores_of("job-1", "run-1", 1.0))  # its process does not know of the fold
    with pytest.raises(EventAbandonedError):
        open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    assert open_store().settle("job-1") is None
    with pytest.raises(EventAbandonedError):
        open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    assert ask(open_store(), "SELECT run_uid FROM scores") == [("other",)]
    open_store(grace=0).fold()
    assert ask(open_store(), "SELECT run_uid FROM runs") == [("other",)]


def test_garbage_at_an_events_key_is_named_and_neither_committed_over_nor_settled(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    (root / "inbox" / "job-2.run").write_bytes(b"garbage")
    for call in (lambda: open_store().commit(make.scores_of("job-2", "r", 1.0)), lambda: open_store().settle("job-2")):
        with pytest.raises(CorruptObjectError, match=r"inbox/job-2\.run"):
            call()


def test_an_object_moved_to_another_events_key_is_not_taken_for_it(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    open_store().commit(make.scores_of("job-1", "run-1", 1.0))
    shutil.copy(root / "inbox" / "job-1.run", root / "inbox" / "job-2.run")
    with pytest.raises(CorruptObjectError, match=r"job-2\.run is corrupt: it is the object of another event, 'job-1'"):
        open_store().settle("job-2")


class Run(CapabilityRun[CapabilityConfig, CapabilityOutputs]):
    """A run with nothing to extract."""


def a_run() -> Run:
    return Run(
        capability_id="direct",
        config=CapabilityConfig(),
        dataset_metadata=[{"id": "d"}],
        model_metadata=[],
        metric_metadata=[],
        outputs=CapabilityOutputs(),
    )


def test_a_direct_write_is_keyed_by_its_run_uid(open_store: Callable[..., AnalyticsStore]) -> None:
    run = a_run()
    receipt = open_store().write(run, Provenance(workspace_id="w"))
    assert receipt.created
    assert receipt.event_id == receipt.reference.run_uid == run.run_uid
    assert receipt.reference.store_uri == open_store().uri
    assert not open_store().write(run).created
    (row,) = open_store().query("SELECT * FROM runs").to_pylist()
    assert (row["workspace_id"], row["capability_id"], row["dataset_ids"]) == ("w", "direct", '["d"]')
    assert (row["model_ids"], row["report_kind"], row["submitted_at"]) == ("[]", None, None)


def test_a_direct_write_takes_its_provenance_from_the_environment(
    store: AnalyticsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHECKMAITE_PROVENANCE_USER_ID", "ada")
    store.write(a_run())
    assert store.query("SELECT user_id FROM runs").to_pylist() == [{"user_id": "ada"}]


@pytest.mark.parametrize("run", [None, object(), type("Odd", (), {"run_uid": "../../etc"})()])
def test_something_that_is_not_a_run_is_refused_before_anything_is_created(
    store: AnalyticsStore, root: Path, run: object
) -> None:
    with pytest.raises(RunContractError):
        store.write(run)
    assert not root.exists()


def test_a_bundle_whose_reference_is_another_events_is_refused(store: AnalyticsStore, make: ModuleType) -> None:
    from dataclasses import replace

    with pytest.raises(RunContractError, match="reference of event"):
        store.commit(replace(make.scores_of("job-1", "run-1", 1.0), event_id="job-2"))


def test_text_that_cannot_be_encoded_is_refused_by_name(store: AnalyticsStore, make: ModuleType) -> None:
    from dataclasses import replace

    with pytest.raises(RunContractError, match="UTF-8"):
        store.commit(replace(make.scores_of("job-1", "run-1", 1.0), config='"\ud800"'))


def test_opening_and_reading_create_nothing(store: AnalyticsStore, root: Path) -> None:
    assert store.tables() == ["runs"]
    assert store.query("SELECT * FROM runs").num_rows == 0
    assert store.files("runs") == []
    assert store.fold().manifest == 0
    assert store.verify().ok
    assert not root.exists()


def test_a_folder_that_holds_something_else_is_neither_read_nor_written(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("years of work")
    for call in (
        lambda: open_store().commit(make.scores_of("job-1", "run-1", 1.0)),
        lambda: open_store().settle("job-1"),
        lambda: open_store().query("SELECT 1"),
        lambda: open_store().tables(),
        lambda: open_store().fold(),
    ):
        with pytest.raises(StoreFormatError, match=r"thesis\.tex"):
            call()
    assert os.listdir(root) == ["thesis.tex"]


def test_a_store_of_a_newer_format_is_refused_with_what_to_do(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, root: Path
) -> None:
    from checkmaite_analytics_store._sealed import seal

    root.mkdir()
    (root / "store.json").write_bytes(seal("store", {"format": 2}))
    for call in (
        lambda: open_store().commit(make.scores_of("job-1", "run-1", 1.0)),
        lambda: open_store().query("SELECT 1"),
    ):
        with pytest.raises(StoreFormatError, match=r"(?s)format 2.*pip install --upgrade"):
            call()
    assert os.listdir(root) == ["store.json"]


def test_the_umask_says_who_may_read_what_the_store_writes(store: AnalyticsStore, make: ModuleType, root: Path) -> None:
    before = os.umask(0o002)
    try:
        store.commit(make.scores_of("job-1", "run-1", 1.0))
        store.fold()
    finally:
        os.umask(before)
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [root, *root.rglob("*")]}
    assert modes == {(True, 0o775), (False, 0o664)}


def test_the_store_is_found_by_its_entry_point_and_is_a_result_store(root: Path, make: ModuleType) -> None:
    store = open_result_store(AnalyticsStoreConfig(uri=str(root)))
    assert isinstance(store, ResultStore)
    assert store.uri == str(root)
    assert store.commit(make.scores_of("job-1", "run-1", 1.0)).created
    store.close()
    assert store.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 1}]
    store.close()
