"""Standard tests of a backend: what a job leaves behind in its process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.job import Job
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests
from checkmaite_core.testing._leavings import Leave, LeaveConfig, Look, LookConfig, runs
from checkmaite_core.testing._waiting import DEADLINE, eventually, wait_for_file
from checkmaite_core.testing._workloads import Data

__all__ = ["LeavingsTests"]

_PAIRS = 20
"""Pairs of jobs among which one must have had the same process, where processes are used again."""


class LeavingsTests(BackendTests, standard=True):
    """What a job leaves behind."""

    def leave(self, backend: JobBackend, config: LeaveConfig, label: str) -> Job:
        """Submit a job that leaves things behind."""
        Path(config.folder).mkdir()
        return backend.submit(Leave(), datasets=[Data(label)], config=config)

    def look_around(self, backend: JobBackend, path: Path, label: str) -> tuple[int, list[str]]:
        """Have a job say in which process it is, and what it finds there."""
        backend.submit(Look(), datasets=[Data(label)], config=LookConfig(path=str(path))).result(DEADLINE)
        pid, found = json.loads(path.read_text())
        return pid, found

    def test_what_a_job_changes_in_its_process_does_not_reach_the_next_if_that_is_promised(
        self, backend: JobBackend, tmp_path: Path, label: str
    ) -> None:
        assert self.look_around(backend, tmp_path / "first", label)[1] == []
        if not self.promises.restores_processes:
            return  # it would change the process of the tests
        for number in range(_PAIRS):
            folder = tmp_path / f"{number}"
            config = LeaveConfig(folder=str(folder), changes=True)
            self.leave(backend, config, f"{label}-{number}").result(DEADLINE)
            left = json.loads((folder / "left").read_text())[0]
            pid, found = self.look_around(backend, folder / "seen", f"{label}-{number}")
            assert found == []
            if pid == left:
                return
        raise AssertionError(f"{_PAIRS} times, the second of two jobs had another process")

    @pytest.mark.parametrize("end", ["completed", "cancelled", "killed"])
    def test_what_a_job_has_started_ends_with_it_if_that_is_promised(
        self, backend: JobBackend, tmp_path: Path, label: str, end: Literal["completed", "cancelled", "killed"]
    ) -> None:
        if not self.promises.restores_processes:
            return
        folder = tmp_path / "job"
        config = LeaveConfig(folder=str(folder), children=True, parks=end != "completed")
        job = self.leave(backend, config, label)
        wait_for_file(folder / "left")
        worker, *started = json.loads((folder / "left").read_text())
        if end == "killed":
            # Those in a session of their own are out of reach then: nobody who knows them is left.
            os.kill(started.pop(), signal.SIGKILL)
            os.kill(worker, signal.SIGKILL)
        elif end == "cancelled":
            assert job.cancel()
        eventually(lambda: not any(runs(pid) for pid in started), f"the end of {started}, which the job has started")
        if end == "killed":  # and is started again
            eventually(lambda: json.loads((folder / "left").read_text())[0] != worker, "another start of the job")
            job.cancel()
        job.wait(DEADLINE)
        *_, apart = json.loads((folder / "left").read_text())
        eventually(lambda: not runs(apart), f"the end of {apart}, which the job has started")

    def test_each_job_has_a_process_of_its_own_if_that_is_asked_for(
        self, options: Mapping[str, Any], store_config: AnalyticsStoreConfig, tmp_path: Path, label: str
    ) -> None:
        if not self.promises.restores_processes:
            return
        pids = []
        with self.open({**options, "fresh_process": True}, store_config) as backend:
            for number in range(2):
                folder, name = tmp_path / f"{number}", f"{label}-{number}"
                config = LeaveConfig(folder=str(folder), changes=True, threads=True)
                self.leave(backend, config, name).result(DEADLINE)
                pid, found = self.look_around(backend, folder / "seen", name)
                assert found == []
                pids += [json.loads((folder / "left").read_text())[0], pid]
        assert len(set(pids)) == len(pids)
        eventually(lambda: not any(runs(pid) for pid in pids), "the end of each job's process")
