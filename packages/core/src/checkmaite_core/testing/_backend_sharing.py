"""Standard tests of a backend: what becomes of work that is equal to other work."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.backend import JobBackend
from checkmaite_core.errors import SubmissionError
from checkmaite_core.inputs import DatasetRef
from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.testing._backend_base import BackendTests, Parked
from checkmaite_core.testing._foreign import ForeignCapability
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Data, Raise, RaiseConfig, Write, WriteConfig, load_data, load_label

__all__ = ["SharingTests"]

_AT_ONCE = 8


class SharingTests(BackendTests, standard=True):
    """Adopted, reused and forced work. A backend that does not share jobs starts each anew."""

    def test_equal_work_that_runs_is_adopted_if_that_is_promised(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)
        work.wait_until_started()
        assert work.job.origin is JobOrigin.STARTED
        again = self.park_again(backend, work, name="the same, under another name")
        work.release()
        assert again.result(DEADLINE).run_uid == work.job.result(DEADLINE).run_uid
        if not self.promises.has_dedupe:
            assert (again.origin, again.job_id != work.job.job_id, work.starts) == (JobOrigin.STARTED, True, 2)
            return
        assert (again.origin, again.job_id, work.starts) == (JobOrigin.ADOPTED, work.job.job_id, 1)
        assert again.created_at == work.job.created_at
        assert again.origin_reason.startswith("adopted: same code (sha ")
        assert f"adopted, submitted {work.job.created_at:%Y-%m-%d %H:%M} UTC" in repr(again)
        assert "adopted" not in repr(work.job)
        assert again.name == work.job.name

    def test_equal_work_that_has_completed_is_reused_also_by_another_client_if_that_is_promised(
        self, backend: JobBackend, options: Mapping[str, Any], store_config: AnalyticsStoreConfig, label: str
    ) -> None:
        first = self.write(backend, label)
        reference = first.result(DEADLINE)
        with self.open(options, store_config) as other:
            again = self.write(other, label)
            assert again.result(DEADLINE).run_uid == reference.run_uid
            shared = self.promises.has_dedupe and self.promises.has_reattach
            assert again.origin is (JobOrigin.REUSED if shared else JobOrigin.STARTED)
            assert (again.job_id == first.job_id) is shared
            if shared:
                assert again.result(0) == reference
                assert "reused, submitted" in repr(again)
        assert len(self.rows(backend, label)) == 1

    def test_forced_work_starts_anew_and_its_numbers_win(self, backend: JobBackend, label: str) -> None:
        first = self.write(backend, label)
        reference = first.result(DEADLINE)
        forced = backend.submit_all([self.work(label)], force=True)[0]
        assert (forced.origin, forced.origin_reason) == (JobOrigin.STARTED, "started: force=True")
        assert "(started: force=True)" in repr(forced)
        assert forced.job_id != first.job_id
        assert forced.result(DEADLINE).run_uid == reference.run_uid
        assert [row["event_id"] for row in self.rows(backend, label)] == [forced.job_id]
        assert self.events_of_run(backend, reference.run_uid) == sorted([first.job_id, forced.job_id])
        later = self.write(backend, label)
        later.wait(DEADLINE)
        assert (later.job_id == forced.job_id) is self.promises.has_dedupe

    def test_work_that_has_completed_is_not_given_again_to_those_who_do_not_want_that(
        self, backend: JobBackend, label: str
    ) -> None:
        first = self.write(backend, label)
        first.result(DEADLINE)
        anew = backend.submit(**self.work(label), reuse=False)
        assert (anew.origin, anew.job_id != first.job_id) == (JobOrigin.STARTED, True)
        if self.promises.has_dedupe:
            assert anew.origin_reason == "started: reuse=False"
        assert backend.job(anew.job_id).origin_reason == anew.origin_reason
        anew.result(DEADLINE)
        assert [row["event_id"] for row in self.rows(backend, label)] == [anew.job_id]

    def test_work_that_runs_is_adopted_also_by_those_who_do_not_want_earlier_results(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path
    ) -> None:
        work = self.park(backend, parked, tmp_path)
        work.wait_until_started()
        again = self.park_again(backend, work, reuse=False)
        work.release()
        again.result(DEADLINE)
        assert (again.job_id == work.job.job_id) is self.promises.has_dedupe
        work.job.result(DEADLINE)

    def test_work_that_failed_or_was_cancelled_starts_anew(
        self, backend: JobBackend, parked: list[Parked], tmp_path: Path, label: str
    ) -> None:
        config = RaiseConfig(what="value")
        failed = backend.submit(Raise(), datasets=[Data(label)], config=config)
        assert failed.wait(DEADLINE) is JobStatus.FAILED
        again = backend.submit(Raise(), datasets=[Data(label)], config=config)
        assert again.origin is JobOrigin.STARTED
        assert again.job_id != failed.job_id
        if self.promises.has_dedupe:
            assert again.origin_reason == f"started: the equal job {failed.job_id} failed"
        assert again.wait(DEADLINE) is JobStatus.FAILED

        work = self.park(backend, parked, tmp_path, manner="cooperative")
        work.wait_until_started()
        assert work.job.cancel()
        assert work.job.wait(DEADLINE) is JobStatus.CANCELLED
        work.release()
        after = self.park_again(backend, work)
        assert after.origin is JobOrigin.STARTED
        if self.promises.has_dedupe:
            assert after.origin_reason == f"started: the equal job {work.job.job_id} was cancelled"
        assert after.result(DEADLINE).event_id == after.job_id != work.job.job_id
        assert work.starts == 2

    def test_other_work_is_never_shared(self, backend: JobBackend, label: str) -> None:
        jobs = [
            self.write(backend, label),
            self.write(backend, label, value=2.0),
            self.write(backend, f"{label}-other"),
            backend.submit(**self.work(label), report_threshold=0.75),
        ]
        assert len({job.job_id for job in jobs}) == len(jobs)
        assert {job.origin for job in jobs} == {JobOrigin.STARTED}
        assert all(job.origin_reason.startswith("started: ") for job in jobs)
        for job in jobs:
            job.result(DEADLINE)

    def test_a_model_that_was_trained_again_under_its_id_is_other_work_and_another_row(
        self, backend: JobBackend, label: str
    ) -> None:
        model = Data(label, 1.0)
        first = backend.submit(Write(), datasets=[model], config=WriteConfig())
        before = first.result(DEADLINE)
        model.value = 2.0  # in place: the same object, the same id
        second = backend.submit(Write(), datasets=[model], config=WriteConfig())
        after = second.result(DEADLINE)
        assert (second.origin, second.job_id != first.job_id) == (JobOrigin.STARTED, True)
        assert before.run_uid != after.run_uid
        assert [each.id for each in (*before.inputs, *after.inputs)] == [label, label]
        rows = {row["run_uid"]: row for row in self.rows(backend, label)}
        assert set(rows) == {before.run_uid, after.run_uid}
        shown = {
            row["run_uid"]: [each["digest"] for each in json.loads(str(row["inputs"]))]
            for row in rows_of(backend.store, "runs")
            if row["run_uid"] in rows
        }
        assert shown == {each.run_uid: [given.digest for given in each.inputs] for each in (before, after)}

        back = backend.submit(Write(), datasets=[Data(label, 1.0)], config=WriteConfig())
        assert back.result(DEADLINE).run_uid == before.run_uid
        assert (back.job_id == first.job_id) is self.promises.has_dedupe

    def test_two_inputs_of_one_id_in_a_group_are_two_jobs_and_two_rows(self, backend: JobBackend, label: str) -> None:
        works = [{**self.work(label), "datasets": [Data(label, value)]} for value in (1.0, 2.0, 1.0)]
        jobs = backend.submit_all(works)
        references = jobs.results(DEADLINE)
        assert jobs[0].origin is jobs[1].origin is JobOrigin.STARTED
        assert jobs[2].origin is (JobOrigin.ADOPTED if self.promises.has_dedupe else JobOrigin.STARTED)
        assert references[0].run_uid == references[2].run_uid != references[1].run_uid
        assert len({row["run_uid"] for row in self.rows(backend, label)}) == 2

    def test_two_inputs_of_one_id_in_one_work_are_refused_by_name(self, backend: JobBackend, label: str) -> None:
        work = {"capability": ForeignCapability(), "datasets": [Data(label, 1.0), Data(label, 2.0)]}
        with pytest.raises(
            SubmissionError, match=f"two different datasets of this work have the id '{label}'"
        ) as caught:
            backend.submit_all([work])
        assert "works[0]" in caught.value.message
        assert "own id" in str(caught.value.hint)

    def test_a_fingerprint_says_all_of_the_data(self, backend: JobBackend, label: str) -> None:
        def data(value: float, fingerprint: str) -> Data:
            made = Data(label, value)
            made.fingerprint = fingerprint  # type: ignore[attr-defined]
            return made

        given = [data(1.0, "epoch-1"), data(2.0, "epoch-1"), data(1.0, "epoch-2")]
        first, same, other = [backend.submit(Write(), datasets=[each], config=WriteConfig()) for each in given]
        uids = [job.result(DEADLINE).run_uid for job in (first, same, other)]
        assert uids[0] == uids[1] != uids[2]
        assert (same.job_id == first.job_id) is self.promises.has_dedupe
        assert other.job_id not in (first.job_id, same.job_id)

    def test_what_is_behind_a_reference_counts_where_that_can_be_told(
        self, backend: JobBackend, tmp_path: Path, label: str
    ) -> None:
        source = tmp_path / "data.txt"
        source.write_text(f"{label} 1.0")
        there = DatasetRef(id=label, uri=str(source), loader=load_data)
        nowhere = DatasetRef(id=label, uri=f"memory:{label}", loader=load_label)
        first = backend.submit(Write(), datasets=[there], config=WriteConfig())
        first.result(DEADLINE)
        same = backend.submit(Write(), datasets=[there], config=WriteConfig())
        same.result(DEADLINE)
        assert (same.job_id == first.job_id) is self.promises.has_dedupe
        source.write_text(f"{label} 2.0")
        changed = backend.submit(Write(), datasets=[there], config=WriteConfig())
        assert changed.job_id != first.job_id
        assert changed.result(DEADLINE).run_uid != first.result(0).run_uid
        jobs = [backend.submit(Write(), datasets=[nowhere], config=WriteConfig()) for _ in range(2)]
        assert len({job.job_id for job in jobs}) == 2
        if self.promises.has_dedupe:
            assert "cannot be told whether dataset" in jobs[1].origin_reason
        for job in jobs:
            job.result(DEADLINE)

    def test_equal_work_that_comes_from_many_threads_at_once_is_started_once_if_that_is_promised(
        self, backend: JobBackend, label: str
    ) -> None:
        together = threading.Barrier(_AT_ONCE)

        def submit() -> tuple[str, JobOrigin]:
            together.wait(DEADLINE)
            job = self.write(backend, label)
            job.result(DEADLINE)
            return job.job_id, job.origin

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            answers = [future.result() for future in [threads.submit(submit) for _ in range(_AT_ONCE)]]
        started = [job_id for job_id, origin in answers if origin is JobOrigin.STARTED]
        assert len(started) == len({job_id for job_id, _ in answers})
        assert len(started) == (1 if self.promises.has_dedupe else _AT_ONCE)
        assert len(self.rows(backend, label)) == 1
