"""What nodes may yet be added, as the option node_maxima says: jobs that none of them can run are refused at once."""

from __future__ import annotations

import pytest

from checkmaite_core import ConfigurationError, JobStatus, ResourceDemandError, configure_job_backend

LARGE = {"CPU": 64, "GPU": 8, "memory": 2**40}
LICENSED = {"CPU": 4, "licence": 1}


@pytest.fixture(scope="module")
def scaled(store):
    """A local Ray of one CPU, that the options say may get two kinds of nodes."""
    with configure_job_backend(
        "ray-simple", analytics_store=store, address="local", num_cpus=1, node_maxima=[LARGE, LICENSED]
    ) as backend:
        yield backend


def test_what_only_a_node_that_may_be_added_can_run_waits_and_says_for_what(scaled, work):
    job = scaled.submit(work(lambda: 0), resources={"num_cpus": 48, "num_gpus": 2})
    assert job.status is JobStatus.PENDING
    assert "no node has 48 CPU, 2 GPU; waiting for one to be added" in repr(job)
    job.cancel()
    assert job.wait(30) is JobStatus.CANCELLED


@pytest.mark.parametrize(
    "demand", [{"num_cpus": 65}, {"num_gpus": 1, "custom": {"licence": 1}}, {"num_cpus": 4, "memory": 2**41}]
)
def test_what_neither_a_node_nor_one_that_may_be_added_can_run_is_refused_at_once(scaled, work, demand):
    with pytest.raises(ResourceDemandError, match=r"may be added have \(node_maxima\): 64 CPU, 8 GPU, 1.02e\+03 GiB"):
        scaled.submit(work(lambda: 0), resources=demand)


def test_what_the_options_say_counts_where_an_autoscaler_runs(scaled, work, monkeypatch):
    from checkmaite_ray_simple import resources

    # A real one needs a provider of machines; what is asked here is whom to believe.
    monkeypatch.setattr(resources, "autoscaler_runs", lambda: True)
    with pytest.raises(ResourceDemandError, match="node_maxima"):
        scaled.submit(work(lambda: 0), resources={"num_gpus": 9})
    assert scaled.submit(work(lambda: 1)).result(60), "what a node has needs no maximum"


@pytest.mark.parametrize("options", [{"kind": "ray", "idempotency_scope": "s"}, {"kind": "ray-simple"}])
@pytest.mark.parametrize(
    ("maxima", "says"),
    [
        ([{"num_cpus": 64}], "'num_cpus' is called 'CPU' here"),
        ([{"CPU": -1}], "-1, which is no amount"),
        ([{"CPU": float("inf")}], "inf, which is no amount"),
        ([{}], "nothing can run nothing"),
        ({"CPU": 64}, "node_maxima"),
    ],
)
def test_kinds_of_nodes_that_no_node_can_be_are_refused_before_a_cluster_is_asked(options, maxima, says):
    store = {"backend": "parquet", "uri": "/nowhere"}
    with pytest.raises(ConfigurationError, match=says):
        configure_job_backend(**options, analytics_store=store, address="127.0.0.1:1", node_maxima=maxima)
