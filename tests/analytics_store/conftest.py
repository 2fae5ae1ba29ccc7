from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings

WORKER = Path(__file__).with_name("store_worker.py")


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """``bundle_of``, ``scores_of`` and record classes, the same that worker processes use."""
    spec = importlib.util.spec_from_file_location("store_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["store_worker"] = module  # pydantic resolves annotations by module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the store; it does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def open_store(root: Path) -> Iterator[Callable[..., AnalyticsStore]]:
    """Opens the store anew, as another process would see it."""
    opened: list[AnalyticsStore] = []

    def open_one(**settings: float) -> AnalyticsStore:
        store = AnalyticsStore(root, settings=StoreSettings(**settings))  # type: ignore[arg-type]
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., AnalyticsStore]) -> AnalyticsStore:
    return open_store()


@pytest.fixture
def start_worker(root: Path) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Starts processes that are ready to work on the store; they begin at a line on their input."""
    started: list[subprocess.Popen[str]] = []

    def start(action: str, name: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), action, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    yield start
    for worker in started:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()


@pytest.fixture
def ask() -> Callable[[AnalyticsStore, str], list[tuple[object, ...]]]:
    """The answer to a query as a list of tuples."""

    def ask_store(store: AnalyticsStore, sql: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in store.query(sql).to_pylist()]

    return ask_store
