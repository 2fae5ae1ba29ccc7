"""A cell that is run again after its local Ray has died: it connects anew, and its scope goes on there."""

from __future__ import annotations

import os
import signal
import time

import pytest
from ray._private import worker as ray_worker

from checkmaite_core import JobStatus, configure_job_backend, shutdown_job_backend
from checkmaite_core.errors import ClusterUnreachableError


@pytest.fixture
def cell(store, scope):
    """The cell of a notebook, to be run as often as one likes."""

    def cell():
        return configure_job_backend(
            "ray", analytics_store=store, address="local", idempotency_scope=scope, num_cpus=2, on_cluster_loss="fail"
        )

    yield cell
    shutdown_job_backend(wait=False)


def test_after_the_local_ray_has_died_it_connects_anew_and_the_old_handles_say_what_happened(cell, work, until):
    first = cell()
    done = first.submit(work(lambda: "before"))
    assert done.wait(60) is JobStatus.COMPLETED
    running = first.submit(work(lambda: time.sleep(1000)))
    until(lambda: running.status is JobStatus.RUNNING, "it runs")
    process = ray_worker._global_node.all_processes["gcs_server"][0].process
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: process.poll() is not None, "its end")
    with pytest.raises(ClusterUnreachableError, match=r"gcs_server .* was ended by SIGKILL"):
        running.wait(30)
    second = cell()
    assert second is not first
    assert first.closed
    assert second.submit(work(lambda: "anew")).wait(60) is JobStatus.COMPLETED
    assert cell() is second
    with pytest.raises(ClusterUnreachableError, match=r"gcs_server .* was ended by SIGKILL"):
        running.wait(30)
    assert second.job(running.job_id).wait(60) is JobStatus.FAILED
    assert second.job(done.job_id).status is JobStatus.COMPLETED
