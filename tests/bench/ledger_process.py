"""A process that replays one ledger, and tells how long it took and how much memory; run by the ledger's bench.

Usage: ledger_process.py claim|read|floor ROOT. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from measuring import milliseconds, peak_mib

from checkmaite_ledger import JobLedger, LedgerWriter, latest_epoch
from checkmaite_storage import LocalObjectStore


def claim(root: Path) -> float:
    """Take the scope over, as a registry does when it starts."""
    objects = LocalObjectStore(root)
    latest = latest_epoch(objects, "bench")
    assert latest is not None
    kept = []
    return milliseconds(lambda: kept.append(LedgerWriter.claim(objects, "bench", {}, after=latest.number)))


def read(root: Path) -> float:
    """List a page, as the command line does."""
    return milliseconds(lambda: JobLedger(str(root), "bench").jobs())


def floor(root: Path) -> float:
    """Read the same bytes."""
    paths = [path for folder in ("log", "snapshots") for path in sorted((root / "jobs/bench" / folder).glob("*"))]
    return milliseconds(lambda: [path.read_bytes() for path in paths])


if __name__ == "__main__":
    at_rest = peak_mib()
    before = time.process_time()
    took = {"claim": claim, "read": read, "floor": floor}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"ms": took, "cpu": (time.process_time() - before) * 1000, "MiB": peak_mib() - at_rest}))
