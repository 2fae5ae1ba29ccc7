"""A cluster that goes away as a whole under a client of ray://.

Not under a direct driver: Ray ends such a process itself, a minute after the head.
"""

from __future__ import annotations

import time

import pytest

from checkmaite_core import FailureKind, JobStatus, configure_job_backend

pytestmark = pytest.mark.soak


def test_a_job_whose_cluster_is_gone_ends_lost_once_the_store_has_said_so(cluster, store, work, until):
    with configure_job_backend("ray-simple", analytics_store=store, address=cluster.address) as direct:
        direct.submit(work(lambda: "the cluster is up as a whole")).result(60)
    backend = configure_job_backend("ray-simple", analytics_store=store, address=cluster.client_address)
    job = backend.submit(work(lambda: time.sleep(1000)))
    until(lambda: job.status is JobStatus.RUNNING, "it runs")
    cluster.stop()
    assert job.wait(100) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.LOST
    assert "No worker could be asked" not in job.failure.message, "this process has asked the store itself"
    backend.shutdown()
