"""Real processes beside each other, and what a commit costs one."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from checkmaite_analytics_store import AnalyticsStore

    Open = Callable[..., AnalyticsStore]
    Start = Callable[[str, str], subprocess.Popen[str]]


def go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def test_racing_writers_of_the_same_events_beside_racing_folders_store_each_event_once(
    open_store: Open, start_worker: Start
) -> None:
    writers = [start_worker("same", str(number)) for number in range(3)]
    folders = [start_worker("fold", str(number)) for number in range(2)]
    for worker in [*writers, *folders]:
        go(worker)
    seen = 0
    while any(worker.poll() is None for worker in writers):
        # A reader beside them never sees a run twice, in part, or vanish again.
        store = open_store()
        row = store.query(
            "SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(DISTINCT event_id) FROM runs) AS events, "
            "(SELECT count(*) FROM scores) AS rows"
            if "scores" in store.tables()
            else "SELECT 0 AS runs, 0 AS events, 0 AS rows"
        ).to_pylist()[0]
        assert row["runs"] == row["events"] >= seen
        assert row["rows"] == 2 * row["runs"]
        seen = row["runs"]
        store.close()
    for worker in writers:
        assert worker.wait() == 0
    folded = 0
    for worker in folders:
        output = worker.communicate(timeout=60)[0]
        assert worker.returncode == 0
        folded += sum(map(int, output.split()))
    folded += open_store(grace=0).fold().folded
    assert folded == 60
    assert open_store(grace=0).fold().manifest >= 1
    rows = open_store().query("SELECT event_id, count(*) AS n FROM scores GROUP BY ALL").to_pylist()
    assert {row["event_id"]: row["n"] for row in rows} == {f"same-{number}": 2 for number in range(60)}
    assert open_store().query("SELECT event_id FROM runs").num_rows == 60
    assert open_store().verify().ok


def test_a_commit_costs_little_more_than_the_puts_own_fsyncs(
    open_store: Open, make: ModuleType, tmp_path: Path
) -> None:
    """Interleaved with bare puts of the same size, so that what else the machine does cancels out."""
    store = open_store()
    store.commit(make.scores_of("warm-up", "warm-up", *[1.0] * 23))
    floor = LocalObjectStore(tmp_path / "floor")
    floor.put_if_absent("inbox/warm-up", b"")
    over = []
    for number in range(150):
        bundle = make.scores_of(f"job-{number}", f"run-{number}", *[1.0] * 23)
        data = encode_bundle(bundle)
        start = time.perf_counter()
        floor.put_if_absent(f"inbox/job-{number}.run", data)
        middle = time.perf_counter()
        store.commit(bundle)
        over.append((time.perf_counter() - middle) - (middle - start))
    over.sort()
    assert over[len(over) // 2] < 0.001, over[len(over) // 2]


def test_a_commit_is_one_request_once_the_process_knows_the_table(open_store: Open, make: ModuleType) -> None:
    store = open_store()
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    calls: list[str] = []
    objects = store._objects
    for name in ("get", "list", "put_if_absent", "delete"):
        method = getattr(objects, name)
        setattr(objects, name, lambda key, *args, method=method, name=name: (calls.append(name), method(key, *args))[1])
    store.commit(make.scores_of("job-2", "run-2", 1.0))
    assert calls == ["put_if_absent"]
