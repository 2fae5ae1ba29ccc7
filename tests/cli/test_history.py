"""The history and the reports."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import InlineTextReport, Provenance, Record
from checkmaite_core.report import INLINE_REPORT_LIMIT, Report
from checkmaite_core.run import bundle_run

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Score(Record, table_name="scores"):
    value: float


class Evaluation:
    """A run of a capability that is not ours."""

    capability_id = "package.module.Evaluation"
    metric_metadata: tuple[Any, ...] = ()

    def __init__(self, run_uid: str, model: str) -> None:
        self.run_uid = run_uid
        self.model_metadata = ({"id": model},)
        self.dataset_metadata = ({"id": "digits"},)

    def extract(self) -> list[Record]:
        return [Score(run_uid=self.run_uid, value=0.5)]


def commit(store: AnalyticsStore, event_id: str, run_uid: str, model: str, report: Report | None = None) -> None:
    run = Evaluation(run_uid, model)
    store.commit(bundle_run(run, event_id=event_id, provenance=Provenance(), store_uri=store.uri, report=report))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    large = InlineTextReport(content="# Large\n" + "x" * INLINE_REPORT_LIMIT)
    # Their ids are in the order of their commits, which may share one tick of the file system's clock.
    with AnalyticsStore(folder / "results") as store:
        commit(store, "event-a-1", "run-a", "model-a", InlineTextReport(content="# First\nof a\x1b[31m"))
        commit(store, "event-a-2", "run-a", "model-a", InlineTextReport(content="# Second\n\n| a | b |\n"))
        store.fold()
        commit(store, "event-b", "run-b", "model-b", store.put_report("event-b", large))
        commit(store, "event-bcd", "run-d", "model-d")
        commit(store, "event-c", "run-c", "model-c")
    return folder


@pytest.fixture
def ask(run: Run, folder: Path) -> Run:
    def ask(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(command, *arguments, "--store", "results", folder=folder)

    return ask


def test_the_history_is_newest_first_and_says_what_has_been_replaced(ask: Run) -> None:
    result = ask("runs")
    assert result.returncode == 0
    rows = [" ".join(line.split()[2:]) for line in result.stdout.splitlines()[2:]]
    assert rows == [
        "event-c Evaluation: model-c on digits",
        "event-bcd Evaluation: model-d on digits",
        "event-b Evaluation: model-b on digits",
        "event-a-2 Evaluation: model-a on digits",
        "event-a-1 Evaluation: model-a on digits (since replaced)",
        "",
    ]
    assert result.stdout.splitlines()[-1] == "5 runs"


def test_a_long_history_says_what_it_leaves_out(ask: Run) -> None:
    assert ask("runs", "--limit", "1").stdout.splitlines()[-1] == "the newest 1 of 5 runs; --limit 5 shows all"


def test_every_id_in_the_history_names_one_event(ask: Run) -> None:
    shown = [line.split()[2] for line in ask("runs").stdout.splitlines()[2:-1]]
    assert len(set(shown)) == 5
    assert ask("report", shown[4]).stdout.startswith("# First")


def test_a_report_is_printed_as_markdown_without_terminal_codes(ask: Run) -> None:
    assert ask("report", "event-a-1").stdout == "# First\nof a\\x1b[31m\n"


def test_the_report_of_a_run_is_its_newest_one(ask: Run) -> None:
    for name in ("run-a", "event-a-2", "event-a"):
        assert ask("report", name).stdout == "# Second\n\n| a | b |\n"


def test_an_id_in_whole_is_not_taken_for_the_beginning_of_another(ask: Run) -> None:
    assert ask("report", "event-b").returncode == 0


def test_a_report_that_is_an_object_of_its_own_is_printed_as_well(ask: Run) -> None:
    result = ask("report", "event-b")
    assert result.stdout.startswith("# Large\nxxx")
    assert len(result.stdout) > INLINE_REPORT_LIMIT


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("event-x", "has no run whose event_id or run_uid begins with 'event-x'"),
        ("event", "4 runs in results have an id that begins with 'event'"),
        ("event-c", "event 'event-c' in results has no report"),
        ("x' OR 'a'='a", "cannot be used as a key"),
    ],
)
def test_a_report_that_cannot_be_found_is_explained(ask: Run, wanted: str, said: str) -> None:
    result = ask("report", wanted)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 2
