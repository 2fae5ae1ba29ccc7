"""What became of jobs, read from their ledger: no Ray runs here, and none is imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from checkmaite_cli.app import Status
from checkmaite_core import CapabilityRunRef, InlineTextReport, JobStatus
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.outcome import Outcome
from checkmaite_ledger import LedgerWriter
from checkmaite_ledger.directory import Change
from checkmaite_ledger.events import Accepted, Adopted, Began, CancelRequested, Ended, Event, Started
from checkmaite_ledger.records import JobRecord, accept, evolve
from checkmaite_storage import open_object_store

Run = Callable[..., "subprocess.CompletedProcess[str]"]
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
DONE, FAILED, CANCELLED, RUNNING, WAITING = (f"job-0000000000a{n}-{n}{n}{n}{n}" for n in range(5))


def accepted(job_id: str, minute: int, name: str) -> Accepted:
    return Accepted(
        job_id=job_id,
        at=NOON + 60 * minute,
        name=name,
        capability_id="package.module.Evaluation",
        run_key=None,
        client="ada@laptop",
        submitted_at=NOON + 60 * minute,
        shape="one",
        demand={"CPU": 1.0, "GPU": 0.5},
        store_uri="file:///results",
        stored=False,
    )


def started(job_id: str, attempt: int = 1, cause: str = "") -> list[Event]:
    return [
        Started(job_id, NOON, attempt, "c0", "i0", cause),
        Began(job_id, NOON + 1, attempt, f"process {attempt} on node n1"),
    ]


def ended(job_id: str, outcome: Outcome) -> Ended:
    return Ended(job_id, NOON + 100, str(outcome.status), outcome.model_dump_json())


def when(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOON + seconds, UTC)


COMPLETED = Outcome(
    status=JobStatus.COMPLETED,
    reference=CapabilityRunRef(
        event_id=DONE,
        run_uid="run-a",
        capability_id="package.module.Evaluation",
        store_uri="file:///results",
        tables={"scores": 3},
        dataset_ids=("digits",),
        model_ids=("resnet",),
        report=InlineTextReport(content="# All is well\x1b[31m\n"),
        created_at=when(2.5),
    ),
    started_at=when(1),
    finished_at=when(3.5),
)
BROKEN = Outcome(
    status=JobStatus.FAILED,
    failure=FailureRecord(
        kind=FailureKind.USER_CODE,
        error_type="builtins.ValueError",
        message="told to fail\x1b[31m\nand a second line",
        traceback='Traceback (most recent call last):\n  File "x.py", line 3, in evaluate\nValueError: told to fail',
        attempts=2,
    ),
    started_at=when(10),
    finished_at=when(100),
)
STOPPED = Outcome(
    status=JobStatus.CANCELLED,
    failure=FailureRecord(kind=FailureKind.CANCELLED, error_type="CancelledError", message="it was cancelled"),
    finished_at=when(50),
)

EVENTS: list[Event] = [
    accepted(DONE, 0, "first"),
    *started(DONE),
    ended(DONE, COMPLETED),
    Adopted(DONE, NOON, "bob@desk", "job-other"),
    accepted(FAILED, 1, "second"),
    *started(FAILED),
    *started(FAILED, 2, "worker"),
    ended(FAILED, BROKEN),
    accepted(CANCELLED, 2, "third"),
    CancelRequested(CANCELLED, NOON + 40, "ada@laptop"),
    ended(CANCELLED, STOPPED),
    accepted(RUNNING, 3, "fourth"),
    *started(RUNNING),
    accepted(WAITING, 4, "fifth"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ledgers of two scopes in it."""
    folder = tmp_path_factory.mktemp("work")
    objects = open_object_store(str(folder / "results"))
    records: dict[str, JobRecord] = {}
    changes = []
    for event in EVENTS:
        accepts = isinstance(event, Accepted)
        record = accept(event, len(records)) if accepts else evolve(records[event.job_id], event)  # type: ignore[arg-type]
        records[event.job_id] = record
        changes.append(Change(event, record))
    LedgerWriter.claim(objects, "team-a", {"address": "10.0.0.7:6379"}, after=0).append(changes, {})
    LedgerWriter.claim(objects, "team-b", {}, after=0)
    return folder


