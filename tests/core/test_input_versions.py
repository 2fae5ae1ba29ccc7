"""What tells whether a reference names what it named before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checkmaite_core import DatasetRef, Inputs, ModelRef
from checkmaite_core import versions as versions_module
from checkmaite_core.input_identity import Identifier, InputIdentity
from checkmaite_core.versions import NotVersionedError, shown_uri, version_of

LOADER = "no_such_project.data:load"


def reference(uri: str, loader: Any = LOADER) -> DatasetRef:
    return DatasetRef(id="d", uri=uri, loader=loader)


def identity(value: Any) -> InputIdentity:
    return Identifier().identify(Inputs.of(datasets=[value]))[0]


@pytest.mark.parametrize("spelling", ["path", "uri"])
def test_a_local_file_is_known_by_its_content(tmp_path: Path, spelling: str) -> None:
    file = tmp_path / "weights einß.npy"
    file.write_bytes(b"first")
    uri = str(file) if spelling == "path" else file.as_uri()
    before = version_of(reference(uri))
    state = os.stat(file)
    file.write_bytes(b"other")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert version_of(reference(uri)) != before, "of the same size and time"
    file.write_bytes(b"first")
    assert version_of(reference(uri)) == before


def test_a_large_file_is_known_by_its_size_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions_module, "_READ_MOST_BYTES", 4)
    file = tmp_path / "weights.npy"
    file.write_bytes(b"first")
    before = version_of(reference(str(file)))
    assert version_of(reference(str(file))) == before
    state = os.stat(file)
    file.write_bytes(b"other")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert version_of(reference(str(file))) != before


def test_a_folder_is_known_by_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.png").write_bytes(b"1")
    seen = [version_of(reference(str(tmp_path)))]
    (tmp_path / "a" / "one.png").write_bytes(b"2")
    seen.append(version_of(reference(str(tmp_path))))
    (tmp_path / "a" / "two.png").write_bytes(b"2")
    seen.append(version_of(reference(str(tmp_path))))
    (tmp_path / "a" / "two.png").rename(tmp_path / "a" / "three.png")
    seen.append(version_of(reference(str(tmp_path))))
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3://user:secret@bucket/weights?token=secret#secret", "its uri has no version"),
        ("/no/such/path", "its uri is no path of this machine and has no version"),
        ("sklearn:digits", "its uri is no path of this machine and has no version"),
        ("a\0b", "its uri is no path of this machine and has no version"),
    ],
)
def test_what_has_no_version_is_not_reused_and_says_why_without_a_secret(uri: str, why: str) -> None:
    with pytest.raises(NotVersionedError, match=why):
        version_of(reference(uri))
    found = identity(reference(uri))
    assert found.how == "reference"
    assert found.uncertain is not None
    assert found.uncertain.startswith("it cannot be told whether dataset d (")
    assert "secret" not in found.model_dump_json()
    assert found.digest == identity(reference(uri)).digest, "newer numbers of it replace older ones"


def test_an_empty_folder_and_one_of_very_many_files_have_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotVersionedError, match="an empty folder"):
        version_of(reference(str(tmp_path)))
    monkeypatch.setattr(versions_module, "_MOST_FILES", 2)
    for number in range(3):
        (tmp_path / str(number)).touch()
    with pytest.raises(NotVersionedError, match="more than 2 files"):
        version_of(reference(str(tmp_path)))


def test_a_loader_may_know_the_version_of_what_it_loads() -> None:
    etags = {"s3://b/k": "etag-1"}

    def load(uri: str) -> Any:
        return SimpleNamespace(id="d", uri=uri)

    load.version_of = etags.get  # type: ignore[attr-defined]
    before = identity(reference("s3://b/k", load))
    assert (before.how, before.uncertain) == ("version", None)
    assert str(before).startswith("dataset d (by reference s3://b/k, sha ")
    etags["s3://b/k"] = "etag-2"
    assert identity(reference("s3://b/k", load)).digest != before.digest
    assert "does not know the version" in str(identity(reference("s3://b/other", load)).uncertain)

    def broken(uri: str) -> str:
        raise ConnectionError(f"no answer from {uri}")

    load.version_of = broken  # type: ignore[attr-defined]
    assert "raised ConnectionError" in str(identity(reference("s3://b/k?key=secret", load)).uncertain)
    assert "secret" not in str(identity(reference("s3://b/k?key=secret", load)).uncertain)


HOOKED = """
print("IMPORTED")

def version_of(uri):
    return "revision 7" if uri.startswith("s3:") else None

def load(uri):
    return None
"""
ASKING = """
import sys
from checkmaite_core import DatasetRef
from checkmaite_core.versions import NotVersionedError, version_of
for module in ("hooked", "plain"):
    try:
        print(module, version_of(DatasetRef(id="d", uri="s3://b/k", loader=f"{module}:load")))
    except NotVersionedError as error:
        print(module, error)
"""


def test_a_module_is_imported_for_its_version_of_and_only_for_that(tmp_path: Path) -> None:
    (tmp_path / "hooked.py").write_text(HOOKED)
    (tmp_path / "plain.py").write_text(HOOKED.replace("version_of", "revision_of").replace("IMPORTED", "NEVER"))
    done = subprocess.run([sys.executable, "-c", ASKING], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["IMPORTED", "hooked revision 7", "plain its uri has no version"]


def test_a_fingerprint_needs_no_version_and_equals_that_of_the_object() -> None:
    class Loaded:
        id = "d"
        fingerprint = "v7"

    by_reference = DatasetRef(id="d", uri="s3://b/k", loader=LOADER, fingerprint="v7")
    assert identity(by_reference).digest == identity(Loaded()).digest
    assert identity(by_reference).uncertain is None
    model = ModelRef(id="d", uri="s3://b/k", loader=LOADER, fingerprint="v8")
    assert identity(model).digest != identity(by_reference).digest


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://key:secret@b/k?versionId=1#x", "s3://b/k"),
        ("https://token@host:8000/a/b", "https://host:8000/a/b"),
        ("abfss://container@account.dfs.core.windows.net/k", "abfss://container@account.dfs.core.windows.net/k"),
        ("postgresql:user:pw@host/db?password=x", "host/db"),
        ("data/weights.npy", "data/weights.npy"),
    ],
)
def test_a_uri_is_shown_without_what_may_be_secret(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown
