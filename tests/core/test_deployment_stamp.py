"""The stamp: an environment says which lock it was made from."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_core.deployment import describe_environment, environment, read_stamp, write_stamp
from checkmaite_core.errors import DeploymentError


def _clear() -> None:
    """What is installed does not change while a process runs; here it does."""
    environment._base_environment.cache_clear()
    environment._described.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    _clear()
    yield
    _clear()


def test_a_stamp_is_the_digest_of_the_locks_bytes(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_bytes(b"version = 1\r\n")
    prefix = tmp_path / "env"
    prefix.mkdir()
    assert read_stamp(prefix) is None
    stamp = write_stamp(lock, prefix=prefix)
    assert (stamp.digest, stamp.lock) == (f"sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}", "uv.lock")
    assert read_stamp(prefix) == stamp
    assert [path.name for path in (prefix / "share" / "checkmaite").iterdir()] == ["deployment.json"]
    lock.write_bytes(b"version = 1\n")
    assert write_stamp(lock, prefix=prefix).digest != stamp.digest


def test_an_environment_carries_its_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert describe_environment().lock is None
    (tmp_path / "requirements.txt").write_text("ray==2.60.0\n")
    stamp = write_stamp(tmp_path / "requirements.txt")
    _clear()
    assert describe_environment().lock == stamp.digest


@pytest.mark.parametrize(("over", "found"), [("true", True), ("false", False)])
def test_an_environment_over_the_images_has_the_images_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str, found: bool
) -> None:
    image, overlay = tmp_path / "image", tmp_path / "overlay"
    for folder in (image, overlay):
        folder.mkdir()
    (tmp_path / "uv.lock").write_text("x")
    stamp = write_stamp(tmp_path / "uv.lock", prefix=image)
    (overlay / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {over}\n")
    monkeypatch.setattr(sys, "prefix", str(overlay))
    monkeypatch.setattr(sys, "base_prefix", str(image))
    assert read_stamp() == (stamp if found else None)


def test_a_lock_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"no\.lock cannot be read: No such file") as caught:
        write_stamp(tmp_path / "no.lock", prefix=tmp_path)
    assert "--lock uv.lock" in caught.value.hint


def test_an_environment_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    with pytest.raises(DeploymentError, match="no environment at") as caught:
        write_stamp(tmp_path / "uv.lock", prefix=tmp_path / "nowhere")
    assert "--prefix" in caught.value.hint
    assert not (tmp_path / "nowhere").exists()


def test_an_environment_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    (tmp_path / "share").touch()  # a file where a folder must be: it stops root as well
    with pytest.raises(DeploymentError, match=r"deployment\.json cannot be written") as caught:
        write_stamp(tmp_path / "uv.lock", prefix=tmp_path)
    assert "the user that owns it" in caught.value.hint
    assert read_stamp(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{}", '{"digest": 7, "lock": "x"}', "\udcff"])
def test_a_stamp_that_is_none_is_an_error_and_not_a_missing_one(tmp_path: Path, content: str) -> None:
    place = tmp_path / "share" / "checkmaite" / "deployment.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(os.fsencode(content))
    with pytest.raises(DeploymentError, match="it is not a stamp") as caught:
        read_stamp(tmp_path)
    assert "deployment stamp --lock FILE" in caught.value.hint
