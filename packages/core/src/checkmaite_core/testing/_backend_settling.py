"""Standard tests of a backend: jobs whose end only the store can tell, while the store does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import CheckmaiteError
from checkmaite_core.job import Job, JobStatus
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._faulty_store import FAULTY_PLUGIN, Switches
from checkmaite_core.testing._plugins import installed_plugins
from checkmaite_core.testing._waiting import DEADLINE, eventually

__all__ = ["SettlingTests"]


class SettlingTests(BackendTests, standard=True):
    """A job is FAILED or CANCELLED only where its results are known not to be stored."""

    @pytest.fixture(scope="class")
    @classmethod
    def faulty_plugins(cls) -> Iterator[Path]:
        """The folder that workers must be able to import from."""
        with installed_plugins(FAULTY_PLUGIN) as folder:
            yield folder

    @pytest.fixture(scope="class")
    @classmethod
    def class_switches(cls, tmp_path_factory: pytest.TempPathFactory) -> Switches:
        """What makes the store of the class's tests go away."""
        return Switches(tmp_path_factory.mktemp("switches"))

    @pytest.fixture
    def switches(self, class_switches: Switches) -> Iterator[Switches]:
        """What makes the store go away; it is back when the test has ended."""
        yield class_switches
        class_switches.come_back()

    @pytest.fixture(scope="class")
    @classmethod
    def open_faulty(
        cls,
        faulty_plugins: Path,
        options: Mapping[str, Any],
        store_config: AnalyticsStoreConfig,
        class_switches: Switches,
    ) -> Callable[[], JobBackend]:
        """Opens a backend whose store goes away; all of them on the same store."""
        # The worker is not to wait for the store itself, so that it is the backend that has to.
        seeing = {**cls.seeing(options, faulty_plugins), "commit_timeout_s": 0.0}
        return lambda: cls.open(seeing, class_switches.config(store_config, "faulty"))

    @pytest.fixture(scope="class")
    @classmethod
    def faulty(cls, open_faulty: Callable[[], JobBackend], class_switches: Switches) -> Iterator[JobBackend]:
        """A backend whose store goes away."""
        opened = open_faulty()
        yield opened
        class_switches.come_back()
        opened.shutdown(wait=False)

    @classmethod
    def seeing(cls, options: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Options under which workers import from a folder, for another store than ``store_config``'s.

        Override it where workers are other processes than the client's.
        """
        return options

    def wait_for_the_store(self, job: Job, switches: Switches) -> None:
        """Wait until the job says that the store keeps it from ending; it has not ended then."""
        eventually(switches.is_away, "the store is away")
        eventually(lambda: "analytics store" in (job.waiting_for or ""), f"{job!r} waits for the store")
        assert "connection refused" in (job.waiting_for or "")
        assert not job.status.is_terminal
        assert not job.wait(1.5).is_terminal, "nor has it given up a moment later"

    def test_a_job_whose_commit_was_applied_and_not_answered_is_completed_once_the_store_is_back(
        self, faulty: JobBackend, switches: Switches, label: str
    ) -> None:
        switches.lose_the_next_answer()
        job = self.write(faulty, label)
        told = threading.Event()
        job.add_done_callback(lambda _: told.set())
        self.wait_for_the_store(job, switches)
        assert not told.is_set()
        assert [each.job_id for each in faulty.jobs(status=job.status)] == [job.job_id]
        switches.come_back()
        assert job.wait(DEADLINE) is JobStatus.COMPLETED
        assert told.wait(DEADLINE)
        assert job.waiting_for is None
        assert len(self.rows(faulty, label)) == 1

    def test_a_job_whose_worker_died_with_its_commit_is_completed_once_the_store_is_back(
        self, faulty: JobBackend, switches: Switches, label: str
    ) -> None:
        if not self.promises.isolates_jobs:
            return
        switches.kill_who_commits_next()
        job = self.write(faulty, label)
        self.wait_for_the_store(job, switches)
        switches.come_back()
        assert job.wait(DEADLINE) is JobStatus.COMPLETED
        assert len(self.rows(faulty, label)) == 1

    def test_a_job_that_is_stopped_while_the_store_is_away_is_cancelled_once_that_is_certain(
        self, faulty: JobBackend, switches: Switches, parked: list[Parked], tmp_path: Path
    ) -> None:
        manner = "busy" if self.promises.stops_running_code else "cooperative"
        one = self.park(faulty, parked, tmp_path, manner)  # type: ignore[arg-type]
        one.wait_until_started()
        switches.go_away()
        assert one.job.cancel()
        if self.promises.stops_running_code:
            self.wait_for_the_store(one.job, switches)
            assert one.job.cancel(), "it may be asked for again"
            switches.come_back()
        # Else the code has ended before its commit began: nothing can be stored, whatever the store says.
        assert one.job.wait(DEADLINE) is JobStatus.CANCELLED
        switches.come_back()
        assert self.rows(faulty, one.label) == []

    def test_a_backend_that_is_shut_down_meanwhile_calls_the_job_neither_failed_nor_completed(
        self, faulty: JobBackend, open_faulty: Callable[[], JobBackend], switches: Switches, label: str
    ) -> None:
        leaving = open_faulty()
        switches.lose_the_next_answer()
        job = self.write(leaving, label)
        self.wait_for_the_store(job, switches)
        leaving.shutdown(wait=False)
        assert not job.status.is_terminal
        with pytest.raises(CheckmaiteError):
            job.wait(DEADLINE)
        with pytest.raises(CheckmaiteError):
            job.result(DEADLINE)
        switches.come_back()
        assert len(self.rows(faulty, label)) == 1
