"""Vacuums, folds, readers and writers that stand still at the worst moment while the others go on for days."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import EventAbandonedError
from checkmaite_core.report import InlineTextReport

if TYPE_CHECKING:
    from types import ModuleType

SCORES = "SELECT event_id, value FROM scores ORDER BY ALL"
DAYS = 48
"""Hours."""


def shown(store: AnalyticsStore) -> list[dict[str, Any]]:
    return store.query(SCORES).to_pylist()


def put_of_a_manifest(method: str, key: str) -> bool:
    return method == "put" and key.startswith("manifests/")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests stop processes and cut no power."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture
def server(faulty: ModuleType, root: Path) -> Any:
    return faulty.Server(root)


@pytest.fixture
def others(server: Any, make: ModuleType) -> Callable[..., list[dict[str, Any]]]:
    """Other processes commit and fold, each time with newer rows of one run; returns what is shown afterwards."""
    numbers = iter(range(1000))

    def work(count: int) -> list[dict[str, Any]]:
        for number in (next(numbers) for _ in range(count)):
            store = server.store(grace=0)
            store.commit(make.scores_of(f"job-{number:03}", f"run-{number % 2}", float(number)))
            store.fold()
        return shown(server.store())

    return work


def check(server: Any, wanted: list[dict[str, Any]]) -> None:
    """Nothing is lost, double or damaged, nor after another fold and vacuum."""
    for _ in range(2):
        store = server.store(grace=0)
        assert shown(store) == wanted
        assert store.verify().findings == ()
        history = store.query("SELECT event_id FROM runs").to_pylist()
        assert len(history) == len({row["event_id"] for row in history})
        store.fold()
        server.wait(hours=DAYS)
        store.vacuum()


@pytest.mark.parametrize("folds", [0, 1, 12])
def test_a_fold_that_stands_still_before_it_publishes_finds_its_number_taken_once_its_files_are_gone(
    server: Any, make: ModuleType, faulty: ModuleType, others: Callable[..., Any], folds: int
) -> None:
    """In a store where nothing else happens too: the time limit of a fold is over before the put, not after it."""
    others(2)
    server.store().commit(make.scores_of("stalled", "run-9", 9.0))
    folder, objects = server.open(grace=0)
    stalled = faulty.Parked(objects, folder.fold, put_of_a_manifest)
    others(folds)
    wanted = shown(server.store())
    server.wait(hours=DAYS)
    assert server.store().vacuum().files >= 3
    report = stalled.go_on()
    assert report.folded == (0 if folds else 1)
    assert report.quarantined == ()
    check(server, wanted)


def test_what_a_fold_publishes_after_the_vacuum_has_listed_it_stays(
    server: Any, make: ModuleType, faulty: ModuleType, others: Callable[..., Any]
) -> None:
    """Had the manifests been read before the files were listed, these files would belong to nobody."""
    others(2)
    server.store().commit(make.scores_of("stalled", "run-9", 9.0))
    folder, objects = server.open(grace=0)
    fold = faulty.Parked(objects, folder.fold, put_of_a_manifest)
    server.wait(hours=DAYS)
    vacuum, objects = server.open()
    stalled = faulty.Parked(objects, vacuum.vacuum, lambda method, key: (method, key) == ("list", "index/"), "after")
    assert fold.go_on().folded == 1
    wanted = shown(server.store())
    server.wait(hours=DAYS)
    stalled.go_on()
    check(server, wanted)


@pytest.mark.parametrize(
    ("method", "prefix", "when"),
    [
        ("list", "index/", "after"),
        ("get", "manifests/", "after"),
        ("put", "manifests/", "before"),
        ("put", "manifests/", "after"),
        ("delete", "tables/", "before"),
        ("delete", "manifests/", "before"),
        ("delete", "manifests/", "after"),
    ],
)
def test_a_vacuum_that_stands_still_for_days_removes_nothing_that_came_into_use_meanwhile(
    server: Any, faulty: ModuleType, others: Callable[..., Any], method: str, prefix: str, when: str
) -> None:
    others(12)
    server.store().put_report("gone", InlineTextReport(content="text"))
    server.store().settle("gone")
    others(1)
    server.wait(hours=DAYS)
    vacuum, objects = server.open()
    stalled = faulty.Parked(
        objects, vacuum.vacuum, lambda called, key: called == method and key.startswith(prefix), when
    )
    others(6)
    server.wait(hours=DAYS)
    server.store().vacuum()
    wanted = others(1)
    stalled.go_on()
    check(server, wanted)


@pytest.mark.parametrize(
    ("prefix", "method", "when"),
    [("tables/", "delete", "before"), ("manifests/v", "delete", "before"), ("manifests/v", "delete", "after")],
)
def test_two_vacuums_at_once_do_the_work_of_one(
    server: Any, faulty: ModuleType, others: Callable[..., Any], prefix: str, method: str, when: str
) -> None:
    wanted = others(14)
    server.wait(hours=DAYS)
    vacuum, objects = server.open()
    stalled = faulty.Parked(
        objects, vacuum.vacuum, lambda called, key: called == method and key.startswith(prefix), when
    )
    server.store().vacuum()
    stalled.go_on()
    manifests = sorted((server.root / "manifests").iterdir())
    assert len(manifests) == int(manifests[-1].stem[1:])  # none has got lost between the two
    check(server, wanted)


def test_a_late_manifest_that_meets_a_free_number_is_of_no_account(
    server: Any, make: ModuleType, faulty: ModuleType, others: Callable[..., Any]
) -> None:
    """A vacuum has just removed the manifest of that number and has not put its stub yet."""
    others(2)
    server.store().commit(make.scores_of("stalled", "run-9", 9.0))
    folder, objects = server.open(grace=0)
    fold = faulty.Parked(objects, folder.fold, put_of_a_manifest)
    others(12)
    server.wait(hours=DAYS)
    vacuum, objects = server.open()
    late = "manifests/v0000000003.json"
    stub = faulty.Parked(objects, vacuum.vacuum, lambda method, key: (method, key) == ("put", late))
    assert not (server.root / late).exists()
    wanted = shown(server.store())
    fold.go_on()
    assert (server.root / late).stat().st_size > 200  # it did publish, far below the newest
    assert shown(server.store()) == wanted
    stub.go_on()
    assert shown(server.store()) == wanted
    server.store(grace=0).fold()
    check(server, wanted)
    assert (server.root / late).stat().st_size < 200


@pytest.mark.parametrize(("method", "prefix"), [("get", "manifests/"), ("get", "index/"), ("list", "schemas/")])
def test_a_reader_that_stands_still_for_days_starts_over(
    server: Any, make: ModuleType, faulty: ModuleType, others: Callable[..., Any], method: str, prefix: str
) -> None:
    """What it wants next is a stub, or gone: that is no damage, as there is a newer manifest."""
    others(3)
    server.store().commit(make.scores_of("unfolded", "run-9", 9.0))
    reader, objects = server.open()
    stalled = faulty.Parked(
        objects, lambda: shown(reader), lambda called, key: called == method and key.startswith(prefix)
    )
    for _ in range(2):
        others(12)
        server.wait(hours=DAYS)
        assert server.store().vacuum().files
    assert stalled.go_on() == shown(server.store())


@pytest.mark.parametrize(
    ("method", "prefix"), [("get", "manifests/"), ("list", "schemas/"), ("put", "tables/"), ("put", "probes/")]
)
def test_a_fold_that_stands_still_for_days_starts_over(
    server: Any, make: ModuleType, faulty: ModuleType, others: Callable[..., Any], method: str, prefix: str
) -> None:
    """Neither does it take the files for lost that have gone by right, nor remove what is not safely elsewhere."""
    others(3)
    server.store().commit(make.scores_of("stalled", "run-1", 9.0))
    server.store().commit(make.scores_of("stale", "run-1", 9.0))
    folder, objects = server.open(grace=0)
    stalled = faulty.Parked(objects, folder.fold, lambda called, key: called == method and key.startswith(prefix))
    others(12)
    server.wait(hours=DAYS)
    assert server.store().vacuum().files
    wanted = others(1)
    assert stalled.go_on().quarantined == ()
    check(server, wanted)


def test_a_superseded_manifest_that_cannot_be_read_licenses_no_removal_and_stops_no_fold(
    server: Any, make: ModuleType, others: Callable[..., Any]
) -> None:
    others(2)
    last = sorted((server.root / "manifests").iterdir())[-1]
    server.wait(hours=1)
    server.store().commit(make.scores_of("new", "run-9", 9.0))
    server.store().fold()
    wanted = shown(server.store())
    server.damage(f"manifests/{last.name}")  # the newest of those that are older than the grace period
    assert server.store().fold().deleted == 0
    assert (server.root / "inbox" / "new.run").exists()
    server.wait(hours=1)
    assert server.store().fold().deleted >= 1
    assert not (server.root / "inbox" / "new.run").exists()
    assert shown(server.store()) == wanted


def test_stragglers_of_long_ago_change_nothing_after_a_vacuum(
    server: Any, make: ModuleType, others: Callable[..., Any]
) -> None:
    lost = server.store()
    reference = server.store().commit(make.scores_of("done", "run-8", 8.0)).reference
    assert server.store().settle("gone") is None
    others(14)
    for _ in range(2):
        server.wait(hours=DAYS)
        server.store(grace=0).fold()
        server.store().vacuum()
    assert not (server.root / "inbox" / "gone.run").exists()
    assert not (server.root / "inbox" / "done.run").exists()
    wanted = shown(server.store())
    for straggler in (lost, server.store()):
        with pytest.raises(EventAbandonedError):
            straggler.commit(make.scores_of("gone", "run-9", 9.0))
        assert straggler.commit(make.scores_of("done", "run-8", 0.0)).reference == reference
    check(server, wanted)
