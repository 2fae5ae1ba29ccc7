"""Users of a team, as processes: a line of JSON says who does what in which folder; a line tells what came of it.

Each is forked from one process that has imported and used everything: the interpreter may lie where only root may read.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable

from store_worker import scores_of

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_core.errors import CheckmaiteError
from checkmaite_core.report import InlineTextReport
from checkmaite_ledger import JobLedger, LedgerWriter, scopes
from checkmaite_storage import open_object_store

SCOPE = "team"
LARGE = "# A report\n" + "x" * 400_000


def commit(folder: str, name: str) -> object:
    store = opened(folder)
    store.put_report(f"job-{name}", InlineTextReport(content=LARGE))
    return store.commit(scores_of(f"job-{name}", f"run-{name}", 1.0)).created


def fold(folder: str) -> object:
    opened(folder).fold()
    return "folded"


def vacuum(folder: str) -> object:
    opened(folder).vacuum()
    return "vacuumed"


def count(folder: str) -> object:
    return opened(folder).query("SELECT count(*) AS n FROM scores").to_pylist()[0]["n"]


def verify(folder: str) -> object:
    return len(opened(folder).verify().findings)


def claim(folder: str) -> object:
    objects = open_object_store(folder)
    after = len(JobLedger(folder, SCOPE).epochs()) if scopes(folder) else 0
    return LedgerWriter.claim(objects, SCOPE, {"pid": os.getpid()}, after=after).epoch.number


def jobs(folder: str) -> object:
    return len(JobLedger(folder, SCOPE).jobs().records)


def opened(folder: str) -> AnalyticsStore:
    return AnalyticsStore(folder, settings=StoreSettings(grace=0.0, vacuum_age=0.0))


DEEDS: dict[str, Callable[..., object]] = {
    deed.__name__: deed for deed in (commit, fold, vacuum, count, verify, claim, jobs)
}


def warm_up() -> None:
    with tempfile.TemporaryDirectory() as own:
        for deed in ("commit:one", "claim", "jobs", "fold", "count", "commit:two", "vacuum", "count", "verify"):
            done(f"{own}/store", deed)


def done(folder: str, deed: str) -> str:
    name, _, argument = deed.partition(":")
    try:
        return str(DEEDS[name](folder, *([argument] if argument else [])))
    except CheckmaiteError as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def become(uid: int, groups: list[int], umask: int) -> None:
    os.setgroups(groups[1:])
    os.setgid(groups[0])
    os.setuid(uid)
    os.umask(umask)
    tempfile.tempdir = "/tmp"


def main() -> None:
    warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked["uid"], asked["groups"], asked["umask"])
            answer = {deed: done(asked["folder"], deed) for deed in asked["deeds"]}
            print(json.dumps(answer), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"ended": str(status)}), flush=True)


if __name__ == "__main__":
    main()
