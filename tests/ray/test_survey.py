"""Nodes whose environment does not fit the client's: found when it connects, and when they come later."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import pytest
import ray
from ray_fixtures import Cluster
from worker_environments import make_environment

from checkmaite_core import (
    DeploymentError,
    FailureKind,
    JobStatus,
    VersionSkewError,
    VersionSkewWarning,
    configure_job_backend,
)
from checkmaite_core.deployment import describe_environment
from checkmaite_ray_simple import survey

KINDS = ["ray", "ray-simple"]
WAYS = [("ray", "address"), ("ray-simple", "client_address")]
CORNER = {"num_cpus": 0, "custom": {"corner": 0.01}}
"""What only the stale node has."""


@pytest.fixture(scope="module")
def cluster(own_folders):
    """A head without CPUs that fits; guarded by a token that this process has."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=own_folders)))
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.start_head(cpus=0)
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(name, cluster.environment[name])
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A worker's image that was not built again when everything else was, and has no connector."""
    made = make_environment(tmp_path_factory.mktemp("images") / "stale", backend="ray")
    made.skew("checkmaite-core", "0.0.9")
    return made


@pytest.fixture(scope="module")
def stale_node(cluster, image):
    """A node of that image beside the head."""
    return cluster.add_node(cpus=1, resources='{"corner": 1}', ray=image.ray)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Nodes answer in a second, or two; but not where all tests of a machine run at once."""
    monkeypatch.setattr(survey, "_PATIENCE", 60.0)


@pytest.fixture
def connect(cluster, store, scope):
    """Open backends of either kind, and leave none behind."""
    opened = []

    def connect(kind, address="address", **options):
        options = {"analytics_store": store, **options}
        if kind == "ray":
            options["idempotency_scope"] = scope
        opened.append(configure_job_backend(kind, address=getattr(cluster, address), **options))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)
    assert not ray.is_initialized()


@pytest.fixture
def asked(monkeypatch):
    """The nodes that are asked when clients connect, by client."""
    really, asked = survey.ask_all, []

    def ask_all(nodes, *arguments):
        asked.append(nodes)
        return really(nodes, *arguments)

    monkeypatch.setattr(survey, "ask_all", ask_all)
    return asked


def installed(folder, name, version):
    """A folder that says that a distribution is installed in it."""
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(about)
    return {"env_vars": {"PYTHONPATH": str(folder)}}


@pytest.mark.parametrize(("kind", "address"), WAYS)
def test_a_head_without_cpus_is_described_whole(connect, kind, address):
    (head,) = connect(kind, address).environments()
    assert head.problem is None
    assert head.environment.versions == describe_environment().versions
    assert "grpcio" in head.environment.distributions


def test_a_node_is_asked_for_the_first_client_and_remembered_for_the_next_ones(cluster, connect, asked):
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    survey.remember({})
    ray.shutdown()
    connect("ray-simple").shutdown()
    connect("ray").shutdown()
    connect("ray-simple", "client_address", runtime_env={"env_vars": {"FLAVOUR": "vanilla"}}).shutdown()
    assert [len(nodes) for nodes in asked] == [1, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_overlay_that_changes_a_version_is_skew(connect, kind, tmp_path):
    with pytest.raises(VersionSkewError, match=r"error +pydantic +2\.\S+ +1\.10\.2 "):
        connect(kind, runtime_env=installed(tmp_path / "must", "pydantic", "1.10.2"))
    with pytest.warns(VersionSkewWarning, match=r"warning +numpy +2\.\S+ +1\.0 "):
        backend = connect(kind, runtime_env=installed(tmp_path / "should", "numpy", "1.0"))
    assert not backend.closed


@pytest.mark.parametrize("kind", KINDS)
def test_an_overlay_that_a_node_cannot_set_up_is_refused_with_the_node_and_rays_reason(connect, kind):
    with pytest.raises(DeploymentError) as caught:
        connect(kind, runtime_env={"conda": "planted-secret"})
    assert "1 node of the Ray" in str(caught.value)
    assert "runtime_env cannot be set up there: ValueError: Could not find Conda executable" in str(caught.value)
    assert "Install conda in the nodes' image" in str(caught.value)


def test_a_node_that_joins_late_with_a_stale_image_refuses_jobs_and_is_told_of(connect, request, work, until):
    backends = [connect(kind, node_maxima=[{"CPU": 1, "corner": 1}]) for kind in KINDS]
    jobs = [backend.submit(work(lambda: 1), name="early", resources=CORNER) for backend in backends]
    assert {job.status for job in jobs} == {JobStatus.PENDING}
    request.getfixturevalue("stale_node")
    for job in jobs:
        assert job.wait(60) is JobStatus.FAILED
        assert job.failure.kind is FailureKind.DEPLOYMENT
        assert "0.0.9" in job.failure.message
    for backend in backends:
        until(lambda backend=backend: backend._survey._answers, "the node's answer")
        with pytest.warns(VersionSkewWarning, match=r"error +checkmaite-core +0\.\S+ +0\.0\.9 ") as caught:
            backend.submit(work(lambda: 1), name="next", resources=CORNER).wait(60)
        assert "Drain such nodes or replace their image" in str(caught[0].message)
        assert caught[0].filename == __file__, "who submits is who is told"
        backend.submit(work(lambda: 1), name="told once", resources=CORNER).wait(60)


@pytest.mark.parametrize(("kind", "address"), WAYS)
def test_a_node_of_a_stale_image_is_refused_when_connecting_with_what_to_type(connect, stale_node, kind, address):
    with pytest.raises(VersionSkewError) as caught:
        connect(kind, address)
    message = str(caught.value)
    assert "1 node of the Ray" in message, "the head fits, and is not shown"
    assert "0.0.9" in message
    assert "its values travel between client and worker" in message
    assert 'pip install "checkmaite-core==0.0.9"' in message
    assert 'version_skew="warn"' in message


def test_a_refused_client_has_started_no_control_plane(cluster, connect, stale_node, scope):
    with pytest.raises(VersionSkewError):
        connect("ray")
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        assert not [one for one in ray.util.list_named_actors(all_namespaces=True) if scope in one["name"]]
    finally:
        ray.shutdown()


@pytest.mark.parametrize("kind", ["ray"])  # both do it in one place
def test_a_worker_group_without_the_stores_connector_is_refused(connect, stale_node, kind):
    with pytest.raises(VersionSkewError, match=r"error +s3fs +20\S+ +- +jobs write to the analytics store with it"):
        connect(kind, analytics_store={"backend": "parquet", "uri": "s3://bucket/results"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_would_rather_be_warned_connects_and_its_jobs_run(connect, stale_node, work, kind):
    with pytest.warns(VersionSkewWarning, match=r"0\.0\.9") as caught:
        backend = connect(kind, version_skew="warn")
    assert caught[0].filename == __file__
    assert backend.submit(work(lambda: 1), resources=CORNER).wait(60) is JobStatus.COMPLETED


@pytest.mark.parametrize("kind", ["ray-simple"])  # both do it in one place
def test_a_client_that_will_not_look_is_told_nothing_and_can_still_ask(connect, stale_node, work, asked, kind):
    backend = connect(kind, version_skew="ignore")
    assert not asked
    assert backend.submit(work(lambda: 1), resources=CORNER).wait(60) is JobStatus.COMPLETED
    found = backend.environments()
    assert sorted(node.environment.versions["checkmaite-core"] for node in found)[0] == "0.0.9"
    assert len({node.name for node in found}) == 2


def test_a_node_that_was_mended_is_let_in_again(connect, stale_node, image):
    with pytest.raises(VersionSkewError):
        connect("ray-simple")
    image.skew("checkmaite-core", describe_environment().versions["checkmaite-core"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionSkewWarning)  # it has neither the connectors' versions nor a stamp
        assert len(connect("ray-simple").environments()) == 2
