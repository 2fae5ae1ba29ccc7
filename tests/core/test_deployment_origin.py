"""Where the code of a capability comes from, and whether it is the same there."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_core.deployment import (
    Environment,
    Level,
    code,
    compare_environments,
    describe_alike,
    describe_environment,
    environment,
    origin,
)

CACHES = (
    origin.distribution_of,
    origin.comes_from,
    origin._packages,
    origin._editable_folders,
    environment._described,
    environment._base_environment,
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What is installed does not change while a process runs; here it does."""
    for cached in CACHES:
        cached.cache_clear()
    yield
    for cached in CACHES:
        cached.cache_clear()


def _module(folder: Path, text: str, name: str = "lighting_checks") -> Path:
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("raise RuntimeError('describing must import nothing')\n")
    (package / "brightness.py").write_text(text)
    return folder


def _install(site: Path, version: str, *, name: str = "Lighting.Checks", files: str = "", url: object = None) -> None:
    notes = site / f"lighting_checks-{version}.dist-info"
    notes.mkdir(parents=True)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (notes / "RECORD").write_text(f"{notes.name}/METADATA,,\n{notes.name}/RECORD,,\n{files}")
    if url is not None:
        (notes / "direct_url.json").write_text(json.dumps(url))


def _wheel(site: Path, version: str, text: str = "LEVEL = 1\n") -> Path:
    """An installation that lists its files."""
    _module(site, text)
    _install(site, version, files="lighting_checks/__init__.py,,\nlighting_checks/brightness.py,,\n")
    return site


def _editable(site: Path, version: str, source: Path) -> Path:
    """An installation that is a line of a .pth file; Python itself adds that line to the path, here the test does."""
    url = {"url": source.parent.as_uri(), "dir_info": {"editable": True}}
    _install(site, version, files="lighting_checks.pth,,\n", url=url)
    (site / "lighting_checks.pth").write_text(f"import sys\n{source}\n")
    return site


