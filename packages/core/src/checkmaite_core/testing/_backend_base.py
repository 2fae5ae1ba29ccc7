"""What the groups of a job backend's standard tests share: its promises, its fixtures, its words."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from checkmaite_core.backend import JobBackend, load_backend_plugin, parse_options
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.record import Scalar
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._standard import StandardSuite
from checkmaite_core.testing._waiting import DEADLINE, eventually
from checkmaite_core.testing._workloads import ROWS, Data, Park, ParkConfig, Write, WriteConfig

__all__ = ["BackendPromises", "BackendTests", "Parked"]


@dataclass(frozen=True, kw_only=True)
class BackendPromises:
    """What a backend promises beyond the contract. A promise that is not made changes what is asserted.

    Attributes:
        has_reattach: Another backend object on the same store and options finds the jobs of this one.
        jobs_outlive_client: Running jobs go on when the backend object is shut down without waiting.
        has_dedupe: Work that is equal to work which waits, runs or has completed is not run again, unless it is forced.
        has_live_status: RUNNING is seen while the code runs; without it a job is PENDING until it ends.
        has_live_progress: What the code says of its progress is seen while it runs; of reports that come faster
            than two in a second, some may be left out.
        stops_running_code: Cancelling ends code that never asks whether to stop.
        isolates_jobs: A job that ends its process leaves the client and the other jobs alone.
        checks_resources: A demand that nothing can meet is refused when the work is submitted.
        slots: How many jobs that ask for one CPU run at the same time.
        bounds_queue: Work that finds the queue full is refused, or waits for room; override ``small_queue`` for it.
        retries_exceptions: Code that raises what was named in the backend's options is run again (see ``retrying``).
        restores_processes: Jobs run in processes of their workers, one after another. What one leaves behind in its
            process does not reach the next, and the processes that it has started end with it. With the option
            ``fresh_process`` each has a process of its own.
        has_preflight: The cluster can be looked at before anything is started.
    """

    has_reattach: bool
    jobs_outlive_client: bool
    has_dedupe: bool
    has_live_status: bool
    has_live_progress: bool
    stops_running_code: bool
    isolates_jobs: bool
    checks_resources: bool
    slots: int
    bounds_queue: bool = False
    retries_exceptions: bool = False
    has_preflight: bool = True
    restores_processes: bool = False


@dataclass(frozen=True)
class Parked:
    """A job that waits for a file.

    Attributes:
        job: Its handle.
        folder: Where it says that it has started, and waits for ``go``.
        label: The id of its dataset.
        manner: How it takes being cancelled.
    """

    job: Job
    folder: Path
    label: str
    manner: Literal["cooperative", "busy", "stubborn"]

    def wait_until_started(self) -> None:
        """Wait until its code runs."""
        # For its mark, not for the file: whoever stops the job next may stop it between the two.
        eventually(lambda: self.starts > 0, f"the job's mark in {self.folder}")

    @property
    def started(self) -> bool:
        """Whether its code has begun."""
        return (self.folder / "started").exists()

    @property
    def starts(self) -> int:
        """How many times its code has begun."""
        return len((self.folder / "started").read_text().splitlines()) if self.started else 0

    def release(self) -> None:
        """Let it end."""
        (self.folder / "go").touch()


class BackendTests(StandardSuite):
    """Fixtures and helpers; the tests are in the groups that make up the suite."""

    kind: ClassVar[str]
    """Name of the backend's entry point; set it."""

    promises: ClassVar[BackendPromises]
    """What the backend promises; set it."""

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> Mapping[str, Any]:
        """The backend's options; override it where the defaults will not do."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def small_queue(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options under which two jobs may be unfinished at a time, those of ``options`` left aside."""
        return {**options, "max_unfinished": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def retrying(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options under which code that raises a ConnectionError is run again, two times at most."""
        return {**options, "retry_exceptions": ("ConnectionError",), "exception_retries": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls) -> AnalyticsStoreConfig:
        """A store at a fresh place, that the workers can write to; override it."""
        raise NotImplementedError(f"{cls.__qualname__} needs a fixture store_config (scope='class', a classmethod)")

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, options: Mapping[str, Any], store_config: AnalyticsStoreConfig) -> Iterator[JobBackend]:
        """The backend that most tests share."""
        opened = cls.open(options, store_config)
        yield opened
        opened.shutdown(wait=False)

    @classmethod
    def open(cls, options: Mapping[str, Any], store_config: AnalyticsStoreConfig) -> JobBackend:
        """A new backend object on the same options and store: another client."""
        plugin = load_backend_plugin(cls.kind)
        return plugin.open(parse_options(cls.kind, plugin, options), store_config)

    @pytest.fixture
    def label(self) -> str:
        """An id for a dataset that no other test uses."""
        return f"data-{uuid.uuid4().hex}"

    @pytest.fixture
    def parked(self, tmp_path: Path) -> Iterator[list[Parked]]:
        """The parked jobs of a test; they are let go when it ends. The workers must see the test's files."""
        jobs: list[Parked] = []
        yield jobs
        for each in jobs:
            each.release()
        for each in jobs:
            # A handle of a backend that the test has shut down may no longer be told.
            with contextlib.suppress(ConfigurationError):
                each.job.wait(DEADLINE)

    def park(
        self,
        backend: JobBackend,
        parked: list[Parked],
        tmp_path: Path,
        manner: Literal["cooperative", "busy", "stubborn"] = "busy",
        pace: float = 0.0,
        **arguments: Any,
    ) -> Parked:
        """Submit a job that waits for a file."""
        label = f"parked-{uuid.uuid4().hex}"
        folder = tmp_path / label
        folder.mkdir()
        config = ParkConfig(folder=str(folder), manner=manner, pace=pace)
        job = backend.submit(Park(), datasets=[Data(label)], config=config, **arguments)
        parked.append(Parked(job, folder, label, manner))
        return parked[-1]

    @staticmethod
    def park_again(backend: JobBackend, parked: Parked, **arguments: Any) -> Job:
        """Submit the same work as a parked job's."""
        config = ParkConfig(folder=str(parked.folder), manner=parked.manner)
        return backend.submit(Park(), datasets=[Data(parked.label)], config=config, **arguments)

    def write(self, backend: JobBackend, label: str, *, name: str | None = None, **settings: Any) -> Job:
        """Submit a job that writes rows."""
        return backend.submit(**self.work(label, **settings), name=name)

    @staticmethod
    def work(label: str, *, name: str | None = None, **settings: Any) -> dict[str, Any]:
        """Work that writes rows, to be submitted."""
        work = {"capability": Write(), "datasets": [Data(label)], "config": WriteConfig(**settings)}
        return work if name is None else {**work, "name": name}

    @property
    def running(self) -> JobStatus:
        """What the status is while code runs."""
        return JobStatus.RUNNING if self.promises.has_live_status else JobStatus.PENDING

    @staticmethod
    def rows(backend: JobBackend, label: str, table: str = ROWS) -> list[dict[str, Scalar]]:
        """The rows that were written for a dataset."""
        return [row for row in rows_of(backend.store, table) if row["label"] == label]

    @staticmethod
    def events(backend: JobBackend, job: Job) -> list[dict[str, Scalar]]:
        """The job's entries in the store's ``runs``."""
        return [row for row in rows_of(backend.store, "runs") if row["event_id"] == job.job_id]

    @staticmethod
    def events_of_run(backend: JobBackend, run_uid: str) -> list[str]:
        """The events of a run in the store's ``runs``, sorted."""
        return sorted(str(row["event_id"]) for row in rows_of(backend.store, "runs") if row["run_uid"] == run_uid)
