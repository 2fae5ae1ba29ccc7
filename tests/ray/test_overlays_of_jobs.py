"""Each job runs with the overlay of the client that submitted it, whoever else is there."""

from __future__ import annotations

import json
import textwrap

import pytest
from ray_clients import client

VERSIONED = """
import os
import time
from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record
from version import NUMBER

class Answer(Record, table_name="answers"):
    answer: str

class Outputs(CapabilityOutputs):
    answer: str

class Run(CapabilityRun[CapabilityConfig, Outputs]):
    def extract(self):
        return [Answer(run_uid=self.run_uid, answer=self.outputs.answer)]

class Report(Capability[CapabilityConfig, Outputs]):
    config_class = CapabilityConfig
    run_class = Run
    id = "test.versioned"

    def evaluate(self, inputs, config):
        gate = os.environ.get("GATE")
        while gate and not os.path.exists(gate):
            time.sleep(0.02)  # a job that spins would take the CPUs that the second client needs to connect
        answer = f"code {NUMBER}, variable {os.environ.get('WHO')}, other {os.environ.get('OTHER')}"
        with open(os.path.join(os.environ["OUT"], os.urandom(8).hex()), "w") as file:
            file.write(answer)
        return Outputs(answer=answer)
"""

SUBMIT = """
import json, sys
given = json.loads(sys.argv[1])
sys.path.insert(0, given["runtime_env"]["working_dir"])
from checkmaite_core import configure_job_backend
from versioned import Report
backend = configure_job_backend("ray", **given)
job = backend.submit(Report(), name=sys.argv[2], force=True)
print("JOB", job.job_id, flush=True)
backend.shutdown(wait=False)
"""


@pytest.fixture
def versions(tmp_path):
    """Two folders, each with another version of one module."""
    folders = []
    for number in (1, 2):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        (folder / "version.py").write_text(f"NUMBER = {number}\n")
        (folder / "versioned.py").write_text(textwrap.dedent(VERSIONED))
        folders.append(folder)
    return folders


def test_two_clients_run_each_its_own_code_also_when_the_first_has_gone_and_on_a_node_that_joins_late(
    cluster, connect, store, scope, versions, tmp_path
):
    gate = tmp_path / "gate"
    ids = []
    others = [{"OTHER": "x"}, {}]
    for number, address in enumerate((cluster.address, cluster.client_address)):
        folder = versions[number]
        out = tmp_path / f"out{number}"
        out.mkdir()
        variables = {"OUT": str(out), "WHO": f"client {number + 1}", "GATE": str(gate), **others[number]}
        given = {
            "address": address,
            "idempotency_scope": scope,
            "analytics_store": store,
            "runtime_env": {"working_dir": str(folder), "env_vars": variables},
        }
        # More than the head has room for, so that some run on the node that joins once their clients have gone.
        for name in ("a", "b"):
            process = client(SUBMIT, json.dumps(given), f"{name}{number}")
            said, _ = process.communicate(timeout=100)
            assert process.returncode == 0, said
            ids.append(next(line.split()[1] for line in said.splitlines() if line.startswith("JOB")))
    cluster.add_node(cpus=2)
    gate.touch()
    backend = connect(cluster.address)
    for job_id in ids:
        backend.job(job_id).result(timeout=60)
    said = [[file.read_text() for file in (tmp_path / f"out{number}").iterdir()] for number in range(2)]
    assert said == [["code 1, variable client 1, other x"] * 2, ["code 2, variable client 2, other None"] * 2]
