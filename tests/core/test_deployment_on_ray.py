"""Code that is edited between two jobs, on a real Ray whose processes run many jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.soak

CAPABILITY = """
from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record

class Level(Record, table_name="levels"):
    level: int

class Outputs(CapabilityOutputs):
    level: int

class Run(CapabilityRun[CapabilityConfig, Outputs]):
    def extract(self):
        return [Level(run_uid=self.run_uid, level=self.outputs.level)]

class Check(Capability[CapabilityConfig, Outputs]):
    config_class, run_class = CapabilityConfig, Run

    def evaluate(self, inputs, config):
        return Outputs(level={level})
"""
NOTEBOOK = """
import importlib, json, sys
from pathlib import Path
from checkmaite_core import configure_job_backend, shutdown_job_backend, submit_capability
import lighting_levels

project, store, runtime_env, capability = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
ends = []

def connect():
    options = {"address": "local", "num_cpus": 1, "runtime_env": runtime_env}
    configure_job_backend("ray-simple", analytics_store={"uri": store}, **options)

def edit(level):
    Path(project, "lighting_levels.py").write_text(capability.replace("{level}", str(level)))
    importlib.invalidate_caches()
    importlib.reload(lighting_levels)

def run():
    job = submit_capability(lighting_levels.Check())
    job.wait(60)
    ends.append((job.status.value, job.failure and job.failure.message))

connect()
run()
edit("20 + 2")
run()
shutdown_job_backend()
connect()
run()
shutdown_job_backend()
print(json.dumps(ends))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because Ray puts sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="cmr-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("overlay", ["none", "working_dir"])
def test_code_that_is_edited_is_not_run_as_it_was_before(folder: Path, overlay: str) -> None:
    project = folder / "project"
    project.mkdir()
    (project / "lighting_levels.py").write_text(CAPABILITY.replace("{level}", "1"))
    (project / "notebook.py").write_text(NOTEBOOK)
    runtime_env: dict[str, Any] = {} if overlay == "none" else {"working_dir": str(project)}
    done = subprocess.run(
        [sys.executable, "notebook.py", project, folder / "store", json.dumps(runtime_env), CAPABILITY],
        cwd=project,
        env={**os.environ, "HOME": str(folder), "RAY_TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (first, _), (edited, message), (connected_again, _) = json.loads(done.stdout.splitlines()[-1])
    assert (first, edited, connected_again) == ("COMPLETED", "FAILED", "COMPLETED")
    assert "lighting_levels defines the capability: another build, or loaded before it was edited" in message
    assert "configure_job_backend(...) again" in message
