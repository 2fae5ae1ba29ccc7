"""What a job really used is in its outcome, and its key is uncertain where it does not cover that."""

from __future__ import annotations

import builtins
import importlib
import pickle
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkmaite_core import AnalyticsStoreConfig, JobStatus
from checkmaite_core.code import loaded, recording
from checkmaite_core.context import RunMonitor
from checkmaite_core.execution import execute
from checkmaite_core.outcome import Outcome
from checkmaite_core.submission import prepare_submission
from checkmaite_core.testing import installed_plugins

STORE = AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")
WORK = """
import json, os, pathlib, sys, importlib
from checkmaite_core.testing._bundles import Identified, make_record
HERE = pathlib.Path(__file__).parent

class Own:
    id = "own"
    def __init__(self, given=None):
        self.given = given
    def run(self, **_):
        return Identified("run-1", [make_record("scores", "run-1", score=float(self.score()))])
    def score(self):
"""


class Idle(RunMonitor):
    """Nobody watches."""

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return False


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the body of a method in this process, which then is a warm worker's."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for each in (recording._process.imports, recording._process.reads, recording._process.first_party):
        each.clear()
    for each in (recording._process.written, loaded._loaded, loaded._before_loading):
        each.clear()
    before = set(sys.modules)

    def ran(body: str, given: object = None, **files: str) -> Outcome:
        for name, text in {"rec_work.py": WORK + f"        {body}\n", **files}.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        if "rec_work" in sys.modules:
            importlib.reload(sys.modules["rec_work"])
        work = {"capability": importlib.import_module("rec_work").Own(given)}
        submission = prepare_submission(work, backend="test", store=STORE)
        outcome = execute(submission.order, submission.pickle(pickle.dumps), loads=pickle.loads, monitor=Idle())
        assert isinstance(outcome, Outcome)
        assert outcome.status is JobStatus.COMPLETED, outcome.failure
        return outcome

    with installed_plugins():
        yield ran
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_what_its_key_covers_is_told_and_is_not_uncertain(run: Run) -> None:
    outcome = run(
        "import rec_lazy; return rec_lazy.N + len((HERE / 'labels.txt').read_text())",
        **{"rec_lazy.py": "N = 1\n", "labels.txt": "abc"},
    )
    assert outcome.key_uncertain is None
    assert "rec_lazy" in outcome.imported
    assert outcome.read == ("labels.txt",)


def test_a_module_that_no_look_at_the_code_can_foresee_makes_the_key_uncertain_in_a_warm_process_too(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "rec_plugin.py").write_text("N = 1\n")
    sys.path.append(str(tmp_path / "elsewhere"))
    body = "return importlib.import_module(self.given.lower()).N"
    for _ in range(2):
        outcome = run(body, given="REC_PLUGIN")
        assert outcome.key_uncertain == "it imported rec_plugin, which its run key does not cover"


def test_what_a_module_imported_when_an_earlier_job_loaded_it_counts_for_the_next(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "rec_plugin.py").write_text("N = 1\n")
    sys.path.append(str(tmp_path / "elsewhere"))
    loads = "import importlib\nplugin = importlib.import_module('REC_PLUGIN'.lower())\n"
    for _ in range(2):  # the second time rec_loads is loaded
        outcome = run("import rec_loads; return rec_loads.plugin.N", **{"rec_loads.py": loads})
        assert outcome.key_uncertain == "it imported rec_plugin, which its run key does not cover"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return len((HERE / self.given.lower()).read_text())", "labels.txt"),
        ("file = open(os.path.join(HERE, self.given.lower())); file.close(); return 1", "labels.txt"),
        ("return os.open(str(HERE / self.given.lower()), os.O_RDONLY) > 0", "labels.txt"),
        ("exec((HERE / self.given.lower()).read_text()); return 1", "code.py"),
        ("import subprocess; subprocess.run([sys.executable, str(HERE / self.given.lower())]); return 1", "code.py"),
    ],
    ids=["pathlib", "open", "os.open", "exec", "subprocess"],
)
def test_a_file_whose_name_is_not_in_the_code_makes_the_key_uncertain(run: Run, body: str, names: str) -> None:
    outcome = run(body, given=names.upper(), **{"labels.txt": "abc", "code.py": "pass\n"})
    assert outcome.key_uncertain == f"it read {names}, which its run key does not cover"


def test_a_file_that_was_read_when_a_module_was_loaded_counts_for_the_next_job(run: Run) -> None:
    table = "import pathlib\nTABLE = (pathlib.Path(__file__).parent / 'LABELS.TXT'.lower()).read_text()\n"
    for _ in range(2):
        outcome = run("import rec_table; return len(rec_table.TABLE)", **{"rec_table.py": table, "labels.txt": "abc"})
        assert outcome.key_uncertain == "it read labels.txt, which its run key does not cover"


def test_what_a_job_writes_and_reads_again_and_what_lies_elsewhere_counts_for_nothing(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data.txt"
    elsewhere.write_text("abc")
    outcome = run(
        "p = HERE / ('SCRATCH'.lower()); p.write_text('x'); p.read_text(); "
        "return len(pathlib.Path(self.given).read_text())",
        given=str(elsewhere),
    )
    assert (outcome.key_uncertain, outcome.read) == (None, ())


def test_nothing_of_it_stays_when_no_job_runs(run: Run) -> None:
    before = builtins.__import__
    run("return 1")
    assert builtins.__import__ is before
    assert recording._bootstrap._gcd_import is not recording._imported_by_text
    seen = {name: set(reads) for name, reads in recording._process.reads.items()}
    Path("after.txt").write_text("x")
    Path("after.txt").read_text()
    assert {name: set(reads) for name, reads in recording._process.reads.items()} == seen


def test_imports_work_as_ever_while_they_are_recorded(run: Run) -> None:
    body = (
        "import xml.dom as d; from os import path; m = __import__('json', globals=globals(), fromlist=['decoder']); "
        "n = __import__('xml.dom'); return (d.__name__, path is os.path, m is json, n.__name__) "
        "== ('xml.dom', True, True, 'xml')"
    )
    assert run(body).status is JobStatus.COMPLETED
    with pytest.raises(AssertionError, match="No module named"):
        run("import rec_none")
