"""``checkmaite deployment``: one command for client and image, and the nodes of a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from checkmaite_core.deployment import Environment, read_stamp
from checkmaite_core.testing import installed_plugins

Run = Callable[..., "subprocess.CompletedProcess[str]"]

BACKEND = '''
from pydantic import BaseModel
from checkmaite_core.backend import JobBackend
from checkmaite_core.deployment import NodeEnvironment, describe_environment

class Options(BaseModel):
    address: str
    version_skew: str = "error"

class Backend(JobBackend):
    """Has two nodes, of which one has an old Ray; a cluster with two images takes a minute to start."""

    closed = False
    job = jobs = _submit_all = None

    def __init__(self, options, store):
        super().__init__("nodes", store)
        assert options.version_skew == "ignore", "or connecting itself would refuse"
        self.address = options.address

    def environments(self):
        here = describe_environment(whole=True)
        old = here.model_copy(update={"versions": here.versions | {"ray": "2.1.0\\x1b[2J"}})
        return [NodeEnvironment("a", f"head of {self.address}", here), NodeEnvironment("b", "worker", old)]

    def shutdown(self, wait=True):
        print("shut down")

class Plugin:
    options = Options
    open = Backend

PLUGIN = Plugin()
'''


def test_a_client_is_stamped_shown_and_compared(run: Run, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("x")
    stamped = run("deployment", "stamp", "--lock", "uv.lock", "--prefix", ".", folder=tmp_path)
    stamp = read_stamp(tmp_path)
    assert stamp is not None
    assert (stamped.returncode, stamp.digest in stamped.stdout) == (0, True)
    assert "pydantic " in run("deployment", "show", folder=tmp_path).stdout
    shown = run("deployment", "show", "--json", folder=tmp_path)
    environment = Environment.model_validate_json(shown.stdout)
    (tmp_path / "here.json").write_text(shown.stdout)
    assert run("deployment", "diff", "here.json", folder=tmp_path).returncode == 0
    document = json.loads(shown.stdout) | {"python": "3.99.1"}
    (tmp_path / "image.json").write_text(json.dumps(document))
    differs = run("deployment", "diff", "here.json", "image.json", folder=tmp_path)
    assert differs.returncode == 1
    assert f"error  python        {environment.python}" in differs.stdout
    assert "uv venv --python 3.99" in differs.stdout


def test_every_node_of_a_cluster_is_compared(run: Run, tmp_path: Path) -> None:
    with installed_plugins({"checkmaite.job_backends": {"nodes": "backend_of_a_test:PLUGIN"}}) as plugins:
        (plugins / "backend_of_a_test.py").write_text(BACKEND)
        arguments = ("deployment", "diff", "--backend", "nodes", "--address", "10.0.0.1:6379")
        done = run(*arguments, folder=tmp_path, PYTHONPATH=str(plugins))
    assert done.returncode == 1, done.stderr
    assert "head of 10.0.0.1:6379: the same in all that matters" in done.stdout
    assert "worker: 1 error:" in done.stdout
    assert "shut down" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_profile_says_where_the_cluster_is_and_what_its_store_needs(run: Run, tmp_path: Path) -> None:
    with installed_plugins({"checkmaite.job_backends": {"nodes": "backend_of_a_test:PLUGIN"}}) as plugins:
        (plugins / "backend_of_a_test.py").write_text(BACKEND)
        (tmp_path / "checkmaite.toml").write_text(
            '[profiles.team-a]\nbackend = "nodes"\naddress = "from-the-profile"\n'
            '[profiles.team-a.analytics_store]\nuri = "s3://results"\n'
        )
        done = run("deployment", "diff", "--profile", "team-a", folder=tmp_path, PYTHONPATH=str(plugins))
    assert done.returncode == 1, done.stderr
    assert "head of from-the-profile: the same" in done.stdout


@pytest.mark.parametrize("arguments", [["a", "b", "c"], ["--address", "x", "--profile", "y"]])
def test_a_comparison_of_nothing_or_of_too_much_is_explained(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = run("deployment", "diff", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "name one or two files, or a cluster" in done.stderr


def test_what_could_not_be_compared_ends_with_2(run: Run, tmp_path: Path) -> None:
    missing = run("deployment", "diff", "nowhere.json", folder=tmp_path)
    assert (missing.returncode, "nowhere.json cannot be read" in missing.stderr) == (2, True)
    unknown = run("deployment", "diff", "--backend", "no-such", "--address", "x", folder=tmp_path)
    assert (unknown.returncode, "'no-such'" in unknown.stderr) == (2, True)


def test_help_says_what_the_commands_are_for(run: Run, tmp_path: Path) -> None:
    shown = run("deployment", "--help", folder=tmp_path)
    assert "..." not in shown.stdout.partition("Commands:")[2]
    assert all(f"\n  {command} " in shown.stdout for command in ("stamp", "show", "diff"))
    assert "\n  deployment  Stamp, show and compare environments" in run("--help", folder=tmp_path).stdout
