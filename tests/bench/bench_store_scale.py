"""How the analytics store's costs grow with the runs in it: one table, for the documentation."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from measuring import ROWS, bundle_of, in_turns, markdown, milliseconds, open_store, put_aside

pytestmark = pytest.mark.bench

SIZES = (1_000, 10_000, 100_000)
WRITES = 200
WORKER = Path(__file__).with_name("scale_process.py")


def measured(action: str, root: Path) -> dict[str, float]:
    """A figure of a process of its own, with the most memory that it held."""
    done = subprocess.run([sys.executable, WORKER, action, root], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def writes(root: Path, numbers: Iterator[int]) -> float:
    """The median milliseconds of a commit beside what is there."""
    with open_store(root) as store:
        store.commit(bundle_of(next(numbers)))
        bundles = iter([bundle_of(next(numbers)) for _ in range(WRITES)])
        return in_turns(WRITES, lambda: store.commit(next(bundles)))[0].median


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, list[str]]]]:
    """One column per size, printed when all are measured."""
    columns: list[tuple[str, list[str]]] = []
    yield columns
    names, figures = zip(*columns, strict=True)
    print(f"\n\nthe store by its number of runs, of {ROWS} rows in 3 tables each\n")
    print(markdown(["runs", *names], list(zip(NAMES, *figures, strict=True))))


NAMES = (
    "write beside so many waiting, median ms",
    "write beside so many folded, median ms",
    "first query of so many waiting, s",
    "processor time of that process, s",
    "memory of that query at most, MiB",
    "fold of all, s",
    "processor time of that process, s",
    "memory of that fold at most, MiB",
    "removing them from the inbox, s",
    "first query of a process, folded, ms",
    "aggregate, median ms",
    "join with `runs`, median ms",
    "memory of these queries at most, MiB",
    "memory of a process that has only loaded the store, MiB",
    "bundles, MiB",
    "folded files, MiB",
    "folded files, number",
    "index, MiB",
)


@pytest.mark.parametrize("runs", SIZES)
def test_scale(tmp_path: Path, table: list[tuple[str, list[str]]], runs: int) -> None:
    root = tmp_path / "store"
    size = put_aside(root, 0, runs)
    numbers = itertools.count(10 * runs)
    unfolded = measured("ask-unfolded", root)
    waiting = writes(root, numbers)
    fold = measured("fold", root)
    with open_store(root) as store:
        removal = milliseconds(store.fold)
        asked = measured("ask", root)
        files = [Path(file) for name in store.tables() for file in store.files(name)]
    full = writes(root, numbers)
    index = sum(path.stat().st_size for path in (root / "index").iterdir())
    values = (
        f"{waiting:.2f}",
        f"{full:.2f}",
        f"{unfolded['first'] / 1e3:.2f}",
        f"{unfolded['cpu']:.1f}",
        f"{unfolded['peak']:.0f}",
        f"{fold['fold'] / 1e3:.1f}",
        f"{fold['cpu']:.1f}",
        f"{fold['peak']:.0f}",
        f"{removal / 1e3:.1f}",
        f"{asked['first']:.0f}",
        f"{asked['aggregate']:.0f}",
        f"{asked['join']:.0f}",
        f"{asked['peak']:.0f}",
        f"{asked['at rest']:.0f}",
        f"{size / 2**20:.0f}",
        f"{sum(file.stat().st_size for file in files) / 2**20:.1f}",
        f"{len(files)}",
        f"{index / 2**20:.1f}",
    )
    table.append((f"{runs:,}", list(values)))
