"""The guard of the standard tests, tried on classes that do what it forbids; pytest runs them for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from checkmaite_core.testing import JobBackendSuite, ResultStoreSuite, StandardSuite, allow_override
from checkmaite_core.testing._standard import broken_standards

NAME = "test_a_job_is_found_by_its_id"
GUARD = "test_no_standard_test_is_overridden_or_deleted"


@pytest.mark.parametrize("suite", [JobBackendSuite, ResultStoreSuite])
def test_a_suite_knows_all_its_tests(suite: type[StandardSuite]) -> None:
    written = {name for name in dir(suite) if name.startswith("test_")}
    assert set(suite.standard_tests) == written
    assert len(written) > 20
    assert broken_standards(suite) == []


def test_a_subclass_may_add_tests_and_fixtures() -> None:
    class Mine(JobBackendSuite):
        def test_of_my_own(self) -> None: ...

        def options(self) -> None: ...  # type: ignore[override]

    class Below(Mine):
        def test_of_my_own(self) -> None: ...

    assert broken_standards(Mine) == broken_standards(Below) == []


def test_an_override_is_found_wherever_it_stands() -> None:
    class Direct(JobBackendSuite):
        def test_a_job_is_found_by_its_id(self) -> None: ...  # type: ignore[override]

    class Mixin:
        def test_a_job_is_found_by_its_id(self) -> None: ...

    class Mixed(Mixin, JobBackendSuite):  # type: ignore[misc]
        pass

    class Below(Direct):
        pass

    for kind in (Direct, Mixed, Below):
        assert broken_standards(kind) == [f"{NAME} is overridden"]


def test_a_deletion_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deleted(JobBackendSuite):
        test_a_job_is_found_by_its_id = None  # type: ignore[assignment]

    assert broken_standards(Deleted) == [f"{NAME} is deleted"]

    class Untouched(ResultStoreSuite):
        pass

    owner = next(base for base in ResultStoreSuite.__mro__ if "test_sql_joins_tables_if_there_is_sql" in vars(base))
    monkeypatch.delattr(owner, "test_sql_joins_tables_if_there_is_sql")
    assert broken_standards(Untouched) == ["test_sql_joins_tables_if_there_is_sql is deleted"]


@pytest.mark.parametrize("mark", [pytest.mark.skip, pytest.mark.skipif(True, reason="x"), pytest.mark.xfail])
def test_a_mark_that_takes_a_test_out_is_found(mark: pytest.MarkDecorator, monkeypatch: pytest.MonkeyPatch) -> None:
    class Marked(JobBackendSuite):
        pass

    monkeypatch.setattr(JobBackendSuite.test_a_job_is_found_by_its_id, "pytestmark", [mark.mark], raising=False)
    assert broken_standards(Marked) == [f"{NAME} is marked {mark.name}"]


def test_the_guard_itself_cannot_be_replaced() -> None:
    for namespace in ({GUARD: None}, {GUARD: lambda self, capsys: None}):
        with pytest.raises(TypeError, match="guard"):
            type("Sly", (JobBackendSuite,), namespace)


def test_an_allowed_override_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        allow_override(" ")

    class Honest(JobBackendSuite):
        @allow_override("ids are opaque here")
        def test_a_job_is_found_by_its_id(self) -> None: ...  # type: ignore[override]

    assert broken_standards(Honest) == []


MODULE = """
from checkmaite_core.testing import ResultStoreSuite, allow_override

class TestSly(ResultStoreSuite):
    test_a_run_without_records_is_an_entry_in_runs = None

    def test_a_commit_makes_all_rows_visible(self):
        pass

class TestHonest(ResultStoreSuite):
    @allow_override("this store speaks another language")
    def test_sql_joins_tables_if_there_is_sql(self):
        pass
"""


def test_pytest_fails_a_suite_that_was_tampered_with_and_prints_an_allowed_reason(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(MODULE)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider", "-k", GUARD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "1 failed, 1 passed" in result.stdout
    assert "test_a_commit_makes_all_rows_visible is overridden" in result.stdout
    assert "test_a_run_without_records_is_an_entry_in_runs is deleted" in result.stdout
    reason = "TestHonest.test_sql_joins_tables_if_there_is_sql replaces a standard test: this store speaks another"
    assert reason in result.stdout
