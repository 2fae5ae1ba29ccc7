"""Standard tests of a backend: looking at the cluster before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import ConfigurationError, PreflightError
from checkmaite_core.inputs import DatasetRef
from checkmaite_core.job import JobStatus
from checkmaite_core.preflight import Check, PreflightReport
from checkmaite_core.testing._backend_base import BackendTests
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Write

__all__ = ["PreflightTests"]

_LOADER = "checkmaite_core.testing._workloads:load_data"


class PreflightTests(BackendTests, standard=True):
    """What a preflight looks at, and that it starts and leaves nothing."""

    def look(self, backend: JobBackend, *works: Any) -> PreflightReport | None:
        """Run one; None where it is refused, as it is by a backend that does not promise it."""
        if self.promises.has_preflight:
            return backend.preflight(*works, timeout=DEADLINE)
        with pytest.raises(ConfigurationError, match="preflight"):
            backend.preflight(*works, timeout=DEADLINE)
        return None

    @staticmethod
    def red(report: PreflightReport, section: str) -> list[Check]:
        """The errors of a section."""
        return [check for check in report.errors if check.section == section]

    def test_work_that_can_run_passes_preflight_and_is_not_started(self, backend: JobBackend, label: str) -> None:
        runs = len(rows_of(backend.store, "runs"))
        report = self.look(backend, self.work(label, name=label))
        if report is None:
            return
        assert report.exit_code == 0, report.table()
        assert {"code", "store", "resources"} <= {check.section for check in report.checks}
        assert list(backend.jobs(name=label)) == []
        assert len(rows_of(backend.store, "runs")) == runs

    def test_preflight_without_work_looks_at_the_store(self, backend: JobBackend) -> None:
        report = self.look(backend)
        if report is None:
            return
        assert report.exit_code == 0, report.table()
        places = {check.node for check in report.checks if check.section == "store" and check.level == "ok"}
        assert "client" in places
        assert len(places) > 1

    def test_preflight_finds_what_no_node_has_and_says_who_adds_it(self, backend: JobBackend, label: str) -> None:
        report = self.look(backend, {**self.work(label), "resources": {"custom": {"no-such-thing": 1}}})
        if report is None:
            return
        assert report.exit_code == 1
        (found,) = self.red(report, "resources")
        assert "no-such-thing" in found.found
        assert found.mender
        assert found.remedy

    def test_preflight_finds_an_input_that_is_not_there(self, backend: JobBackend, tmp_path: Path, label: str) -> None:
        there, absent = tmp_path / "there", tmp_path / "absent"
        there.write_text(f"{label} 1.0")
        works = [
            {"capability": Write(), "datasets": [DatasetRef(id=label, uri=str(path), loader=_LOADER)]}
            for path in (there, absent)
        ]
        report = self.look(backend, *works)
        if report is None:
            return
        assert {check.subject for check in self.red(report, "inputs")} == {str(absent)}
        assert all(check.mender and check.remedy for check in report.errors)
        assert not there.with_suffix(".loads").exists(), "the loader was run"

    def test_a_submission_with_preflight_is_started_when_nothing_is_red(self, backend: JobBackend, label: str) -> None:
        if not self.promises.has_preflight:
            with pytest.raises(ConfigurationError, match="preflight"):
                backend.submit(**self.work(label), preflight=True)
            return
        job = backend.submit(**self.work(label), preflight=True)
        job.wait(DEADLINE)
        assert job.status is JobStatus.COMPLETED

    def test_a_submission_with_preflight_is_refused_whole_when_something_is_red(
        self, backend: JobBackend, tmp_path: Path, label: str
    ) -> None:
        absent = DatasetRef(id=label, uri=str(tmp_path / "absent"), loader=_LOADER)
        works = [self.work(label, name=label), {"capability": Write(), "datasets": [absent], "name": label}]
        kind = PreflightError if self.promises.has_preflight else ConfigurationError
        with pytest.raises(kind) as refusal:
            backend.submit_all(works, preflight=True)
        if isinstance(refusal.value, PreflightError):
            assert str(tmp_path / "absent") in str(refusal.value)
            assert refusal.value.report.exit_code == 1
        assert list(backend.jobs(name=label)) == []
