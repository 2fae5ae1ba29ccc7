"""Clients of a cluster of two nodes: the standard tests through each form of address, and jobs found from elsewhere."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys

import pytest
import ray_faults
from ray import cloudpickle
from ray_faults import Traces, a_cluster
from ray_promises import PROMISES

from checkmaite_core import AnalyticsStoreConfig, JobStatus
from checkmaite_core.testing import JobBackendSuite
from checkmaite_ledger import JobLedger

QUICK = {
    "test_submit_returns_at_once_and_the_status_is_true_to_the_end",
    "test_result_is_a_reference_to_rows_that_are_in_the_store",
    "test_another_client_finds_the_jobs_if_that_is_promised",
    "test_leaving_without_waiting_does_what_was_promised_for_running_jobs",
    "test_pages_neither_repeat_nor_skip_jobs_while_others_arrive",
    "test_progress_is_seen_while_the_code_runs_if_that_is_promised",
    "test_code_that_never_asks_is_stopped_if_that_is_promised",
    "test_works_that_are_submitted_together_each_have_their_job_in_their_order",
}
"""What depends on the way to the cluster: calls, pushed news, coming back. How jobs run and end does not."""


class ClusterSuite(JobBackendSuite):
    """The suite on both nodes; what is not ``quick`` is marked soak (see conftest.py)."""

    kind = "ray"
    promises = PROMISES
    quick = QUICK

    @classmethod
    def seeing(cls, options, folder):
        overlay = {"env_vars": {"PYTHONPATH": str(folder)}}
        ledger = {"uri": str(folder / "ledger")}  # which takes none of the store's options
        scope = f"faulty-{cls.__name__}"
        return {**options, "idempotency_scope": scope, "runtime_env": overlay, "ledger": ledger}

    @pytest.fixture(scope="class")
    @classmethod
    def small_queue(cls, options):
        return {**options, "idempotency_scope": f"small-{cls.__name__}", "registry": {"max_unfinished": 2}}

    @pytest.fixture(scope="class")
    @classmethod
    def store_config(cls, tmp_path_factory):
        return AnalyticsStoreConfig(uri=str(tmp_path_factory.mktemp("store") / "store"))


@pytest.fixture(scope="module")
def two_nodes(own_folders):
    """A head without CPUs, and two nodes with one each."""
    with a_cluster(own_folders, token=secrets.token_hex(32), cpus=0) as cluster:
        cluster.add_node(cpus=1)
        cluster.add_node(cpus=1)
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def travelling_helpers():
    cloudpickle.register_pickle_by_value(ray_faults)
    yield
    cloudpickle.unregister_pickle_by_value(ray_faults)


def options_of(address, scope):
    return {"address": address, "max_retries": 1, "cancel_grace_seconds": 1.0, "idempotency_scope": scope}


class TestDirect(ClusterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, two_nodes):
        return options_of(two_nodes.address, "direct")


class TestRayClient(ClusterSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, two_nodes):
        return options_of(two_nodes.client_address, "client")


FINDER = """
import json, sys
from checkmaite_core import configure_job_backend, get_job, list_jobs
options, job_id = json.loads(sys.argv[1]), sys.argv[2]
configure_job_backend("ray", **options)
job = get_job(job_id)
print(json.dumps([job.name, str(job.status), [one.job_id for one in list_jobs(name=job.name)]]), flush=True)
print(job.result(60).event_id, flush=True)
"""


@pytest.mark.parametrize(
    "forms", [("direct", "client"), pytest.param(("client", "direct"), marks=pytest.mark.soak)], ids="-then-".join
)
def test_a_client_that_never_submitted_finds_a_running_job_through_another_form_of_address(
    two_nodes, connect, scope, tmp_path, until, forms
):
    addresses = {"direct": two_nodes.address, "client": two_nodes.client_address}
    backend = connect(addresses[forms[0]])
    traces = Traces(tmp_path / "job", "job")
    job = backend.submit(traces.work, name="found")
    until(lambda: traces.executions, "it runs")
    until(lambda: job.status is JobStatus.RUNNING, "it is seen to run")
    options = {
        "address": addresses[forms[1]],
        "idempotency_scope": scope,
        "analytics_store": {"backend": "parquet", "uri": backend.store_config.uri},
    }
    with subprocess.Popen(
        [sys.executable, "-c", FINDER, json.dumps(options), job.job_id], stdout=subprocess.PIPE, text=True
    ) as other:
        assert json.loads(other.stdout.readline()) == ["found", "RUNNING", [job.job_id]]
        traces.let_go()
        assert other.stdout.readline().strip() == job.job_id
        assert other.wait(60) == 0
    assert job.wait(60) is JobStatus.COMPLETED
    assert len(traces.executions) == 1


READER = """
import json, sys
sys.modules["ray"] = None  # as where it is not installed
from checkmaite_ledger import JobLedger
records = JobLedger(sys.argv[1], sys.argv[2]).jobs().records
print(json.dumps([[record.name, str(record.status)] for record in records]))
"""


def test_the_ledger_is_read_without_ray_while_jobs_run_and_when_their_clients_have_gone(
    two_nodes, connect, scope, tmp_path, until
):
    def read():
        command = [sys.executable, "-c", READER, backend.store_config.uri, scope]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    backend = connect(two_nodes.address)
    held = Traces(tmp_path / "held", "held")
    done = backend.submit(Traces(tmp_path / "done", "done", "").work, name="done")
    reference = done.result(60)
    job = backend.submit(held.work, name="held")
    until(lambda: job.status is JobStatus.RUNNING, "it runs")
    until(lambda: JobLedger(backend.store_config.uri, scope).job(job.job_id).began_at, "that is in the ledger")
    assert read() == [["held", "RUNNING"], ["done", "COMPLETED"]]
    held.let_go()
    assert job.wait(60) is JobStatus.COMPLETED
    backend.shutdown()
    assert read() == [["held", "COMPLETED"], ["done", "COMPLETED"]]
    record = JobLedger(backend.store_config.uri, scope).job(done.job_id)
    assert record.view().reference == reference
