"""The calls that platform teams copy into their own pages stand in the documentation, and mean what they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import code_pages
import pytest
from pydantic import BaseModel

from checkmaite_core import AnalyticsStoreConfig, CheckmaiteError
from checkmaite_core.backend import load_backend_plugin, parse_options
from checkmaite_ray import RayOptions, RegistrySettings

LOCAL = """\
configure_job_backend(
    "ray",
    address="local",
    idempotency_scope="local-dev",
    analytics_store={"backend": "parquet", "uri": "./analytics_store"},
)"""
OVERLAY = """\
configure_job_backend(
    "ray",
    address="ray://cluster-head:10001",
    idempotency_scope="team-a-prod-evals",
    runtime_env={
        "working_dir": ".",
        "pip": ["my-small-lib==0.3.1"],
        "env_vars": {
            "MODEL_REGISTRY_URL": "https://registry.internal",
        },
    },
    analytics_store={
        "backend": "parquet",
        "uri": "s3://team-checkmaite/analytics-store",
        "storage_options": {"anon": False},
    },
)"""
OBJECT_STORE = """\
configure_job_backend(
    "ray",
    address="ray://cluster-head:10001",
    idempotency_scope="team-a-prod-evals",
    analytics_store={
        "backend": "parquet",
        "uri": "s3://team-checkmaite/results",
        "storage_options": {
            "anon": False,
        },
    },
    runtime_env={
        "env_vars": {
            "AWS_REGION": "us-east-1",
        }
    },
)"""
CALLS = {"local": LOCAL, "overlay": OVERLAY, "object store": OBJECT_STORE}


def arguments(call: str) -> dict[str, Any]:
    """The keyword arguments of a call, as Python reads them."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    return {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in tree.keywords}


def parsed(call: str) -> tuple[RayOptions, AnalyticsStoreConfig]:
    """Options and store of a call, read as ``configure_job_backend`` does before it connects."""
    given = arguments(call)
    store = AnalyticsStoreConfig.model_validate(given.pop("analytics_store"))
    options = parse_options("ray", load_backend_plugin("ray"), given)
    assert isinstance(options, RayOptions)
    return options, store


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_page_on_backends_shows_the_call_as_it_is_copied(call: str) -> None:
    page = "docs/concepts/backend.md"
    blocks = code_pages.blocks_of(page, (code_pages.ROOT / page).read_text())
    assert any(call in block.source for block in blocks if block.language == "python")


def test_the_local_call_names_a_scope_and_a_folder() -> None:
    options, store = parsed(LOCAL)
    assert (options.address, options.idempotency_scope, options.runtime_env) == ("local", "local-dev", {})
    assert (store.backend, store.uri, store.storage_options) == ("parquet", str(Path("analytics_store").resolve()), {})


def test_the_call_with_an_overlay_hands_all_of_it_to_ray() -> None:
    options, store = parsed(OVERLAY)
    assert (options.address, options.idempotency_scope) == ("ray://cluster-head:10001", "team-a-prod-evals")
    assert options.runtime_env == {
        "working_dir": ".",
        "pip": ["my-small-lib==0.3.1"],
        "env_vars": {"MODEL_REGISTRY_URL": "https://registry.internal"},
    }
    assert (store.uri, store.storage_options) == ("s3://team-checkmaite/analytics-store", {"anon": False})


def test_the_call_with_an_object_store_hands_its_options_to_the_connector() -> None:
    options, store = parsed(OBJECT_STORE)
    assert options.runtime_env == {"env_vars": {"AWS_REGION": "us-east-1"}}
    assert (store.uri, store.storage_options) == ("s3://team-checkmaite/results", {"anon": False})


def test_the_scope_is_required_and_every_other_option_has_a_default() -> None:
    with pytest.raises(CheckmaiteError, match="idempotency_scope"):
        parse_options("ray", load_backend_plugin("ray"), {})
    parse_options("ray", load_backend_plugin("ray"), {"idempotency_scope": "s"})


@pytest.mark.timeout(120)
def test_the_local_call_works_as_it_is_copied(tmp_path: Path) -> None:
    page = f"from checkmaite_core import configure_job_backend, shutdown_job_backend\n{LOCAL}\nshutdown_job_backend()\n"
    result = code_pages.run_page(page, tmp_path, "local.md")
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "work" / "analytics_store" / "jobs" / "local-dev" / "epochs").is_dir()


@pytest.mark.parametrize(
    ("document", "settings"), [("packages/ray/README.md", RayOptions), ("docs/operating-jobs.md", RegistrySettings)]
)
def test_the_tables_of_options_are_complete(document: str, settings: type[BaseModel]) -> None:
    text = (code_pages.ROOT / document).read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) - {"local"} == set(settings.model_fields)