@pytest.fixture
def ask(run: Run, folder: Path) -> Run:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("jobs", *arguments, "--store", "results", "--scope", "team-a", folder=folder)

    return ask


def test_the_list_is_newest_first_and_says_in_one_line_why_a_job_failed(ask: Run) -> None:
    result = ask("list")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    rows = [re.split(r"\s{2,}", line) for line in lines[2:8]]
    assert [row[1:] for row in rows] == [
        ["PENDING", "2026-11-24 12:04", "-", "0", "fifth"],
        ["RUNNING", "2026-11-24 12:03", "-", "1", "fourth"],
        ["CANCELLED", "2026-11-24 12:02", "-", "0", "third"],
        ["FAILED", "2026-11-24 12:01", "1.5 min", "2", "second"],
        ["ValueError: told to fail\\x1b[31m"],
        ["COMPLETED", "2026-11-24 12:00", "2.5 s", "1", "first"],
    ]
    assert lines[8] == "5 jobs"


@pytest.mark.parametrize("option", ["--store", "--ledger"])
def test_the_ledger_is_found_by_any_spelling_of_its_place(run: Run, folder: Path, option: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    place = str(folder.resolve() / "results")
    for spelling in (
        "results/",
        "./x/../results",
        place,
        f"/{place}/.",
        f"{tmp_path}/link/results",
        f"FILE://{place}/",
    ):
        result = run("jobs", "list", option, spelling, "--scope", "team-a", "--json", folder=folder)
        assert result.returncode == 0, result.stderr
        assert len(json.loads(result.stdout)["jobs"]) == 5
        refused = run("jobs", "list", option, spelling, "--scope", "team-c", folder=folder)
        assert f"the ledger at {place} has no scope 'team-c'" in " ".join(refused.stderr.split())


def test_of_jobs_that_have_not_ended_it_says_that_the_ledger_cannot_know(ask: Run) -> None:
    note = "2 jobs have not ended as far as the ledger knows. It cannot tell whether the cluster at 10.0.0.7:6379 "
    assert note in ask("list").stdout
    assert "1 job has not ended as far as the ledger knows" in ask("show", RUNNING).stdout
    assert "as far as the ledger knows" not in ask("list", "--status", "failed").stdout
    assert "as far as the ledger knows" not in ask("show", DONE).stdout


def test_every_id_in_the_list_names_one_job(ask: Run) -> None:
    shown = re.findall(r"^job-\S+", ask("list").stdout, flags=re.MULTILINE)
    assert len(set(shown)) == 5
    assert ask("show", shown[0]).stdout.splitlines()[1].split() == ["Name", "fifth"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--status", "completed"], ["first"]),
        (["--name", "third"], ["third"]),
        (["--since", "2026-11-24T12:03"], ["fifth", "fourth"]),
        (["--since", "2026-11-24T14:03:00+0200"], ["fifth", "fourth"]),
        (["--since", "2026-11-25"], []),
    ],
)
def test_a_list_is_filtered_by_what_was_asked_for(ask: Run, filters: list[str], names: list[str]) -> None:
    answer = json.loads(ask("list", "--json", *filters).stdout)
    assert [job["name"] for job in answer["jobs"]] == names


def test_a_list_goes_on_where_the_one_before_ended(ask: Run) -> None:
    first = ask("list", "--limit", "3")
    cursor = re.search(r"--cursor (\d+) shows those before", first.stdout)
    assert cursor
    rest = json.loads(ask("list", "--json", "--cursor", cursor[1]).stdout)
    assert ([job["name"] for job in rest["jobs"]], rest["next_cursor"]) == (["second", "first"], None)
    assert json.loads(ask("list", "--limit", "3", "--json").stdout)["next_cursor"] == cursor[1]


