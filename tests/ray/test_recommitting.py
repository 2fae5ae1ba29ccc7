"""What a failed job had computed is stored after all: by its notebook, with a mended cell, and from a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkmaite_analytics_store import AnalyticsStore

CAPABILITY = """
from pathlib import Path

from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record


class Score(Record, table_name="scores"):
    where: str
    value: float


class Outputs(CapabilityOutputs):
    value: float


class {name}Run(CapabilityRun[CapabilityConfig, Outputs]):
    def extract(self):
        return [Score(run_uid=self.run_uid, where="{name}", value=self.outputs.{attribute})]


class {name}(Capability[CapabilityConfig, Outputs]):
    run_class = {name}Run

    def evaluate(self, inputs, config):
        with Path({marks!r}).open("a") as marks:
            marks.write("{name}\\n")
        return Outputs(value=0.75)
"""
SCRIPT = """
import sys

from checkmaite_core import JobStatus, configure_job_backend

backend = configure_job_backend(
    "ray", address="local", idempotency_scope="team", num_cpus=2, stage_after_s=0, analytics_store={{"uri": {store!r}}}
)
import modular

lost = backend.submit(modular.Modular())
{broken}
job = backend.submit(Cell())
assert job.wait(60) is JobStatus.FAILED, job
assert "valeu" in job.failure.message, job.failure
assert job.failure.recoverable
assert sorted(job.failure.staged.classes) == ["__main__:CellRun", "__main__:Outputs"], job.failure.staged
# The cell is mended, and run again.
{mended}
again = job.recommit()
again.result(60)
assert again.recovers == job.job_id
assert lost.wait(60) is JobStatus.FAILED
assert lost.failure.recoverable
print("LOST", lost.job_id)
"""


@pytest.mark.timeout(240)
def test_a_mended_cell_and_a_mended_module_store_what_was_computed_once(tmp_path: Path) -> None:
    marks, store = tmp_path / "marks", tmp_path / "store"

    def source(name: str, attribute: str) -> str:
        return CAPABILITY.format(name=name, attribute=attribute, marks=str(marks))

    (tmp_path / "modular.py").write_text(source("Modular", "valeu"))
    script = SCRIPT.format(store=str(store), broken=source("Cell", "valeu"), mended=source("Cell", "value"))
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    lost = told.stdout.split("LOST ")[1].split()[0]
    # The notebook and its cluster are gone.
    (tmp_path / "modular.py").write_text(source("Modular", "value"))
    checkmaite = str(Path(sys.executable).with_name("checkmaite"))
    options = ["--store", str(store), "--scope", "team"]
    shown = subprocess.run(
        [checkmaite, "jobs", "show", lost, *options], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"checkmaite jobs recommit {lost}" in shown.stdout
    done = subprocess.run(
        [checkmaite, "jobs", "recommit", lost, *options, "--address", "local"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{lost} is stored, by job" in done.stdout
    assert sorted(marks.read_text().split()) == ["Cell", "Modular"]  # each was computed once
    with AnalyticsStore(store) as opened:
        found = opened.query('SELECT "where", value FROM scores ORDER BY 1').to_pylist()
        assert found == [{"where": "Cell", "value": 0.75}, {"where": "Modular", "value": 0.75}]
        assert opened.query(f"SELECT count(*) AS n FROM runs WHERE recovers = '{lost}'").to_pylist() == [{"n": 1}]
