"""What the benches share: floors, interleaved timing, runs to store, and how a figure is printed."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import Record, tabulate
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import RunBundle

LABELS = 10
ROWS = 2 * LABELS + 3
AGGREGATE = "SELECT label, avg(value), sum(support) FROM scores GROUP BY label"
JOIN = (
    "SELECT runs.capability_id, avg(summaries.value) FROM summaries JOIN runs USING (event_id) "
    "WHERE metric = 'accuracy' GROUP BY ALL"
)


class Score(Record, table_name="scores"):
    label: str
    value: float
    support: int


class Latency(Record, table_name="latencies"):
    label: str
    milliseconds: float


class Summary(Record, table_name="summaries"):
    metric: str
    value: float


class Timing(NamedTuple):
    """Milliseconds."""

    median: float
    worst: float


def bundle_of(number: int, prefix: str = "run") -> RunBundle:
    """A run of 23 rows in 3 tables."""
    name = f"{prefix}-{number:08d}"
    labels = [f"label-{n}" for n in range(LABELS)]
    records: list[Record] = [
        *(Score(run_uid=name, label=label, value=(number % 977) / 977, support=number % 53) for label in labels),
        *(Latency(run_uid=name, label=label, milliseconds=float(number % 31)) for label in labels),
        *(Summary(run_uid=name, metric=metric, value=0.5) for metric in ("accuracy", "recall", "f1")),
    ]
    tables = tabulate(records, name)
    reference = CapabilityRunRef(
        event_id=name,
        run_uid=name,
        capability_id=f"bench.capability_{number % 5}",
        store_uri="file:///bench",
        tables={rows.table: len(rows.rows) for rows in tables},
        dataset_ids=("data",),
        model_ids=(f"model-{number % 7}",),
        report=None,
        created_at=datetime.now(UTC),
    )
    return RunBundle(name, reference, Provenance(job_id=name, user_id="bench"), '{"threshold":0.5}', tables)


def open_store(root: Path, **settings: float) -> AnalyticsStore:
    """A store that folds only when asked, and then leaves nothing behind."""
    return AnalyticsStore(root, settings=StoreSettings(**{"fold_after": 0, "grace": 0, **settings}))  # type: ignore[arg-type]


def put_aside(root: Path, first: int, count: int) -> int:
    """Lay encoded runs straight into the inbox, without an fsync each; gives the bytes."""
    with open_store(root) as store:
        store.commit(bundle_of(first))
    size = 0
    for number in range(first + 1, first + count):
        data = encode_bundle(bundle_of(number))
        (root / "inbox" / f"run-{number:08d}.run").write_bytes(data)
        size += len(data)
    return size


def durable_put(folder: Path, name: str, data: bytes) -> None:
    """The least that a durable put-if-absent takes: the file's fsync, its name, and the folder's fsync."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        file = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=directory)
        try:
            os.write(file, data)
            os.fsync(file)
            os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(file)
        os.fsync(directory)
    finally:
        os.close(directory)


def milliseconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1e3


def in_turns(rounds: int, *functions: Callable[[], object]) -> list[Timing]:
    """Time each once per round, so that whatever else the machine does meets all of them.

    In an order that changes: what one leaves to the disk, the next may have to wait for.
    """
    times: list[list[float]] = [[] for _ in functions]
    order = random.Random(0)
    for _ in range(rounds):
        for chosen in order.sample(range(len(functions)), len(functions)):
            times[chosen].append(milliseconds(functions[chosen]))
    return [Timing(statistics.median(each), max(each)) for each in times]


def peak_mib() -> float:
    """The most memory that this process has held, in MiB."""
    # Not ru_maxrss: it starts at what the process held that this one was started by.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def show(title: str, *lines: tuple[str, Timing | float, str]) -> None:
    """Print figures: a name, milliseconds (median and worst) or a plain number, and a remark."""
    print(f"\n\n{title}")
    for name, figure, remark in lines:
        if isinstance(figure, Timing):
            print(f"  {name:<44}{figure.median:10.2f}{figure.worst:10.2f} ms   {remark}")
        else:
            print(f"  {name:<44}{figure:10.2f}{'':13}   {remark}")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the documentation."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
