"""A preflight by the command. The cluster is the backend of threads: what is tested is what the command makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from checkmaite_cli.app import app
from checkmaite_core.testing import installed_plugins

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Invoke = Callable[..., Result]

JOBS = """
from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, DatasetRef, Work

class Count(Capability):
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs, config):
        return CapabilityOutputs()

there = Work(capability=Count(), datasets=[DatasetRef(id="a", uri=__file__, loader="jobs:load")])
absent = Work(capability=Count(), datasets=[DatasetRef(id="b", uri="/no/such/file", loader="jobs:load")])
both = [there, absent]

def nightly():
    return [there]

def broken():
    raise KeyError("TOKEN")

def load(uri):
    return uri
"""


@pytest.fixture(scope="module")
def plugins() -> Iterator[str]:
    with installed_plugins() as folder:
        yield str(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module of jobs."""
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("jobs", None)


@pytest.fixture
def preflight(here: Path, plugins: str) -> Invoke:
    """Run the command in this process; most of its time as a process of its own goes into starting Python."""

    def preflight(*arguments: str, store: bool = True, backend: str = "threads") -> Result:
        where = ("--store", "./results") if store else ()
        command = ["preflight", "--backend", backend, *where, *arguments]
        return CliRunner().invoke(app, command, env={"COLUMNS": "80"})

    return preflight


def test_a_cluster_that_is_in_order_ends_with_0_and_leaves_nothing_behind(run: Run, here: Path, plugins: str) -> None:
    command = ("preflight", "--backend", "threads", "--store", "./results", "--work", "jobs:nightly")
    done = run(*command, folder=here, PYTHONPATH=plugins, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("Preflight of threads at this process, results to")
    assert "jobs.Count: unpickled" in done.stdout
    assert [path for path in here.rglob("*") if path.is_file() and "results" in path.parts] == []


def test_a_cluster_that_cannot_be_reached_ends_with_2(run: Run, here: Path) -> None:
    command = ("preflight", "--backend", "ray-simple", "--store", "./results", "--address", "127.0.0.1:9")
    done = run(*command, folder=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert "127.0.0.1:9" in done.stderr


def test_what_is_red_ends_with_1_and_says_what_to_do(preflight: Invoke) -> None:
    done = preflight("--work", "jobs:both")
    assert done.exit_code == 1
    assert "/no/such/file: it is not there" in done.stdout
    assert "-> your side: check the location" in done.stdout
    assert done.stdout.rstrip().endswith("To be mended: your side (1).")


def test_json_holds_every_check_and_the_exit_status(preflight: Invoke) -> None:
    done = preflight("--work", "jobs:absent", "--json")
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.exit_code == 1
    (found,) = [check for check in document["checks"] if check["level"] == "error"]
    assert (found["section"], found["subject"], found["mender"]) == ("inputs", "/no/such/file", "client")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--work", "jobs"), "not of the form MODULE:NAME"),
        (("--work", "jobs:absent_too"), "AttributeError"),
        (("--work", "jobs:broken"), "KeyError: 'TOKEN'"),
        (("--option", "slots=many"), "not of the form NAME=JSON"),
        (("--option", "slot=1"), "Did you mean 'slots'?"),
    ],
)
def test_what_cannot_be_understood_ends_with_2_and_a_hint(
    preflight: Invoke, arguments: tuple[str, ...], said: str
) -> None:
    done = preflight(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_of_the_backend_counts(preflight: Invoke) -> None:
    done = preflight("--work", "jobs:there", "--option", "slots=7")
    assert "7 times when idle" in done.stdout


def test_without_a_store_it_asks_for_one(preflight: Invoke) -> None:
    done = preflight(store=False)
    assert (done.exit_code, "Add --store URI" in done.stderr) == (2, True)


def test_the_backend_ray_is_asked_for_its_scope_before_anything_is_started(preflight: Invoke) -> None:
    done = preflight(backend="ray")
    assert (done.exit_code, "Add --scope SCOPE" in done.stderr) == (2, True)


def test_a_profile_names_backend_options_and_store(here: Path, plugins: str) -> None:
    (here / "checkmaite.toml").write_text(
        '[profiles.desk]\nbackend = "threads"\nslots = 3\n[profiles.desk.analytics_store]\nuri = "./results"\n'
    )
    done = CliRunner().invoke(app, ["preflight", "--profile", "desk", "--work", "jobs:there"])
    assert done.exit_code == 0, done
    assert "3 times when idle" in done.stdout
