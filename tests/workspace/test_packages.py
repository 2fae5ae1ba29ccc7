"""Each package is whole, and the packages fit together."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

SIBLINGS = SpecifierSet(">=0.1,<0.2")

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "storage": {"checkmaite_core", "fsspec"},
    "ledger": {"checkmaite_core", "checkmaite_storage"},
    "analytics-store": {"checkmaite_core", "checkmaite_storage", "pyarrow", "duckdb"},
    "ray-simple": {"checkmaite_core", "ray", "grpc", "packaging"},
    "ray": {"checkmaite_core", "checkmaite_ledger", "checkmaite_ray_simple", "ray"},
    "capabilities": {"checkmaite_core", "maite", "numpy"},
    "cli": {"checkmaite_core", "checkmaite_ledger", "checkmaite_analytics_store", "typer", "click", "rich", "pyarrow"},
}
"""Siblings and third parties, beside the standard library and pydantic, which all of them share."""

FOR_ALL = {"pydantic", "pydantic_core"} | sys.stdlib_module_names

S3 = {"s3fs", "aiobotocore", "botocore", "aiohttp"}
AZURE = {"adlfs", "azure", "aiohttp"}
GCS = {"gcsfs", "google", "aiohttp", "yarl"}

ONLY_IN: dict[str, dict[str, set[str]]] = {
    "storage": {
        **dict.fromkeys(("_s3", "_s3_client", "_s3_errors", "_s3_options", "_s3_session", "_s3_write"), S3),
        **dict.fromkeys(("_azure", "_azure_client", "_azure_errors"), AZURE),
        **dict.fromkeys(("_gcs", "_gcs_client", "_gcs_errors", "_gcs_http", "_gcs_unsafe", "_gcs_upload"), GCS),
        "testing": {"pytest"},
    },
    "core": {"testing": {"pytest", "hypothesis"}},
    "cli": {"demo": {"checkmaite_capabilities", "maite", "numpy", "scipy", "sklearn"}},
}
"""What a subpackage or module that belongs to an extra may import as well."""


def project(package: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return table


def import_name(package: Path) -> str:
    return f"checkmaite_{package.name.replace('-', '_')}"


def test_a_package_is_whole(package: Path) -> None:
    table = project(package)
    assert table["name"] == f"checkmaite-{package.name}"
    assert table["license"] == "Apache-2.0"
    assert (package / "src" / import_name(package) / "py.typed").is_file()
    readme = (package / "README.md").read_text()
    assert readme.startswith(f"# {table['name']}\n")
    assert len(readme.splitlines()) > 5, "the README says nothing"


def test_versions_are_in_step(root: Path, package: Path) -> None:
    assert project(package)["version"] == project(root)["version"]


def test_siblings_are_pinned_to_one_minor_version(package: Path) -> None:
    table = project(package)
    declared = [
        *table["dependencies"],
        *(one for extra in table.get("optional-dependencies", {}).values() for one in extra),
    ]
    siblings = [requirement for requirement in map(Requirement, declared) if requirement.name.startswith("checkmaite-")]
    assert {str(requirement): requirement.specifier for requirement in siblings} == {
        str(requirement): SIBLINGS for requirement in siblings
    }


def test_a_package_imports_only_what_it_may(package: Path) -> None:
    source = package / "src" / import_name(package)
    allowed = MAY_IMPORT[package.name] | FOR_ALL | {import_name(package)}
    found: dict[str, set[str]] = {}
    for path in source.rglob("*.py"):
        subpackage = path.relative_to(source).parts[0].removesuffix(".py")
        extra = ONLY_IN.get(package.name, {}).get(subpackage, set())
        if refused := _imports(path) - allowed - extra:
            found[str(path.relative_to(source))] = refused
    assert found == {}


def _imports(path: Path) -> set[str]:
    """Top-level names of the modules that the file imports when it runs: not those for type checkers."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        pending.extend(ast.iter_child_nodes(node))
    return names


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("checkmaite_core", {"ray", "pyarrow", "fsspec", "numpy", "torch", "duckdb", "maite"}),
        ("checkmaite_storage", {"ray", "pyarrow", "numpy", "torch", "duckdb"}),
        ("checkmaite_ledger", {"ray", "pyarrow", "numpy", "torch", "duckdb"}),
        ("checkmaite_ray", {"ray", "pyarrow", "fsspec", "numpy", "torch", "duckdb", "maite"}),
        ("checkmaite_ray_simple", {"ray", "pyarrow", "fsspec", "numpy", "torch", "duckdb", "maite"}),
        ("checkmaite_capabilities", {"ray", "pyarrow", "fsspec", "torch", "duckdb"}),
        ("checkmaite_cli", {"ray", "torch", "maite", "sklearn"}),
    ],
)
def test_importing_a_package_stays_light_although_everything_is_installed(module: str, heavy: set[str]) -> None:
    program = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert heavy & set(json.loads(result.stdout)) == set()