def test_what_a_completed_job_left_is_shown_with_its_report(ask: Run) -> None:
    result = ask("show", DONE)
    facts = {line[:16].strip(): line[16:] for line in result.stdout.splitlines()}
    assert facts["Submitted"] == "2026-11-24 12:00:00 UTC by ada@laptop"
    assert facts["Shared"] == "given to 1 more submission of equal work"
    assert facts["Ended"].endswith("took 2.5 s")
    assert facts["Last began"] == "2026-11-24 12:00:01 UTC at process 1 on node n1"
    assert (facts["Run"], facts["Tables"], facts["Store"]) == ("run-a", "scores (3 rows)", "file:///results")
    assert facts["Asked for"] == "1 CPU, 0.5 GPU"
    assert result.stdout.endswith("Report\n# All is well\\x1b[31m\n")


def test_what_a_failed_job_said_is_shown_with_its_traceback_and_its_starts(ask: Run) -> None:
    shown = ask("show", FAILED).stdout
    assert re.search(r"^Starts +2, again after worker$", shown, flags=re.MULTILINE)
    assert re.search(r"^Failure +user_code: ValueError$", shown, flags=re.MULTILINE)
    assert "told to fail\\x1b[31m\nand a second line\n" in shown
    assert shown.endswith('  File "x.py", line 3, in evaluate\nValueError: told to fail\n')


def test_other_programs_get_everything_as_json(ask: Run) -> None:
    job = json.loads(ask("show", FAILED, "--json").stdout)
    assert (job["job_id"], job["status"], job["starts"], job["took_seconds"]) == (FAILED, "FAILED", 2, 90.0)
    assert job["submitted_at"] == "2026-11-24 12:01:00Z"
    assert job["failure"]["traceback"].startswith("Traceback")
    done = json.loads(ask("show", DONE, "--json").stdout)
    assert done["report"] == "# All is well\x1b[31m\n"
    assert done["reference"]["tables"] == {"scores": 3}
    assert json.loads(ask("show", WAITING, "--json").stdout)["ended_at"] is None


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ([], "where the ledger lies was not said", "--store URI"),
        (["--store", "results"], "the scopes there are team-a, team-b", "--scope team-a"),
        (["--store", "results", "--scope", "team"], "no scope 'team'; the scopes there are team-a, team-b", "--scope"),
        (["--store", "resluts", "--scope", "team-a"], "there is no ledger of jobs at", "ray-simple"),
        (["--ledger", "results", "--scope", "team-c"], "no scope 'team-c'", "idempotency_scope"),
        (["--store", "results", "--scope", "team-a", "--cursor", "x"], "'x' is not a cursor", "--cursor"),
    ],
)
def test_a_ledger_that_cannot_be_found_is_explained(
    run: Run, folder: Path, options: list[str], said: str, hint: str
) -> None:
    result = run("jobs", "list", *options, folder=folder)
    assert (result.returncode, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert said in first
    assert hint in second
    assert [path.name for path in folder.iterdir()] == ["results"]


@pytest.mark.parametrize(("wanted", "said"), [("job-9", "no job has an id"), ("job-0", "5 jobs have an id")])
def test_a_job_that_cannot_be_found_is_explained(ask: Run, wanted: str, said: str) -> None:
    result = ask("show", wanted)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr
    assert "checkmaite jobs list --store results --scope team-a" in result.stderr


def test_a_ledger_elsewhere_is_read_there(run: Run, folder: Path) -> None:
    result = run("jobs", "list", "--ledger", "results", "--scope", "team-b", folder=folder)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "0 jobs")


def test_no_ray_is_needed(folder: Path) -> None:
    program = """
import sys
sys.modules["ray"] = None
sys.argv = ["checkmaite", "jobs", "list", "--store", "results", "--scope", "team-a", "--json"]
from checkmaite_cli.main import main
main()
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(json.loads(result.stdout)["jobs"]) == 5


def test_every_status_of_a_job_can_be_asked_for() -> None:
    assert [status.value for status in Status] == [status.value for status in JobStatus]
