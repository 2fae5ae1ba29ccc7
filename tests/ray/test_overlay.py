"""Overlays: the runtime_env of a client travels with its jobs, and its packages stay for as long as they are needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray_fixtures import Cluster

from checkmaite_core.errors import ClusterMismatchError, ConfigurationError
from checkmaite_ray.overlay import require_no_overlay
from checkmaite_ray_simple import connection
from checkmaite_ray_simple.overlay.keeping import OverlayKeeper
from checkmaite_ray_simple.overlay.packages import fetch, put
from checkmaite_ray_simple.overlay.reading import read_overlay
from checkmaite_ray_simple.overlay.uploading import packages_of, upload_overlay
from checkmaite_ray_simple.settings import RaySimpleOptions

_PIN = 8
"""Seconds that a client's pin lasts here, instead of an hour."""
_HOLD = 2
"""Seconds that a keeper's lasts."""
_CLIENT = """
import json, sys
import ray
from checkmaite_ray.overlay import require_no_overlay
from checkmaite_ray_simple.overlay import uploading
from checkmaite_ray_simple.overlay.reading import read_overlay
uploading.HOLD = int(sys.argv[3])
ray.init(sys.argv[1], runtime_env=json.loads(sys.argv[4]), logging_level="ERROR", log_to_driver=False)
print(uploading.upload_overlay(read_overlay(json.loads(sys.argv[2]))))
try:
    require_no_overlay()
except Exception as error:
    print(type(error).__name__)
"""


def prepare_overlay(runtime_env: dict[str, Any]) -> str:
    return upload_overlay(read_overlay(runtime_env))


@pytest.fixture(scope="module")
def driver(cluster: Cluster) -> Iterator[Cluster]:
    """This process, connected as a registry's process is: without a runtime_env."""
    held = connection.acquire(RaySimpleOptions(address=cluster.address))
    yield cluster
    connection.release(held)


