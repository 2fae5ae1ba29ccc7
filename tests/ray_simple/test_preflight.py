"""Preflight on a real cluster: all is well, and then a node joins on which everything is wrong."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import preflight_world
import pytest
from preflight_world import an_image, found, s3_with_passwords, started_by, write_module
from ray_fixtures import RAY, Cluster

from checkmaite_core import (
    AnalyticsStoreConfig,
    DatasetRef,
    PreflightError,
    VersionSkewWarning,
    Work,
    configure_job_backend,
)
from checkmaite_core.naming import new_probe_token
from checkmaite_core.preflight import PreflightReport, Question
from checkmaite_core.preflight.inquiry import Inquiry, Reply, WorkFacts
from checkmaite_ray_simple import RaySimpleOptions, plugin

LARGE = 11 * 2**20
MODULES = ("same_code", "only_here", "other_code", "needs_gl")
PATIENCE = 60.0
MOUNTS = preflight_world.mounts_can_be_private()
NO_MOUNTS = "this machine gives no node a mount of its own (unshare --mount, as root): NOT SHOWN HERE"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder of the client's modules, of which the head has some."""
    mine, shared = tmp_path_factory.mktemp("client"), tmp_path_factory.mktemp("everywhere")
    for name in MODULES:
        write_module(mine if name == "only_here" else shared, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(mine))
        patch.syspath_prepend(str(shared))
        yield shared
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def s3():
    with s3_with_passwords() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(own_folders, mine, s3):
    """A head with one CPU, the client's modules but one, all connectors, and the right key of the S3."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=own_folders)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.variables.items():
            patch.setenv(name, value)
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, cluster.environment[name])
        head = started_by(cluster.folder, RAY, variables={"PYTHONPATH": str(mine)})
        try:
            cluster.start_head(cpus=1, ray=head)
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A folder that client and head have, and the other node has not."""
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def odd(cluster, mine, private, tmp_path_factory):
    """A node out of an image without connectors and with other modules, on a disk of its own, with a GPU in name."""
    image = an_image(tmp_path_factory.mktemp("images") / "odd", backend="ray-simple")
    image.skew("pyarrow", "25.0.0")
    shutil.copy(mine / "same_code.py", image.site_packages)
    write_module(image.site_packages, "other_code", after="# the code of last week\n")
    broken = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")\n'
    write_module(image.site_packages, "needs_gl", before=broken)
    command = started_by(
        image.prefix,
        image.ray,
        variables={"PYTHONPATH": None},
        hides=private if MOUNTS else None,
        arguments=("--num-gpus=1", "--node-name=odd"),
    )
    cluster.add_node(cpus=1, ray=command)


def opened(address, uri, **options):
    store = {"backend": "parquet", "uri": str(uri)}
    return configure_job_backend("ray-simple", analytics_store=store, address=address, **options)


def capability(name):
    return importlib.import_module(name).Count()


def test_a_cluster_on_which_all_is_well_is_green(cluster, s3):
    with opened(cluster.address, f"s3://{s3.bucket}/green") as backend:
        report = backend.preflight({"capability": capability("same_code")})
        assert report.exit_code == 0, report.table()
        assert not report.warnings
        for section, text in (
            ("code", "same_code.Count"),
            ("store", s3.bucket),
            ("resources", "fits on the only"),
        ):
            assert found(report, text, section=section, level="ok"), report.table()
        assert backend.store.tables() == ["runs"], "a preflight founds nothing"


