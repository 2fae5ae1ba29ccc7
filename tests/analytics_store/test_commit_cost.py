"""What a commit costs a process."""

from __future__ import annotations

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
