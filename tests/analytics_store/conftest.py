from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings

if TYPE_CHECKING:
    from forked import Nursery

WORKER = Path(__file__).with_name("store_worker.py")
# Worker processes import the plain modules beside this file; so do tests.
sys.path.insert(0, str(WORKER.parent))


def load(path: Path) -> ModuleType:
    """A module that tests share."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # pydantic and dataclasses resolve annotations by module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """``bundle_of``, ``scores_of`` and record classes, the same that worker processes use."""
    return load(WORKER)


@pytest.fixture(scope="session")
def faulty() -> ModuleType:
    """Processes that stop or die at any call, and a server whose clock is moved by hand."""
    return load(WORKER.with_name("faulty.py"))


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


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Starts processes that may be killed."""
    from forked import nursery

    with nursery(tmp_path_factory.mktemp("said")) as started:
        yield started


@pytest.fixture
def ask() -> Callable[[AnalyticsStore, str], list[tuple[object, ...]]]:
    """The answer to a query as a list of tuples."""

    def ask_store(store: AnalyticsStore, sql: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in store.query(sql).to_pylist()]

    return ask_store
