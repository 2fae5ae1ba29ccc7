"""One place has one spelling, and two places never have the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from checkmaite_core import _paths
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.identity import run_key
from checkmaite_core.location import canonical_uri, local_path, same_place, scheme_of
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import prepare_submission


class Plain:
    """A capability."""

    id = "plain"

    def run(self, **_: Any) -> Any:
        return None


STEPS = st.text(st.sampled_from("aBé%2 -_"), min_size=1, max_size=4)
PREFIXES = st.lists(STEPS, max_size=4)


@st.composite
def spelled(draw: st.DrawFn, steps: list[str]) -> str:
    """A way to write a path of these steps."""
    written = ""
    for step in steps:
        written += "/" + draw(st.sampled_from(["", "/", "./", ".//./", "x/../", "x/y/../../"])) + step
    return written + draw(st.sampled_from(["", "/", "//", "/.", "/x/.."]))


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (
            ["s3://b/p", "s3://b/p/", "s3a://b/p", "S3://b/p", "s3://b//p/./", "S3A://b/x/../p//"],
            "s3://b/p",
        ),
        (["s3://b", "s3://b/", "s3a://b//", "s3://b/."], "s3://b"),
        (["gs://bkt/p", "gcs://bkt/p/", "GS://bkt//p"], "gs://bkt/p"),
        (["az://con/p", "abfs://con/p", "abfss://con/p/"], "az://con/p"),
        (
            [
                "abfs://con@acc.dfs.core.windows.net/p",
                "abfss://con@ACC.blob.core.windows.net/p/",
                "az://con@acc.Blob.core.windows.net//p",
            ],
            "abfss://con@acc.dfs.core.windows.net/p",
        ),
        (["memory://mine", "MEMORY://mine/"], "memory://mine"),
    ],
)
def test_spellings_of_one_place_are_one(spellings: list[str], canonical: str) -> None:
    assert {canonical_uri(each) for each in spellings} == {canonical}
    assert {AnalyticsStoreConfig(uri=each).uri for each in spellings} == {canonical}
    assert all(same_place(each, canonical) for each in spellings)
    assert {scheme_of(each) for each in spellings} == {scheme_of(canonical)}


def test_different_places_stay_different() -> None:
    places = [
        *("s3://b/p", "s3://b/P", "s3://B/p", "s3://b/p%20", "s3://b/p ", "s3://b/é", "s3://b/e\u0301", "s3://b"),
        *("gs://b/p", "az://b/p", "abfss://b@one.dfs.core.windows.net/p", "abfss://b@two.dfs.core.windows.net/p"),
        *("abfss://b@one.dfs.core.chinacloudapi.cn/p", "memory://b/p", "/b/p", "/b/p%20", "/b/p "),
        *("/b/é", "/b/e\u0301", "/s3:/b/p"),
    ]  # fmt: skip
    assert len({canonical_uri(each) for each in places}) == len(places)


def test_spellings_of_one_folder_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path.resolve() / "data" / "store"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        str(folder),
        f"{folder}/",
        f"/{folder}",
        f"//{folder}//.",
        f"{tmp_path}/link/store",
        f"{tmp_path}/link/../data/store",
        f"{tmp_path}/link/store/not-there/..",
        "store",
        "./store/",
        "../data/store",
        "~/data/store",
        "~/link/store",
        folder.as_uri(),
        f"FILE://localhost{folder}/",
        f"file:{folder}",
        f"file:///{folder}".replace("store", "%73tore"),
    ]
    assert {canonical_uri(each) for each in spellings} == {str(folder)}
    assert {AnalyticsStoreConfig(uri=each).uri for each in spellings} == {str(folder)}
    assert AnalyticsStoreConfig(uri=folder).uri == str(folder)  # type: ignore[arg-type]  # pathlib is taken as well


def test_what_does_not_exist_yet_is_spelled_by_what_does(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    wanted = str(tmp_path.resolve() / "real" / "later" / "store")
    assert canonical_uri(f"{tmp_path}/link/later/./store/") == wanted
    (tmp_path / "dangling").symlink_to("real/later")
    assert canonical_uri(f"{tmp_path}/dangling/store") == wanted


def test_dots_after_a_link_lead_to_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/inside")
    assert canonical_uri(f"{tmp_path}/link/../store") == str(tmp_path.resolve() / "far" / "store")


def test_a_path_that_is_no_text_has_a_spelling_that_is(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path.resolve()) + b"/caf\xe9 \n\xe2\x80\x8b"
    os.mkdir(odd)
    config = AnalyticsStoreConfig(uri=os.fsdecode(odd))
    assert config.uri == f"file://{tmp_path.resolve()}/caf%E9%20%0A%E2%80%8B"
    assert AnalyticsStoreConfig.model_validate_json(config.model_dump_json()) == config
    assert local_path(config.uri) == os.fsdecode(odd)
    assert canonical_uri(os.fsdecode(odd) + "/") == canonical_uri(config.uri) == config.uri


def test_a_path_from_another_process_is_taken_at_its_word(tmp_path: Path) -> None:
    """A worker may have mounted it elsewhere, and linked it: its own links make no other store of it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").symlink_to("elsewhere")
    sent = AnalyticsStoreConfig.model_validate_json(f'{{"uri": "{tmp_path}/store"}}')
    assert sent.uri == f"{tmp_path}/store"
    relative = AnalyticsStoreConfig.model_validate_json('{"uri": "./results"}')
    assert relative.uri == str(Path.cwd().resolve() / "results"), "a file that people write by hand"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/p", "S3A://b//p/./"),
        ("gs://bkt/p", "gcs://bkt/p/"),
        ("az://con@acc.blob.core.windows.net/p", "abfss://con@ACC.dfs.core.windows.net/p/"),
        ("{tmp}/real/store", "{tmp}/link/x/../store/"),
        ("{tmp}/real/store", "FILE://localhost{tmp}/link/%73tore"),
    ],
)
def test_equal_work_with_one_place_has_one_run_key(one: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    def key(uri: str) -> object:
        store = AnalyticsStoreConfig(uri=uri.format(tmp=tmp_path))
        return run_key(prepare_submission({"capability": Plain()}, backend="test", store=store), overlay="{}")

    assert key(one) == key(other) is not None


@given(st.data(), PREFIXES, PREFIXES)
def test_object_stores_have_one_spelling_each(data: st.DataObject, one: list[str], other: list[str]) -> None:
    first, second = (data.draw(spelled(steps)) for steps in (one, one))
    found = canonical_uri(f"s3://b{first}")
    assert found == canonical_uri(f"S3A://b{second}") == canonical_uri(found)
    assert (found == canonical_uri(f"s3://b{data.draw(spelled(other))}")) == (one == other)


@given(st.data(), PREFIXES, PREFIXES)
@settings(max_examples=200)
def test_paths_have_one_spelling_each(data: st.DataObject, one: list[str], other: list[str]) -> None:
    first, second = (data.draw(spelled(["not-there", *steps])) for steps in (one, one))
    found = canonical_uri(first)
    assert found == canonical_uri(second) == canonical_uri(found) == canonical_uri(found, resolve=False)
    assert (found == canonical_uri(data.draw(spelled(["not-there", *other])))) == (one == other)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "  ", "a\0b", "file://host/x", "file:///x?y", "file:///x#y", "file:relative", "file:///a%00b", "file:///a\nb"),
        *("s3://b/..", "s3://b/x/../..", "s3://b/p?versionId=hunter2", "s3://b/p#hunter2", " s3://b/p", "s3://b/p\n"),
        *("s3:/b/p", "S3A:/b", "gs:/b", "~no-such-user-here/x"),
    ],
)  # fmt: skip
def test_what_can_be_no_location_is_refused_and_no_secret_shown(uri: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        canonical_uri(uri)
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint
    with pytest.raises(ValidationError):
        AnalyticsStoreConfig(uri=uri)


def test_a_home_that_is_not_known_is_no_folder_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os; from checkmaite_core.location import canonical_uri; os.setuid(54321)\n"
        "try: print(canonical_uri('~/store'))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    if os.geteuid():  # none of our own has no entry: ask for one that has none
        code = code.replace("os.setuid(54321)", "os.getuid = lambda: 54321")
    monkeypatch.delenv("HOME", raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigurationError '~' stands for a home folder"), done.stdout


class _InsensitiveDisk:
    """A folder ``/Volumes/Café`` on a disk that takes any case and any composition of letters for the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
        self.names = names
        monkeypatch.setattr(_paths.os, "lstat", self.lstat)
        monkeypatch.setattr(_paths.os, "listdir", lambda folder: self.names[self.on_disk(folder)])
        monkeypatch.setattr(_paths.os.path, "realpath", lambda path: path)
        monkeypatch.setattr(_paths.os.path, "samestat", lambda one, other: one == other)

    def on_disk(self, path: str) -> str:
        found = "/"
        for step in filter(None, path.split("/")):
            same = [name for name in self.names.get(found, []) if _paths._folded(name) == _paths._folded(step)]
            if not same:
                raise FileNotFoundError(path)
            found = os.path.join(found, same[0])
        return found

    def lstat(self, path: str) -> Any:
        return self.on_disk(path)


def test_where_the_disk_takes_any_case_the_spelling_is_the_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _InsensitiveDisk(patched, {"/": ["Volumes"], "/Volumes": ["Cafe\u0301"], "/Volumes/Cafe\u0301": []})
        given = ("/volumes/Caf\u00e9/New", "/VOLUMES/cafe\u0301/New", "/Volumes/CAF\u00c9/New")
        found = {_paths.resolved_path(each) for each in given}
    assert found == {"/Volumes/Cafe\u0301/New"}


def test_links_to_the_same_folder_in_another_case_are_folders_of_their_own(tmp_path: Path) -> None:
    """On a disk that tells cases apart, as ours does."""
    (tmp_path / "store").mkdir()
    (tmp_path / "STORE").mkdir()
    assert canonical_uri(str(tmp_path / "STORE")) != canonical_uri(str(tmp_path / "store"))
