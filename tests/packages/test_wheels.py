"""Each package builds alone, installs alone, and brings what it declares and nothing more."""

from __future__ import annotations

import email
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Environment

    Install = Callable[[str], Environment]

pytestmark = pytest.mark.packages

PACKAGES = sorted(path.parent.name for path in Path(__file__).parents[2].glob("packages/*/pyproject.toml"))
every_package = pytest.mark.parametrize("name", PACKAGES)

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import {module} as package
optional = {optional}
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if found.name.rpartition(".")[2] != "__main__" and not any(
        found.name == name or found.name.startswith(name + ".") for name in optional
    ):
        importlib.import_module(found.name)
print(json.dumps(sorted(sys.modules)))
"""
OPTIONAL = {
    "core": ["checkmaite_core.testing"],
    "storage": ["checkmaite_storage.testing", "checkmaite_storage._s3_session"],
    "cli": ["checkmaite_cli.demo"],
}
"""Modules that need an extra of their package."""


@every_package
def test_a_wheel_carries_its_types_readme_and_licence(name: str, wheels: dict[str, Path]) -> None:
    module = f"checkmaite_{name.replace('-', '_')}"
    with zipfile.ZipFile(wheels[name]) as wheel:
        names = wheel.namelist()
        (metadata,) = (entry for entry in names if entry.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(wheel.read(metadata))
    assert f"{module}/py.typed" in names
    assert any(entry.endswith(".dist-info/licenses/LICENSE") for entry in names)
    assert {entry.partition("/")[0] for entry in names} == {module, metadata.partition("/")[0]}
    assert message["License-Expression"] == "Apache-2.0"
    assert message["Description-Content-Type"] == "text/markdown"
    assert str(message.get_payload()).strip().startswith(f"# checkmaite-{name}")


@every_package
def test_a_package_installed_alone_can_import_all_its_modules(name: str, install: Install) -> None:
    module = f"checkmaite_{name.replace('-', '_')}"
    environment = install(f"checkmaite-{name}")
    assert module in environment.run(IMPORT_ALL.format(module=module, optional=json.dumps(OPTIONAL.get(name, []))))


@pytest.mark.parametrize(
    ("requirement", "module"),
    [
        ("checkmaite-core[testing]", "checkmaite_core.testing"),
        ("checkmaite-storage[testing,s3]", "checkmaite_storage.testing"),
        ("checkmaite-cli[demo]", "checkmaite_cli.demo"),
    ],
)
def test_an_extra_brings_what_its_subpackage_needs(requirement: str, module: str, install: Install) -> None:
    assert module in install(requirement).run(IMPORT_ALL.format(module=module.partition(".")[0], optional="[]"))


def test_core_brings_none_of_the_heavy_libraries(install: Install) -> None:
    assert install("checkmaite-core").distributions & {"ray", "pyarrow", "fsspec", "numpy", "torch"} == set()


@pytest.mark.parametrize("backend", ["ray-simple", "ray"])
def test_a_worker_has_neither_the_query_engine_nor_the_command_line(backend: str, install: Install) -> None:
    distributions = install(f"checkmaite-{backend}").distributions
    assert {"ray", "pyarrow", "checkmaite-analytics-store"} <= distributions
    ours = {name for name in distributions if name.startswith("checkmaite-")}
    brought = {"checkmaite-core", "checkmaite-storage", "checkmaite-analytics-store", "checkmaite-ray-simple"}
    assert ours == (brought if backend == "ray-simple" else brought | {"checkmaite-ledger", "checkmaite-ray"})
    assert distributions & {"duckdb", "typer", "torch", "scikit-learn", "maite"} == set()


@pytest.mark.parametrize(("extra", "connector"), [("s3", "s3fs"), ("gcs", "gcsfs"), ("azure", "adlfs")])
def test_a_worker_gets_a_connector_by_an_extra(extra: str, connector: str, install: Install) -> None:
    plain = install("checkmaite-ray-simple").distributions
    assert plain & {"s3fs", "gcsfs", "adlfs"} == set()
    environment = install(f"checkmaite-ray-simple[{extra}]")
    assert environment.distributions & {"s3fs", "gcsfs", "adlfs", "duckdb", "typer"} == {connector}
    assert connector in environment.run(f"import json, sys, {connector}; print(json.dumps(sorted(sys.modules)))")


def test_the_history_of_jobs_is_read_without_ray(install: Install) -> None:
    assert install("checkmaite-ledger").distributions & {"ray", "pyarrow", "checkmaite-analytics-store"} == set()


@pytest.mark.parametrize("name", ["storage", "ledger", "analytics-store", "ray-simple", "ray", "cli"])
def test_every_package_above_passes_the_extras_on(name: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        (metadata,) = (entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(wheel.read(metadata))
    assert {"s3", "gcs", "azure"} <= set(message.get_all("Provides-Extra", []))


def test_siblings_come_from_the_wheels_built_here(install: Install) -> None:
    program = (
        "import importlib.metadata, json;"
        "print(json.dumps([d.read_text('direct_url.json') for d in importlib.metadata.distributions()"
        " if d.name.startswith('checkmaite-')]))"
    )
    origins = install("checkmaite-cli").run(program)
    assert len(origins) == 5
    assert all(json.loads(origin)["url"].startswith("file://") for origin in origins)