@pytest.fixture(scope="module")
def report(cluster, odd, private):
    """What is found on both nodes, for work of all kinds."""
    data = private / "images.bin"
    data.write_bytes(b"pixels")
    images = importlib.import_module("same_code").Images(b"x" * LARGE)
    works = [
        Work(capability=capability("same_code"), datasets=[DatasetRef(id="i", uri=str(data), loader="json:loads")]),
        Work(capability=capability("same_code"), datasets=[images], resources={"num_cpus": 64}, name="wide"),
        Work(capability=capability("only_here")),
        Work(capability=capability("other_code"), resources={"num_gpus": 1}),
        Work(capability=capability("needs_gl")),
    ]
    with pytest.warns(VersionSkewWarning), opened(cluster.address, private / "store") as backend:
        return backend.preflight(*works, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("section", "node", "text", "level", "mender", "remedy"),
    [
        ("code", "odd", "pyarrow: 25.0.0 there", "warning", "client", 'pip install "pyarrow==25.0.0"'),
        ("code", "odd", "module only_here is not installed there", "error", "client", "working_dir"),
        ("code", "head", "module only_here is not installed there", "error", "client", "working_dir"),
        ("code", "odd", "other_code: its code is not the client's", "error", "client", "runtime_env"),
        ("code", "odd", "libGL.so.1", "error", "image", "apt-get install -y libgl1"),
        ("inputs", "", "travel with each job", "warning", "client", "DatasetRef("),
        ("resources", "odd", "the process sees none", "error", "cluster", "--num-gpus"),
        ("resources", "", "asks for 64 CPU", "error", "cluster", "resources={"),
    ],
)
def test_each_thing_that_is_wrong_has_a_line_who_mends_it_and_how(report, section, node, text, level, mender, remedy):
    where = next(name for kind in report.nodes if kind.is_head for name in kind.names) if node == "head" else node
    lines = [line for line in found(report, text, section=section, level=level) if not node or line.node == where]
    assert lines, report.table()
    assert {line.mender for line in lines} == {mender}
    assert all(remedy in line.remedy for line in lines), report.table()


@pytest.mark.skipif(not MOUNTS, reason=NO_MOUNTS)
@pytest.mark.parametrize(
    ("section", "text", "remedy"),
    [
        ("store", "a worker has written there, and the client does not find it", "s3://"),
        ("inputs", "it is on the client's disk, and not on the worker's", "object storage"),
    ],
)
def test_what_only_lies_on_the_clients_disk_is_found(report, section, text, remedy):
    (line,) = found(report, text, section=section, level="error")
    assert (line.node, line.mender) == ("odd", "client")
    assert remedy in line.remedy


def test_what_is_in_order_stays_green_beside_it(report):
    assert report.exit_code == 1
    assert found(report, "same_code: imported; its code is the same", node="odd", level="ok")
    assert found(report, "versions: ", level="ok")


def test_a_node_without_the_connector_and_one_with_a_wrong_key_are_told_apart_over_ray_client(cluster, odd, s3):
    secret = "planted-secret-value"
    overlay = {"env_vars": {"AWS_ACCESS_KEY_ID": "wrong-key-id", "AWS_SECRET_ACCESS_KEY": secret}}
    uri = f"s3://{s3.bucket}/told-apart"
    with opened(cluster.client_address, uri, runtime_env=overlay, version_skew="ignore") as backend:
        with pytest.raises(PreflightError, match="nothing was submitted") as caught:
            backend.submit(capability("same_code"), preflight=True)
        assert list(backend.jobs()) == []
    report = caught.value.report
    assert report.exit_code == 1
    bad = {line.mender: line for line in report.errors if line.section == "store"}
    assert set(bad) == {"image", "cluster"}, report.table()
    assert "s3fs" in bad["image"].found or "checkmaite-storage[s3]" in bad["image"].remedy
    assert bad["image"].node == "odd"
    assert "InvalidAccessKeyId" in bad["cluster"].found
    assert bad["cluster"].node != "odd"
    shown = report.model_dump_json() + report.table() + str(caught.value)
    assert secret not in shown
    assert s3.secret not in shown


@pytest.fixture
def site(cluster):
    with plugin.site(RaySimpleOptions(address=cluster.address), AnalyticsStoreConfig(uri="unused")) as site:
        yield site


def a_question(site, code, node_id=None, demand=None):
    """A question about work that does something where it is unpickled."""
    node = next(node for node in site.nodes() if node.is_head)
    inquiry = Inquiry(work=WorkFacts(job="job", capability="some.Class")).model_dump_json()
    payload = site.dumps(Does(code))
    return Question(node_id=node_id or node.node_id, inquiry=inquiry, payload=payload, demand=demand or {})


