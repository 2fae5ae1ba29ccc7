"""A cell that is run again after its Ray has gone: it connects anew, and the old handles say what happened."""

from __future__ import annotations

import os
import signal
import time

import pytest
import ray
from ray._private import worker as ray_worker

from checkmaite_core import FailureKind, JobStatus, configure_job_backend, shutdown_job_backend
from checkmaite_core.errors import CheckmaiteError, ClusterUnreachableError, ConfigurationError


@pytest.fixture
def cell(store):
    """The cell of a notebook, to be run as often as one likes."""

    def cell(**options):
        return configure_job_backend("ray-simple", analytics_store=store, address="local", num_cpus=2, **options)

    yield cell
    shutdown_job_backend(wait=False)


def die(until, name):
    """Kill a process of the local Ray of this process."""
    process = ray_worker._global_node.all_processes[name][0].process
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: process.poll() is not None, f"the end of {name}")


def test_after_ray_was_shut_down_it_connects_anew(cell, work):
    first = cell()
    assert cell() is first
    ray.shutdown()
    second = cell()
    assert second is not first
    assert first.closed
    assert second.submit(work(lambda: "anew")).wait(60) is JobStatus.COMPLETED
    with pytest.raises(ConfigurationError, match="shut down"):
        first.submit(work(lambda: "never"))


@pytest.mark.parametrize("name", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_after_the_local_ray_has_died_it_connects_anew_and_the_old_handles_say_what_happened(cell, work, until, name):
    first = cell()
    done = first.submit(work(lambda: "before"))
    assert done.wait(60) is JobStatus.COMPLETED
    running = first.submit(work(lambda: time.sleep(1000)))
    until(lambda: running.status is JobStatus.RUNNING, "it runs")
    died = ray_worker._global_node
    die(until, name)
    with pytest.raises(ClusterUnreachableError, match=f"{name} .* was ended by SIGKILL") as caught:
        first.submit(work(lambda: "never"))
    assert "configure_job_backend(...) again" in caught.value.hint
    begun = time.monotonic()
    second = cell()
    assert time.monotonic() - begun < 60
    assert second is not first
    assert first.closed
    assert ray_worker._global_node is not died
    assert second.submit(work(lambda: "anew")).wait(60) is JobStatus.COMPLETED
    assert cell() is second
    assert running.wait(30) is JobStatus.FAILED
    assert running.failure.kind is FailureKind.LOST
    assert f"its process {name}" in running.failure.message
    assert "SIGKILL" in running.failure.message
    assert done.status is JobStatus.COMPLETED


@pytest.mark.soak
def test_a_backend_with_other_arguments_does_not_share_a_local_ray_that_has_died(cell, work, until):
    first = cell()
    die(until, "gcs_server")
    other = cell(max_retries=0)
    assert other.submit(work(lambda: "anew")).wait(60) is JobStatus.COMPLETED
    assert first.lost
    third = cell()
    assert third is not first
    assert third.submit(work(lambda: "anew too")).wait(60) is JobStatus.COMPLETED
    other.shutdown()


@pytest.mark.soak
def test_a_job_whose_raylet_has_died_ends_without_anybody_asking(cell, work, until):
    running = cell().submit(work(lambda: time.sleep(1000)))
    until(lambda: running.status is JobStatus.RUNNING, "it runs")
    die(until, "raylet")
    assert running.wait(30) is JobStatus.FAILED
    assert "its process raylet" in running.failure.message


def test_in_a_fork_the_cell_says_what_to_do(cell, work):
    backend = cell()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            for options in ({}, {"max_retries": 0}):
                try:
                    cell(**options)
                except CheckmaiteError as error:
                    os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    assert said.count("a fork of the process") == 2
    assert said.count('get_context("spawn")') == 2
    assert cell() is backend
    assert backend.submit(work(lambda: "here")).wait(60) is JobStatus.COMPLETED


@pytest.mark.soak
def test_a_cluster_that_has_gone_is_left_and_its_successor_is_connected_to(store, work, cluster, until):
    def cell(at):
        return configure_job_backend("ray-simple", analytics_store=store, address=at.address)

    first = cell(cluster)
    assert cell(cluster) is first
    running = first.submit(work(lambda: time.sleep(1000)))
    until(lambda: running.status is JobStatus.RUNNING, "it runs")
    cluster.stop()
    begun = time.monotonic()
    with pytest.raises(ClusterUnreachableError, match="nothing answers at"):
        cell(cluster)
    assert time.monotonic() - begun < 40
    assert running.wait(30) is JobStatus.FAILED
    assert "raylet of this machine" in running.failure.message
    cluster.start_head()
    with cell(cluster) as second:
        assert second.submit(work(lambda: "anew")).wait(60) is JobStatus.COMPLETED
