"""Many clients of one CPU: the control plane takes none of it, equal work is started once, waiting costs nothing."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections import Counter

import pytest
import ray
import ray_faults
from ray import cloudpickle
from ray_faults import Traces, a_cluster, answers_of, controllers_of, end_scope, registry_of

from checkmaite_core import JobStatus, ProtocolMismatchError
from checkmaite_ray import joining
from checkmaite_ray.protocol import PROTOCOL

PROCESSES, CLIENTS = 4, 25
WAITING = 1000

CLIENT = """
import json, os, sys, threading
from pathlib import Path
from checkmaite_core import *
from checkmaite_core.backend import load_backend_plugin, parse_options

class Outputs(CapabilityOutputs):
    answer: str

class Answer(Record, table_name="answers"):
    answer: str

class Run(CapabilityRun):
    def extract(self):
        return [Answer(run_uid=self.run_uid, answer=self.outputs.answer)]

class Work(Capability):
    id, config_class, run_class = "test.shared", CapabilityConfig, Run
    def __init__(self, folder):
        self.folder = folder
    def evaluate(self, inputs, config):
        with open(self.folder + "/executions", "a") as file:
            file.write(str(os.getpid()) + chr(10))
        return Outputs(answer="once")

options, folder, count = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = AnalyticsStoreConfig(uri=options.pop("store"))
plugin = load_backend_plugin("ray")
clients = [plugin.open(parse_options("ray", plugin, options), store) for _ in range(count)]
print("ready", flush=True)
sys.stdin.readline()
answers = []

def submit(client):
    job = client.submit(Work(folder))
    answers.append([job.job_id, str(job.origin), str(job.wait(90))])

threads = [threading.Thread(target=submit, args=[client]) for client in clients]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for client in clients:
    client.shutdown(wait=False)
print(json.dumps(answers), flush=True)
"""


@pytest.fixture(scope="module")
def cluster(own_folders):
    """A head with one CPU."""
    with a_cluster(own_folders, token=secrets.token_hex(32), cpus=1) as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def travelling_helpers():
    cloudpickle.register_pickle_by_value(ray_faults)
    yield
    cloudpickle.unregister_pickle_by_value(ray_faults)


@pytest.fixture
def backend(cluster, connect, scope):
    yield connect(cluster.address)
    end_scope(scope)


def test_a_default_job_runs_on_one_cpu_and_one_that_must_wait_for_it_says_so(backend, tmp_path, until):
    holding, waiting = Traces(tmp_path / "holding", "holding"), Traces(tmp_path / "waiting", "waiting", "")
    first = backend.submit(holding.work)
    until(lambda: holding.executions, "it runs")
    second = backend.submit(waiting.work)
    until(lambda: second.pending_reason == "waits for 1 CPU: 1 in the cluster, 1 in use", "the reason")
    assert second.status is JobStatus.PENDING
    holding.let_go()
    assert {first.wait(60), second.wait(60)} == {JobStatus.COMPLETED}
    assert not second.pending_reason


def test_controllers_go_when_there_is_nothing_to_do_and_come_back_for_the_next_job(
    cluster, connect, scope, tmp_path, until
):
    backend = connect(cluster.address, registry={"idle_seconds": 0.5})
    assert controllers_of(scope) == set(), "none before the first job"
    assert backend.submit(Traces(tmp_path / "first", "first", "").work).wait(60) is JobStatus.COMPLETED
    before = controllers_of(scope)
    until(lambda: not controllers_of(scope), "their end")
    assert backend.submit(Traces(tmp_path / "second", "second", "").work).wait(60) is JobStatus.COMPLETED
    assert not before & controllers_of(scope)
    end_scope(scope)


@pytest.mark.parametrize(
    ("protocol", "side"), [(PROTOCOL - 1, "this client"), (PROTOCOL + 1, "the image of the registry")]
)
def test_a_client_and_a_registry_of_different_versions_say_which_of_them_is_to_be_updated(
    cluster, connect, backend, monkeypatch, protocol, side
):
    monkeypatch.setattr(joining, "PROTOCOL", protocol)
    with pytest.raises(ProtocolMismatchError, match=f"version {PROTOCOL} .*version\\s+{protocol}") as caught:
        connect(cluster.address, max_retries=0)
    assert caught.value.hint == f"Update checkmaite-ray in {side}."


def test_a_thousand_waiting_clients_are_all_told_once_and_hold_nobody_up(backend, scope, tmp_path, until):
    registry = registry_of(scope)
    traces = Traces(tmp_path / "job", "job")
    job = backend.submit(traces.work)
    until(lambda: traces.executions, "it runs")
    until(lambda: job.status is JobStatus.RUNNING, "that is known, and no news to those who come now")
    sessions = [f"session-{number}" for number in range(WAITING)]
    greetings = [
        json.dumps({"protocol": PROTOCOL, "session": session, "options": {}, "takeover": False}) for session in sessions
    ]
    ray.get([registry.hello.remote(greeting) for greeting in greetings], timeout=60)
    followed = ray.get([registry.follow.remote(session, [job.job_id]) for session in sessions], timeout=60)
    assert all(list(answer["jobs"]) == [job.job_id] for answer in followed)
    parked = [registry.watch.remote(session, 0) for session in sessions]
    other = backend.submit(Traces(tmp_path / "other", "other", "").work, resources={"num_cpus": 0})
    assert other.wait(60) is JobStatus.COMPLETED
    assert not ray.wait(parked, num_returns=1, timeout=0)[0], "it was no news of theirs"
    traces.let_go()
    told = ray.get(parked, timeout=60)
    messages = Counter((kind, *rest[:2]) for answer in told for kind, *rest in answer["messages"])
    assert messages == {("view", job.job_id, "COMPLETED"): WAITING}


@pytest.mark.timeout(180)
def test_a_hundred_clients_that_submit_the_same_work_at_once_start_it_once(backend, cluster, scope, tmp_path):
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    options = {"address": cluster.address, "idempotency_scope": scope, "store": backend.store_config.uri}
    command = [sys.executable, str(script), json.dumps(options), str(tmp_path), str(CLIENTS)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [answer for process in processes for answer in json.loads(process.stdout.readline())]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert len(answers) == PROCESSES * CLIENTS
    assert len({job_id for job_id, _, _ in answers}) == 1
    assert {status for _, _, status in answers} == {"COMPLETED"}
    origins = Counter(origin for _, origin, _ in answers)
    assert origins["started"] == 1
    assert set(origins) <= {"started", "adopted", "reused"}
    assert len((tmp_path / "executions").read_text().split()) == 1
    assert answers_of(backend.store, answers[0][0]) == 1