def test_each_way_in_which_a_store_refuses_a_worker_has_its_own_words_and_mender(site, s3):
    node = next(node for node in site.nodes() if node.is_head)
    stores = {
        "powerless": (s3.bucket, {"key": s3.powerless, "secret": "x"}, 60.0, "storage", "not allowed"),
        "unknown": (s3.bucket, {"key": "wrong-key-id", "secret": "x"}, 60.0, "cluster", "no credentials that count"),
        "absent": ("no-such-bucket", {}, 60.0, "storage", "there is no such bucket"),
        "silent": (s3.bucket, {"endpoint_url": "http://127.0.0.1:9"}, 1.5, "cluster", ""),
    }
    questions = [
        Question(
            node_id=node.node_id,
            inquiry=Inquiry(
                store=AnalyticsStoreConfig(uri=f"s3://{bucket}/store", storage_options=options),
                token=new_probe_token(),
                seconds=seconds,
            ).model_dump_json(),
        )
        for bucket, options, seconds, _, _ in stores.values()
    ]
    answers = site.ask(questions, timeout=PATIENCE)
    for answer, (_, _, _, mender, words) in zip(answers, stores.values(), strict=True):
        assert answer.text is not None, answer.problem
        reply = Reply.model_validate_json(answer.text)
        (line,) = [check for check in reply.checks if check.section == "store"]
        assert (line.level, line.mender, reply.stored) == ("error", mender, False), line
        assert words in line.found
        assert line.remedy


def test_the_command_looks_at_a_real_cluster_and_starts_nothing_there(cluster, odd, s3, mine):
    command = [
        *(str(RAY.with_name("checkmaite")), "preflight", "--json", "--backend", "ray-simple"),
        *("--address", cluster.address, "--store", f"s3://{s3.bucket}/command", "--work", "same_code:Count"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(mine), prepend=":")
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 1, ran.stderr
    told = PreflightReport.model_validate(
        {name: value for name, value in json.loads(ran.stdout).items() if name != "exit_code"}
    )
    assert {line.node for line in told.errors} == {"odd"}
    assert found(told, "same_code.Count", section="code", level="ok")
    assert found(told, "finds what the worker has written", section="store", level="ok")


class Does:
    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


def test_what_hangs_dies_or_lies_on_no_node_is_a_problem_of_its_own_and_leaves_nothing(site, tmp_path, until):
    questions = [
        a_question(site, "import os; os._exit(3)"),
        a_question(site, "pass", node_id="ab" * 28),
        a_question(site, "pass", demand={"GPU": 1.5}),
        a_question(site, "pass"),
    ]
    dead, nowhere, odd_demand, good = site.ask(questions, timeout=PATIENCE)
    assert (dead.mender, nowhere.mender, odd_demand.mender) == ("image", "cluster", "client")
    assert "crashed" in dead.problem
    assert "went away" in nowhere.problem
    assert "whole numbers" in odd_demand.remedy
    assert good.text is not None, good.problem
    pid = tmp_path / "pid"
    hangs = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    (hung,) = site.ask([a_question(site, hangs)], timeout=2.0)  # by a process that is there already
    assert "no answer within 2 s" in hung.problem
    assert hung.mender == "cluster"
    until(lambda: not Path(f"/proc/{pid.read_text()}").exists(), "the process that hung has ended")


def test_an_overlay_that_cannot_be_set_up_is_the_answer_of_its_node(cluster):
    options = RaySimpleOptions(address=cluster.address, runtime_env={"conda": "no-such-environment"})
    with plugin.site(options, AnalyticsStoreConfig(uri="unused")) as site:
        (answer,) = site.ask([a_question(site, "pass")], timeout=PATIENCE)
    assert answer.mender == "client"
    assert "runtime_env cannot be set up" in answer.problem
    assert "onda" in answer.problem


def test_what_is_free_on_a_node_is_known_through_both_forms_of_address(cluster, odd):
    for address in (cluster.address, cluster.client_address):
        with plugin.site(RaySimpleOptions(address=address), AnalyticsStoreConfig(uri="unused")) as site:
            nodes = {node.name: node for node in site.nodes()}
            assert nodes["odd"].resources["GPU"] == nodes["odd"].available["GPU"] == 1
            assert nodes["odd"].available is not nodes["odd"].resources
            assert [node.is_head for node in nodes.values()].count(True) == 1
            assert site.address == address
