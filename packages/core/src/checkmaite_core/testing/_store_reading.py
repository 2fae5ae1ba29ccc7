"""Standard tests of a result store: queries and reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from checkmaite_core.errors import QueryError
from checkmaite_core.report import INLINE_REPORT_LIMIT, ArtifactReport, InlineTextReport
from checkmaite_core.store import ResultStore
from checkmaite_core.testing._bundles import Identified, make_bundle
from checkmaite_core.testing._store_base import StoreTests

__all__ = ["ReadingTests"]


class ReadingTests(StoreTests, standard=True):
    """Questions to a store."""

    def test_sql_joins_tables_if_there_is_sql(self, store: ResultStore) -> None:
        for number in (1, 2):
            tables = {"scores": [{"score": number / 2, "label": "a"}, {"score": 0.0, "label": "b"}]}
            store.commit(make_bundle(store, f"job-{number}", f"run-{number}", tables))
        question = """
            SELECT r.event_id, max(s.score) AS best, count(*) AS n
            FROM scores s JOIN runs r ON r.run_uid = s.run_uid GROUP BY ALL ORDER BY best
        """
        if not self.promises.has_sql:
            with pytest.raises(QueryError):
                store.query(question)
            return
        expected = [{"event_id": "job-1", "best": 0.5, "n": 2}, {"event_id": "job-2", "best": 1.0, "n": 2}]
        assert store.query(question).to_pylist() == expected

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO scores VALUES ('run-9', 1.0)",
            "DELETE FROM scores",
            "UPDATE runs SET user_id = 'eve'",
            "DROP TABLE scores",
            "CREATE TABLE mine AS SELECT 1",
            "COPY (SELECT 1) TO '{folder}/out.csv'",
            "ATTACH '{folder}/out.db' AS other",
            "SELECT 1; DROP TABLE scores",
            "EXPORT DATABASE '{folder}/out'",
        ],
    )
    def test_a_query_changes_nothing(self, store: ResultStore, sql: str, tmp_path: Path) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        folder = tmp_path / "outside"
        folder.mkdir()
        with pytest.raises(QueryError):
            store.query(sql.format(folder=folder))
        assert list(folder.iterdir()) == []
        assert self.column(store, "scores", "score") == [0.5]
        assert self.events(store) == ["job-1"]

    @pytest.mark.parametrize("sql", ["SELEKT 1", "SELECT * FROM no_such_table", "SELECT no_such_column FROM runs", ""])
    def test_sql_that_cannot_be_answered_is_an_error_of_ours(self, store: ResultStore, sql: str) -> None:
        with pytest.raises(QueryError):
            store.query(sql)

    @pytest.mark.parametrize("size", [10, INLINE_REPORT_LIMIT + 1])
    def test_a_direct_write_keeps_the_report_of_the_run_small_or_large(self, store: ResultStore, size: int) -> None:
        text = "accepted from {threshold} on\n" + "x" * size
        reference = store.write(Identified("run-1", [], text), report_threshold=0.75).reference
        assert store.read_report(reference) == text.format(threshold=0.75)
        assert isinstance(reference.report, InlineTextReport if size == 10 else ArtifactReport)

    def test_a_report_is_read_back_wherever_it_lies(self, store: ResultStore) -> None:
        bundle = make_bundle(store, "job-1", "run-1", {})
        reference = bundle.reference
        assert store.read_report(reference) is None
        text = "# Report\n" + "é漢" * 300_000
        inline = InlineTextReport(filename="report.md", content=text)
        assert store.read_report(reference.model_copy(update={"report": inline})) == text
        artifact = store.put_report("job-1", inline)
        assert (artifact.media_type, artifact.filename) == ("text/markdown", "report.md")
        assert artifact.size == len(text.encode())
        assert store.put_report("job-1", inline) == artifact  # a retry of the job
        committed = reference.model_copy(update={"report": artifact})
        store.commit(replace(bundle, reference=committed))
        again = store.settle("job-1")
        assert again == committed
        assert store.read_report(again) == text

    def test_reports_of_two_events_do_not_meet(self, store: ResultStore) -> None:
        reference = make_bundle(store, "job-1", "run-1", {}).reference
        found = {}
        for event in ("job-1", "job-2"):
            artifact = store.put_report(event, InlineTextReport(content=f"# {event}"))
            assert isinstance(artifact, ArtifactReport)
            found[event] = store.read_report(reference.model_copy(update={"report": artifact}))
        assert found == {"job-1": "# job-1", "job-2": "# job-2"}

    def test_files_are_only_promised_after_a_fold(self, store: ResultStore) -> None:
        store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]}))
        assert all(isinstance(name, str) for name in store.files("scores"))