def _described_with(*folders: Path, alike: Environment | None = None) -> Environment:
    """What a process would say that has nothing but these folders on its path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder) for folder in folders])
        importlib.invalidate_caches()
        for cached in CACHES:
            cached.cache_clear()
        return describe_alike(alike) if alike else describe_environment("lighting_checks.brightness")


def test_an_installed_capability_is_known_by_its_distribution(tmp_path: Path) -> None:
    client = _described_with(_wheel(tmp_path, "1.1"))
    assert (client.subject, client.module) == ("Lighting.Checks", "lighting_checks.brightness")
    assert client.versions["Lighting.Checks"] == "1.1"
    assert client.code


def test_so_is_an_editable_one_which_lists_no_files(tmp_path: Path) -> None:
    source = _module(tmp_path / "project of mine" / "src", "LEVEL = 1\n")
    client = _described_with(_editable(tmp_path / "site", "1.1.dev3", source), source)
    assert (client.subject, client.versions["Lighting.Checks"]) == ("Lighting.Checks", "1.1.dev3")


@pytest.mark.parametrize("url", [{}, {"url": "git+https://x"}, {"dir_info": "?"}, [], {"dir_info": {"editable": True}}])
def test_notes_of_an_installer_that_are_not_as_the_standard_has_them_are_no_editable_ones(
    tmp_path: Path, url: object
) -> None:
    source = _module(tmp_path / "src", "LEVEL = 1\n")
    _install(tmp_path / "site", "1.0", files="lighting_checks.pth,,\n", url=url)
    (tmp_path / "site" / "lighting_checks.pth").write_text(f"{source}\n")
    assert _described_with(tmp_path / "site", source).subject is None


def test_code_of_another_version_on_the_worker_is_refused_by_version(tmp_path: Path) -> None:
    client = _described_with(_wheel(tmp_path / "client", "1.1", "LEVEL = 2\n"))
    worker = _described_with(_wheel(tmp_path / "worker", "1.0"), alike=client)
    (finding,) = compare_environments(client, worker)
    assert (finding.level, finding.client, finding.worker) == (Level.ERROR, "1.1", "1.0")
    assert 'image: pip install "Lighting.Checks==1.1"' in finding.remedy


def test_an_overlay_that_brings_the_clients_code_is_no_skew_whatever_the_image_has(tmp_path: Path) -> None:
    source = _module(tmp_path / "src", "LEVEL = 2\n")
    client = _described_with(_editable(tmp_path / "site", "1.1", source), source)
    image = _wheel(tmp_path / "image", "1.0")
    assert compare_environments(client, _described_with(image, alike=client)) != []
    overlay = _module(tmp_path / "overlay", "LEVEL = 2\n")
    assert compare_environments(client, _described_with(overlay, image, alike=client)) == []


def test_a_stale_overlay_is_refused_although_no_version_tells(tmp_path: Path) -> None:
    source = _module(tmp_path / "src", "LEVEL = 2\n")
    client = _described_with(_editable(tmp_path / "site", "1.1", source), source)
    worker = _described_with(_module(tmp_path / "overlay", "LEVEL = 1\n"), alike=client)
    (finding,) = compare_environments(client, worker)
    assert finding.level is Level.ERROR
    assert finding.distribution == "Lighting.Checks"
    assert "lighting_checks.brightness defines the capability: another build" in finding.reason
    assert "configure_job_backend(...) again" in finding.remedy


def test_one_version_with_two_texts_is_refused(tmp_path: Path) -> None:
    client = _described_with(_wheel(tmp_path / "client", "1.1", "LEVEL = 2\n"))
    worker = _described_with(_wheel(tmp_path / "worker", "1.1", "LEVEL = 1\n"), alike=client)
    (finding,) = compare_environments(client, worker)
    assert finding.level is Level.ERROR
    assert finding.client.startswith("1.1 ")
    assert finding.client != finding.worker


@pytest.mark.parametrize(
    "text", ["LEVEL = 2\r\n", "# a note\n\nLEVEL = 2  # another\n", "LEVEL    = 2", "LEVEL = 2\n\n\n"], ids=repr
)
def test_comments_and_layout_make_no_other_code(tmp_path: Path, text: str) -> None:
    client = _described_with(_module(tmp_path / "client", "LEVEL = 2\n"))
    _module(tmp_path / "worker", "")
    (tmp_path / "worker" / "lighting_checks" / "brightness.py").write_bytes(text.encode())
    assert compare_environments(client, _described_with(tmp_path / "worker", alike=client)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LEVEL = 2\n", "LEVEL = 3\n"),
        ("if 1:\n    A = 2\n    B = 3\n", "if 1:\n    A = 2\nB = 3\n"),
        ("A = '# 1'\n", "A = '# 2'\n"),
        ("A = (", "A = [("),
        ("", "A = 1"),
        ("\x00", "\x00\x00"),
    ],
)
def test_all_else_does(tmp_path: Path, one: str, other: str) -> None:
    client = _described_with(_module(tmp_path / "client", one))
    worker = _described_with(_module(tmp_path / "worker", other), alike=client)
    assert [finding.level for finding in compare_environments(client, worker)] == [Level.ERROR]


def test_code_that_the_worker_lacks_is_left_to_unpickling_which_names_it(tmp_path: Path) -> None:
    client = _described_with(_wheel(tmp_path, "1.1"))
    worker = _described_with(alike=client)
    assert worker.code is None
    assert compare_environments(client, worker) == []


def test_the_distributions_of_the_inputs_classes_are_compared_too() -> None:
    plain = describe_environment("json")
    assert "hypothesis" not in plain.versions
    client = describe_environment("json", values=["hypothesis.strategies", "builtins", "__main__"])
    assert "hypothesis" in client.versions
    assert client.subject is None
    worker = describe_alike(client)
    assert worker == client
    older = worker.model_copy(update={"versions": {**worker.versions, "hypothesis": "1.0"}})
    (finding,) = compare_environments(client, older)
    assert (finding.distribution, finding.level) == ("hypothesis", Level.WARNING)


def test_only_modules_with_a_source_of_their_own_have_code() -> None:
    assert code.code_of("checkmaite_core.deployment.origin")
    none = ("__main__", "no_such.module", "hypothesis.no_such", "json", "sys")  # Python's own may differ by a patch
    assert [code.code_of(name) for name in none] == [None] * len(none)
