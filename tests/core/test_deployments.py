"""Client and worker compared: what must match, what should, and the table that says so."""

from __future__ import annotations

import re

import pytest

from checkmaite_core.deployment import (
    Environment,
    Level,
    compare_environments,
    describe_alike,
    describe_environment,
    require_match,
)
from checkmaite_core.errors import VersionSkewError

BASE = {"checkmaite-core": "0.1.0", "ray": "2.60.0", "pydantic": "2.12.1", "pyarrow": "26.0.0", "their-models": "1.0"}


def _environment(python: str = "3.11.7", subject: str | None = None, **versions: str | None) -> Environment:
    chosen = {**BASE, **{name.replace("_", "-"): version for name, version in versions.items()}}
    kept = {name: version for name, version in chosen.items() if version is not None}
    return Environment(python=python, platform="linux-x86_64", versions=kept, subject=subject)


def test_equal_environments_match() -> None:
    assert compare_environments(_environment(), _environment()) == []
    require_match(_environment(), _environment(python="3.11.9"))


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"python": "3.12.0"}, "python", Level.ERROR),
        ({"ray": "2.60.1"}, "ray", Level.ERROR),
        ({"pydantic": "2.13.0"}, "pydantic", Level.ERROR),
        ({"checkmaite_core": "0.2.0"}, "checkmaite-core", Level.ERROR),
        ({"pyarrow": "25.0.0"}, "pyarrow", Level.WARNING),
        ({"their_models": "2.0"}, "their-models", Level.WARNING),
    ],
)
def test_a_difference_matters_as_much_as_it_does(change: dict[str, str], name: str, level: Level) -> None:
    (finding,) = compare_environments(_environment(), _environment(**change))
    assert (finding.distribution, finding.level) == (name, level)
    assert finding.client != finding.worker
    assert finding.reason


@pytest.mark.parametrize(
    "change",
    [{"pydantic": "2.12.9"}, {"checkmaite_core": "0.1.7"}, {"pyarrow": None}, {"their_models": None}, {"ray": None}],
)
def test_a_patch_of_ours_or_less_on_the_worker_need_not_match(change: dict[str, str | None]) -> None:
    assert compare_environments(_environment(), _environment(**change)) == []
    assert compare_environments(_environment(**change), _environment()) == []


def test_the_package_that_defines_the_capability_must_match_where_both_have_it_installed() -> None:
    client = _environment(subject="their-models")
    (finding,) = compare_environments(client, _environment(their_models="1.1"))
    assert finding.level is Level.ERROR
    # With working_dir or py_modules the code comes without metadata; unpickling says what is missing.
    require_match(client, _environment(their_models=None))


def test_skew_is_told_in_one_table_with_what_must_agree_first() -> None:
    client, worker = _environment(), _environment(python="3.12.1", pyarrow="25.0.0", ray="2.59.0")
    with pytest.raises(VersionSkewError) as caught:
        require_match(client, worker)
    head, columns, *lines = caught.value.message.splitlines()
    assert head == "the worker's environment does not fit the client's:"
    cells = [re.split(r" {2,}", line.strip()) for line in lines]
    assert re.split(r" {2,}", columns.strip()) == [
        "distribution",
        "client",
        "worker",
        "why it matters",
        "what to type",
    ]
    assert [cell[:4] for cell in cells] == [
        ["error", "python", "3.11.7", "3.12.1"],
        ["error", "ray", "2.60.0", "2.59.0"],
        ["warning", "pyarrow", "26.0.0", "25.0.0"],
    ]
    assert [cell[4:] for cell in cells[1:]] == [
        ["Ray needs the same version on both sides", 'client: pip install "ray==2.59.0"'],
        ["results could differ from those of a run on the client", 'client: pip install "pyarrow==25.0.0"'],
    ]
    assert "same lock" in caught.value.hint


def test_warnings_alone_stop_nothing() -> None:
    require_match(_environment(), _environment(pyarrow="1.0"))


def test_an_environment_describes_what_is_installed_and_travels_as_json() -> None:
    here = describe_environment()
    assert here.versions["checkmaite-core"]
    assert here.versions["pydantic"].startswith("2.")
    assert Environment.model_validate_json(here.model_dump_json()) == here
    hypothesis = describe_environment("hypothesis.strategies")
    assert hypothesis.subject == "hypothesis"
    assert "hypothesis" in hypothesis.versions
    assert describe_alike(hypothesis) == hypothesis


@pytest.mark.parametrize("module", [None, "__main__", "no_such_module", "json"])
def test_code_of_a_notebook_or_script_has_no_distribution(module: str | None) -> None:
    assert describe_environment(module).subject is None


def test_what_is_not_installed_here_has_no_version() -> None:
    client = Environment(python="3.11.7", platform="linux", subject="their-models", versions={"their-models": "1.0"})
    here = describe_alike(client)
    assert here.subject == "their-models"
    assert "their-models" not in here.versions


def test_a_namespace_that_several_distributions_share_belongs_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"shared": ["one", "two"], "alone": ["three", "three"]}
    monkeypatch.setattr("checkmaite_core.deployment.origin._packages", lambda: owners)
    assert describe_environment("shared.mine").subject is None
    assert describe_environment("alone.mine").subject == "three"
