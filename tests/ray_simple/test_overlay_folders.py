"""Folders that travel with jobs: how much they may hold, what is named when that is too much, and what stays behind."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._private.runtime_env import packaging

from checkmaite_core import ConfigurationError
from checkmaite_ray_simple.overlay import OverlayWarning
from checkmaite_ray_simple.overlay.folders import Culprit, largest
from checkmaite_ray_simple.overlay.reading import read_overlay

MIB = 2**20
LIMIT = 10 * MIB


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and a Ray that takes ten MiB instead of half a gigabyte."""
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", LIMIT)
    project = tmp_path / "project"
    write(project, {"main.py": 100, "data/a.bin": 3 * MIB, "data/deep/b.bin": 4 * MIB, "model.pt": 9 * MIB})
    return project


def write(folder: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            file.truncate(size)


def store_in(folder: Path) -> str:
    write(folder, {"store.json": 2, "inbox/a.run": 1000})
    return str(folder)


def test_what_makes_a_folder_too_large_is_named_and_the_hint_can_be_pasted(folder):
    with pytest.raises(ConfigurationError) as caught:
        read_overlay({"working_dir": str(folder)})
    said = str(caught.value)
    assert "package of 16.0 MiB in 4 files, and Ray takes none of 10.0 MiB or more" in said
    assert [line.split() for line in said.splitlines()[1:4]] == [
        ["9.0", "MiB", "model.pt"],
        ["7.0", "MiB", "data/"],
        ["100", "bytes", "main.py"],
    ]
    assert "'excludes': ['/model.pt']" in said
    read_overlay({"working_dir": str(folder), "excludes": ["/model.pt"]})


def test_ignored_files_do_not_count_as_they_do_not_travel(folder, monkeypatch):
    (folder / ".gitignore").write_text("*.pt\n")
    read_overlay({"working_dir": str(folder)})
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    with pytest.raises(ConfigurationError, match=r"model\.pt"):
        read_overlay({"working_dir": str(folder)})
    (folder / ".rayignore").write_text("*.pt\n")
    read_overlay({"working_dir": str(folder)})


def test_what_ray_leaves_out_by_itself_does_not_count(folder):
    (folder / "model.pt").unlink()
    write(folder, {".venv/lib/big.so": 50 * MIB, ".git/objects/pack": 50 * MIB, "src/__pycache__/a.pyc": 50 * MIB})
    read_overlay({"working_dir": str(folder)})
    with pytest.raises(ConfigurationError, match=r"(?s)\['py_modules'\].*MiB +\.venv/\n"):
        read_overlay({"py_modules": [str(folder)]})


@pytest.mark.parametrize(
    ("name", "field"), [("big.whl", "py_modules"), ("big.py", "py_modules"), ("big.zip", "working_dir")]
)
def test_a_single_file_may_be_too_large_too(folder, name, field):
    write(folder, {name: 11 * MIB})
    given = str(folder / name)
    with pytest.raises(ConfigurationError, match=rf"11\.0 MiB +{name}"):
        read_overlay({field: given if field == "working_dir" else [given]})


@pytest.mark.parametrize(
    ("runtime_env", "said"),
    [
        ({"working_dir": "nowhere"}, "is not there"),
        ({"py_modules": ["nowhere"]}, "is not there"),
        ({"working_dir": "main.py"}, "is of no use"),
        ({"py_modules": ["model.pt"]}, "is of no use"),
    ],
)
def test_what_is_not_there_or_of_no_use_is_named_with_where_it_was_looked_for(folder, monkeypatch, runtime_env, said):
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigurationError) as caught:
        read_overlay(runtime_env)
    name = next(iter(runtime_env.values()))
    assert said in str(caught.value)
    assert str(folder / (name if isinstance(name, str) else name[0])) in str(caught.value)


def test_a_store_in_a_folder_that_travels_stays_behind_and_that_is_said(folder):
    (folder / "model.pt").unlink()
    store, ledger = store_in(folder / "analytics [1]"), store_in(folder / "deep/ledger")
    with pytest.warns(OverlayWarning) as caught:
        read = read_overlay({"working_dir": str(folder)}, stores=[store, f"file://{ledger}", "s3://bucket/store"])
    assert [name in str(warning.message) for warning, name in zip(caught, (store, ledger), strict=True)] == [True, True]
    wanted = read["excludes"][str(folder)]
    assert wanted[-2:] == [r"/analytics \[1\]/", "/deep/ledger/"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said by the user, so not by us
        again = read_overlay({"working_dir": str(folder), "excludes": wanted[-2:]}, stores=[store, ledger])
    assert again["excludes"] == read["excludes"]


def test_a_store_that_is_not_there_yet_or_is_ignored_by_git_is_not_spoken_of(folder):
    (folder / "model.pt").unlink()
    store = store_in(folder / "analytics_store")
    (folder / ".gitignore").write_text("/analytics_store/\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_overlay({"working_dir": str(folder)}, stores=[store, str(folder / "later")])


def test_a_folder_that_is_a_store_itself_is_refused(folder):
    (folder / "model.pt").unlink()
    store_in(folder)
    with pytest.raises(ConfigurationError, match="a folder of its own"):
        read_overlay({"working_dir": str(folder)}, stores=[str(folder)])


def test_git_and_ray_agree_on_what_is_left_out(folder):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("*.pt\n/data/deep/\n!keep.pt\n")
    write(folder, {"keep.pt": 1, "src/x.pt": 1, "src/deep/y": 1})
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.split()
    from checkmaite_ray_simple.overlay.folders import measure

    assert sorted(measure(folder, [".git"], gitignore=True)) == sorted(listed)


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(names, st.integers(0, 100), min_size=1, max_size=12))
def test_culprits_are_disjoint_the_largest_first_and_all_of_it_if_asked_for(sizes):
    # A name cannot be a file and a folder at once.
    sizes = {name: size for name, size in sizes.items() if not any(other.startswith(f"{name}/") for other in sizes)}
    found = largest(sizes, shown=100)
    assert [one.size for one in found] == sorted((one.size for one in found), reverse=True)
    for one in found:
        below = {n: s for n, s in sizes.items() if n == one.path or (one.path[-1] == "/" and n.startswith(one.path))}
        assert one.size == sum(below.values())
        assert below
    tops = [one.path.split("/")[0] for one in found]
    assert len(set(tops)) == len(tops)


def test_a_folder_is_shown_by_what_makes_it_large():
    assert largest({"a/b/c/big": 95, "a/b/small": 5, "d/1": 10, "d/2": 10}) == [
        Culprit("a/b/c/big", 95),
        Culprit("d/", 20),
    ]