def client(address: str, runtime_env: dict[str, Any], of_connection: dict[str, Any] | None = None) -> list[str]:
    """What another client, which is gone when this returns, prepares."""
    arguments = [address, json.dumps(runtime_env), str(_PIN), json.dumps(of_connection or {})]
    done = subprocess.run([sys.executable, "-c", _CLIENT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def module(folder: Path, text: str, name: str = "theirs") -> str:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return str(folder / name)


@ray.remote(num_cpus=0, max_retries=0)
def what_a_job_sees(name: str = "theirs") -> tuple[str, dict[str, str]]:
    import importlib
    import os

    return importlib.import_module(name).VERSION, {
        key: os.environ[key] for key in ("OURS", "ELSE") if key in os.environ
    }


@ray.remote(num_cpus=0)
class Launcher:
    """Launches as a controller does."""

    def launch(self, overlay: str, **options: Any) -> Any:
        return ray.get(what_a_job_sees.options(runtime_env=json.loads(overlay), **options).remote())


@pytest.mark.soak  # test_overlays_of_jobs.py shows it with jobs
def test_two_clients_versions_of_a_module_run_side_by_side_also_on_a_node_that_joins_when_both_have_gone(
    driver: Cluster, tmp_path: Path, until: Callable[..., Any]
) -> None:
    keeper = OverlayKeeper(hold=_HOLD)
    first = client(
        driver.address, {"py_modules": [module(tmp_path / "1", "VERSION = '1'")], "env_vars": {"OURS": "1"}}
    )[0]
    assert keeper.keep(first) == ()
    second = client(driver.client_address, {"py_modules": [module(tmp_path / "2", "VERSION = '2'")]})[0]
    assert keeper.keep(second) == ()
    forgotten = client(driver.address, {"py_modules": [module(tmp_path / "3", "VERSION = '3'")]})[0]
    # That one is kept by nobody: once it has gone, the pins of all three clients have expired, and the keeper has
    # asked for the other two again and again.
    until(lambda: fetch(packages_of(forgotten)[0]) is None, "the third client's package is deleted")
    keeper.close()
    keeper = OverlayKeeper(hold=_HOLD)  # that of a restarted registry
    assert keeper.restore([first, second]) == ()
    driver.add_node(resources='{"late": 1}')
    launcher = Launcher.remote()  # type: ignore[attr-defined]
    late = {"resources": {"late": 0.001}}
    assert ray.get(launcher.launch.remote(first, **late)) == ("1", {"OURS": "1"})
    assert ray.get(launcher.launch.remote(second, **late)) == ("2", {})
    assert ray.get(launcher.launch.remote(first)) == ("1", {"OURS": "1"})
    keeper.drop(first)
    until(lambda: fetch(packages_of(first)[0]) is None, "a package that nothing needs is deleted")
    assert fetch(packages_of(second)[0]) is not None
    keeper.close()
    until(lambda: fetch(packages_of(second)[0]) is None, "the other is deleted too")


def test_a_package_that_has_gone_is_named_and_can_be_put_back(driver: Cluster, tmp_path: Path) -> None:
    overlay = prepare_overlay({"py_modules": [module(tmp_path, "VERSION = 'back'")]})
    (uri,) = packages_of(overlay)
    data = fetch(uri)
    assert data is not None
    ray.experimental.internal_kv._internal_kv_del(uri)
    keeper = OverlayKeeper()
    assert keeper.keep(overlay) == (uri,)
    put(uri, data)
    assert ray.get(what_a_job_sees.options(runtime_env=json.loads(overlay)).remote())[0] == "back"
    keeper.close()


def test_equal_content_makes_equal_overlays_and_other_content_others(driver: Cluster, tmp_path: Path) -> None:
    def overlay(folder: str, text: str = "VERSION = 1", name: str = "theirs", field: str = "py_modules") -> str:
        path = module(tmp_path / folder, text, name)
        return prepare_overlay({field: [path] if field == "py_modules" else path, "env_vars": {"A": "1", "B": "2"}})

    first = overlay("a")
    os.utime(tmp_path / "a" / "theirs" / "__init__.py", (1, 1))
    again = prepare_overlay({"env_vars": {"B": "2", "A": "1"}, "py_modules": [str(tmp_path / "a" / "theirs")]})
    assert first == again == overlay("b")
    others = {overlay("c", "VERSION = 2"), overlay("d", name="other"), overlay("e", field="working_dir")}
    packages = {packages_of(one) for one in {first, *others}}
    assert len(packages) == 4, "a folder's name and its place in the archive count"


def test_two_builds_of_one_wheel_are_two_packages(driver: Cluster, tmp_path: Path) -> None:
    uris = []
    for build in ("one", "two"):
        file = tmp_path / build / "theirs-1.0-py3-none-any.whl"
        file.parent.mkdir()
        file.write_text(build)
        uris.append(packages_of(prepare_overlay({"py_modules": [str(file)]}))[0])
    assert len(set(uris)) == 2
    assert all(uri.startswith("gcs://theirs-1.0-0") and uri.endswith("-py3-none-any.whl") for uri in uris)


def test_excluded_and_ignored_files_do_not_travel(driver: Cluster, tmp_path: Path) -> None:
    folder = Path(module(tmp_path, "VERSION = 1", "work"))
    for name in ("data.bin", "kept.txt", "secret.txt"):
        (folder / name).write_text(name)
    (folder / ".gitignore").write_text("secret.txt\n")
    overlay = prepare_overlay({"working_dir": str(folder), "excludes": ["*.bin"]})

    @ray.remote(num_cpus=0)
    def listed() -> list[str]:
        import os

        return sorted(name for name in os.listdir() if not name.startswith((".", "_")))

    assert "excludes" not in json.loads(overlay)
    assert ray.get(listed.options(runtime_env=json.loads(overlay)).remote()) == ["kept.txt"]


def test_a_requirements_file_is_read_here(driver: Cluster, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("attrs==25.1\nidna\n")
    overlay = prepare_overlay({"pip": str(tmp_path / "requirements.txt")})
    assert json.loads(overlay)["pip"]["packages"] == ["attrs==25.1", "idna"]


@pytest.mark.parametrize(
    ("runtime_env", "named"),
    [
        ({"working_dir": "/no/such/folder"}, "/no/such/folder"),
        ({"py_modules": ["/etc/hostname"]}, "/etc/hostname"),
        ({"pip": "/no/requirements.txt"}, "/no/requirements.txt"),
        ({"envvars": {"A": "1"}}, "'envvars'"),
        ({"env_vars": {"PASSWORD": 4711}}, "'PASSWORD'"),
    ],
)
def test_a_runtime_env_that_cannot_work_is_refused_by_name(
    driver: Cluster, runtime_env: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare_overlay(runtime_env)
    assert named in str(caught.value)
    assert "4711" not in str(caught.value)


def test_a_connection_with_a_runtime_env_of_its_own_is_not_fit_to_start_a_registry(driver: Cluster) -> None:
    require_no_overlay()
    for address in (driver.address, driver.client_address):
        said = client(address, {}, {"env_vars": {"ELSE": "1"}})
        assert said[:2] == ["{}", ClusterMismatchError.__name__]
