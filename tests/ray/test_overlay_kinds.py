"""All kinds of overlays on a real cluster, with both backends; and what is said where one cannot work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from overlay_environments import environment_without_pip, tiny_wheel, tooled_environment
from ray_fixtures import Cluster

from checkmaite_core import DeploymentError, configure_job_backend
from checkmaite_core.failure import FailureKind
from checkmaite_core.job import JobStatus
from checkmaite_ledger import JobLedger

SECRET = "planted-secret"
INDEX = f"https://user:{SECRET}@127.0.0.1:1/packages"
BACKENDS = ("ray-simple", "ray")


@pytest.fixture(scope="module")
def cluster(own_folders):
    """A head whose environment has what Ray makes overlays with, pip and virtualenv; reached directly."""
    folder = Path(tempfile.mkdtemp(prefix="head-", dir=own_folders))
    environment = tooled_environment(folder / "environment")
    cluster = Cluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        try:
            with pytest.MonkeyPatch.context() as once:
                once.setenv("RUNTIME_ENV_RETRY_TIMES", "1")  # read by the node: what fails here fails for good
                cluster.start_head(ray=environment.ray)
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(name, cluster.environment[name])
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def connected(cluster, store, scope):
    """Connect with either backend and an overlay: ray directly, ray-simple over ray://."""
    opened = []

    def connected(kind, runtime_env, **options):
        own = {"idempotency_scope": scope, "address": cluster.address}
        if kind == "ray-simple":
            own = {"address": cluster.client_address}  # so that both ways of connecting are tried
        opened.append(configure_job_backend(kind, analytics_store=store, runtime_env=runtime_env, **own, **options))
        return opened[-1]

    yield connected
    for backend in opened:
        backend.shutdown(wait=False)


def wheels(folder, *versions):
    for version in versions:
        tiny_wheel(folder, version)
    return ["--no-index", "--find-links", str(folder)]


def answer(backend, work, function, name):
    reference = backend.submit(work(function, name), force=backend.kind == "ray").result(60)
    return backend.store.query(f"select answer from answers where run_uid = '{reference.run_uid}'")["answer"][0].as_py()


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_working_dir_modules_packages_of_pip_and_variables_reach_the_worker(kind, connected, work, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "sent"  # the same for both, so that Ray installs once
    (folder / "code/sent_module").mkdir(parents=True, exist_ok=True)
    (folder / "code/in_working_dir.py").write_text("TEXT = 'working_dir'\n")
    (folder / "sent_module").mkdir(exist_ok=True)
    (folder / "sent_module/__init__.py").write_text("TEXT = 'py_modules'\n")

    def look():
        import in_working_dir
        import sent_module
        import tiny_overlay

        return f"{in_working_dir.TEXT} {sent_module.TEXT} {tiny_overlay.VERSION} {os.environ['FLAVOUR']}"

    backend = connected(
        kind,
        {
            "working_dir": folder / "code",
            "py_modules": [folder / "sent_module"],
            "pip": {"packages": ["tiny-overlay==1.0"], "pip_install_options": wheels(folder / "wheels", "1.0", "2.0")},
            "env_vars": {"FLAVOUR": "vanilla"},
        },
    )
    assert answer(backend, work, look, kind) == "working_dir py_modules 1.0 vanilla"


@pytest.mark.parametrize("kind", BACKENDS)
def test_packages_of_uv_reach_the_worker(kind, connected, work, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "for-uv"

    def look():
        import tiny_overlay

        return tiny_overlay.VERSION

    uv = {"packages": ["tiny-overlay==2.0"], "uv_pip_install_options": wheels(folder, "1.0", "2.0")}
    assert answer(connected(kind, {"uv": uv}), work, look, kind) == "2.0"


@pytest.mark.soak  # waits for the index
@pytest.mark.parametrize("field", ["pip", "uv"])
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_small_package_of_the_index_reaches_the_worker(kind, field, connected, work):
    def look():
        from importlib import metadata

        return metadata.version("iniconfig")

    assert answer(connected(kind, {field: ["iniconfig==2.0.0"]}), work, look, kind) == "2.0.0"


@pytest.mark.parametrize("kind", ["ray", pytest.param("ray-simple", marks=pytest.mark.soak)])
def test_a_job_whose_packages_cannot_be_installed_says_why_and_shows_no_secret_anywhere(
    kind, connected, work, scope, tmp_path
):
    # Ray repeats the command in its text.
    options = [*wheels(tmp_path, "1.0"), "--extra-index-url", INDEX, f"--config-settings=token={SECRET}-variable"]
    overlay = {
        "pip": {"packages": ["tiny-overlay==9"], "pip_install_options": options},
        "env_vars": {"TOKEN": f"{SECRET}-variable"},
    }
    with pytest.raises(DeploymentError) as caught:
        connected(kind, overlay)
    assert "No matching distribution found for tiny-overlay==9" in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value}"
    backend = connected(kind, overlay, version_skew="ignore")
    job = backend.submit(work(lambda: 1))
    assert job.wait(60) is JobStatus.FAILED
    assert job.failure.kind is FailureKind.DEPLOYMENT
    assert "No matching distribution found for tiny-overlay==9" in job.failure.message
    assert SECRET not in f"{job!r} {job.failure!r} {backend!r} {backend.jobs()!r}"
    if kind == "ray":
        records = JobLedger(backend.store_config.uri, scope).jobs().records
        assert [record.job_id for record in records] == [job.job_id]
        assert SECRET not in repr(records)


@pytest.mark.parametrize("kind", ["ray", pytest.param("ray-simple", marks=pytest.mark.soak)])
def test_a_node_without_pip_is_named_before_anything_is_built(kind, cluster, connected, tmp_path):
    node = cluster.add_node(cpus=0, ray=environment_without_pip(tmp_path / "environment").ray)
    try:
        with pytest.raises(DeploymentError) as caught:
            connected(kind, {"pip": ["tiny-overlay==1.0"]})
        first, node_line, hint = str(caught.value).splitlines()
        assert "'pip'" in first
        assert node_line.endswith(" has no pip")
        assert "pip install virtualenv pip" in hint
    finally:
        cluster.kill(node)
