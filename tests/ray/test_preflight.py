"""The control plane's part of a preflight: the nodes that may host a registry, and the ledger seen from them."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import preflight_world
import pytest
from preflight_world import an_image, started_by
from ray_fixtures import RAY, Cluster

from checkmaite_core import AnalyticsStoreConfig, JobStatus
from checkmaite_ledger.writer import LedgerWriter, open_ledger
from checkmaite_ray import RayOptions, plugin
from checkmaite_ray.protocol import PROTOCOL

PATIENCE = 30.0
ON_BOTH = {"control_plane_resources": {"control": 0.001}}
MOUNTS = preflight_world.mounts_can_be_private()
needs_mounts = pytest.mark.skipif(
    not MOUNTS, reason="this machine gives no node a mount of its own (unshare --mount, as root): NOT SHOWN HERE"
)


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A folder that the head has on a disk of its own."""
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def cluster(own_folders, private, tmp_path_factory):
    """A head without CPUs that may host a registry, and a node that could if its image had the code for it."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=own_folders)), secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, cluster.environment[name])
        head = started_by(
            cluster.folder,
            RAY,
            variables={"AWS_EC2_METADATA_DISABLED": "true"},
            hides=private if MOUNTS else None,
            arguments=('--resources={"control": 1}',),
        )
        try:
            cluster.start_head(cpus=0, ray=head)
            bare = an_image(tmp_path_factory.mktemp("images") / "bare", backend="ray-simple")
            cluster.add_node(cpus=1, resources='{"control": 1}', ray=bare.ray)
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def look(cluster, scope, tmp_path):
    """Look at the control plane as a client with these options would; nothing is started."""

    def look(*, address=None, store=tmp_path / "store", **options):
        chosen = RayOptions(address=address or cluster.address, **{"idempotency_scope": scope, **options})
        config = AnalyticsStoreConfig(uri=str(store))
        with plugin.site(chosen, config) as site:
            return site.control_plane(config, timeout=PATIENCE), {node.name: node for node in site.nodes()}

    return look


def red(checks):
    bad = [check for check in checks if check.level in ("error", "warning")]
    assert all(check.mender and check.remedy and check.section == "control plane" for check in bad)
    return bad


@pytest.mark.parametrize("form", ["address", "client_address"])
def test_the_head_hosts_a_registry_whether_or_not_it_has_cpus(cluster, look, form, tmp_path):
    checks, nodes = look(address=getattr(cluster, form))
    assert red(checks) == []
    (head,) = [name for name, node in nodes.items() if node.is_head]
    assert {check.node for check in checks} == {head, "client"}
    assert any("they can be imported" in check.found for check in checks)
    assert any(check.subject == f"ledger at {tmp_path / 'store'}" for check in checks)
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert left == [], "nothing is founded, and no probe left"


def test_an_image_that_lacks_the_registrys_code_is_named_where_a_registry_may_come_to_run(look):
    checks, nodes = look(registry=ON_BOTH)
    (bad,) = red(checks)
    assert bad.mender == "image"
    assert "checkmaite-ray is not installed there" in bad.found
    assert not nodes[bad.node].is_head
    assert {check.node for check in checks} == {*nodes, "client"}


@pytest.mark.soak  # one more node
@needs_mounts
def test_a_ledger_of_which_each_node_has_its_own_is_found(cluster, look, private):
    node = cluster.add_node(cpus=1, resources='{"control": 1}')
    try:
        shared, _ = look(registry=ON_BOTH)
        checks, _ = look(registry=ON_BOTH, store=private / "store")
    finally:
        cluster.kill(node)
    assert {check.mender for check in red(shared)} == {"image"}, "of the node whose image lacks the code"
    bad = [check for check in red(checks) if check.level == "error" and check.mender != "image"]
    assert len(bad) == 1
    assert bad[0].mender == "client"
    assert "is not seen here" in bad[0].found
    assert "has forgotten every job" in bad[0].found
    assert "s3://" in bad[0].remedy


@needs_mounts
@pytest.mark.parametrize("place", ["with the results", "of its own"])
def test_a_ledger_that_the_client_does_not_see_is_a_warning(look, private, place):
    """Also where results go: on a head without CPUs no job tries it."""
    own = {"ledger": {"uri": str(private / "ledger")}} if place == "of its own" else {"store": private / "store"}
    (bad,) = red(look(**own)[0])
    assert (bad.level, bad.node) == ("warning", "client")
    assert "checkmaite jobs" in bad.found
    assert "lost with that node's disk" in bad.found


def test_a_ledger_that_the_node_may_not_reach_is_the_clusters_to_mend(look):
    checks, nodes = look(ledger={"uri": "s3://some-bucket/ledger"})
    bad, *_ = red(checks)
    assert bad.level == "error"
    assert bad.mender == "cluster"
    assert nodes[bad.node].is_head
    assert "credentials" in bad.found


def test_a_scope_that_another_cluster_serves_is_found_before_anyone_connects(look, scope, tmp_path):
    objects = open_ledger(str(tmp_path / "store"))
    LedgerWriter.claim(objects, scope, {"cluster_id": "another", "address": "elsewhere"}, after=0)
    (bad,) = red(look()[0])
    assert "served by another Ray cluster" in bad.found
    assert "takeover=True" in bad.remedy
    assert red(look(takeover=True)[0]) == []


def test_an_image_whose_registry_speaks_another_version_is_named(look, monkeypatch):
    # The cluster is real; it is this side that claims to be another.
    monkeypatch.setattr("checkmaite_ray.control_plane_check.PROTOCOL", PROTOCOL + 1)
    (bad,) = red(look()[0])
    assert (bad.mender, bad.remedy) == ("image", "update checkmaite-ray in the image")
    assert f"this client version {PROTOCOL + 1}" in bad.found


def test_a_control_plane_that_no_node_can_host_is_told(look):
    (bad,) = red(look(registry={"control_plane_resources": {"nowhere": 1}})[0])
    assert "no node has 1 nowhere" in bad.found
    assert bad.mender == "cluster"


def test_a_client_of_the_scope_sees_the_control_plane_in_its_preflight(cluster, connect, work):
    """For work of classes that travel with it, as those of a notebook do."""
    backend = connect(cluster.address, version_skew="warn")
    report = backend.preflight(work(lambda: 1), timeout=PATIENCE)
    assert report.exit_code == 0, report.table()
    assert report.backend == "ray"
    sections = [check.section for check in report.checks if check.level == "ok"]
    assert {"code", "store", "resources", "control plane"} == set(sections), report.table()
    assert backend.submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED


def test_no_secret_of_the_ledgers_options_is_shown(look):
    options = {"key": "planted-key", "secret": "planted-secret", "nonsense": "planted-value"}
    checks, _ = look(ledger={"uri": "s3://some-bucket/ledger", "storage_options": options})
    assert red(checks)
    assert "planted" not in "".join(check.model_dump_json() for check in checks)
