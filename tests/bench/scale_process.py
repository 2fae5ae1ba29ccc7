"""A process that folds or asks one store, and tells how long it took and how much memory; run by the scale bench.

Usage: scale_process.py fold|ask|ask-unfolded ROOT. Prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from measuring import AGGREGATE, JOIN, in_turns, milliseconds, open_store, peak_mib

LIMIT = 8 * 2**30
"""Bytes of address space; more is an error, not a slow machine."""
QUERIES = 15


def fold(root: Path) -> dict[str, float]:
    """Fold all that waits, and leave the inbox as it is."""
    with open_store(root, grace=3600) as store:
        return {"fold": milliseconds(store.fold)}


def ask(root: Path) -> dict[str, float]:
    """Ask twice: with a new connection, and with a kept one."""
    with open_store(root) as store:
        first = milliseconds(lambda: store.query(AGGREGATE))
        store.query(JOIN)
        aggregate, join = in_turns(QUERIES, lambda: store.query(AGGREGATE), lambda: store.query(JOIN))
    return {"first": first, "aggregate": aggregate.median, "join": join.median}


def ask_unfolded(root: Path) -> dict[str, float]:
    """Ask a store of which nothing is folded."""
    with open_store(root) as store:
        return {"first": milliseconds(lambda: store.query(AGGREGATE))}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    at_rest = peak_mib()
    figures = {"fold": fold, "ask": ask, "ask-unfolded": ask_unfolded}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({**figures, "at rest": at_rest, "peak": peak_mib(), "cpu": time.process_time()}))
