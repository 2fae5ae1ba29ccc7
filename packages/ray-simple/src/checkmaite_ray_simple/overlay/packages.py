"""Packages of code in a cluster: made of folders here, kept in the GCS, fetched from there by each node.

Ray names a package by its files alone, and takes one that exists for the right one. So it would take a folder that was
uploaded as ``working_dir`` for the same folder as ``py_modules``, or two folders of other names and equal files for
one, and files that are changed while they are packed make a package that is not what its name says. Ours are named by
what is in the archive, places included.
"""

from __future__ import annotations

import hashlib
import logging
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import ray
from ray._private.runtime_env.packaging import create_package
from ray.experimental.internal_kv import (
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_put,
    _pin_runtime_env_uri,
)
from ray.util.client import ray as ray_client

from checkmaite_core.errors import ConfigurationError
from checkmaite_ray_simple.overlay import folders

__all__ = ["archive", "exists", "fetch", "pack", "pin", "put", "wheel"]

_log = logging.getLogger(__name__)
_PREFIX = "gcs://_ray_pkg_"


def pack(path: Path, *, keep_name: bool, gitignore: bool, excludes: Sequence[str]) -> tuple[str, bytes]:
    """Pack a folder or a file.

    Args:
        path: What to pack.
        keep_name: Whether the folder itself is to be in the archive, as for a module.
        gitignore: Heed ``.gitignore`` files.
        excludes: What to leave out, as in a ``.gitignore`` file.

    Returns:
        Its URI, equal for equal content, and its bytes.

    Raises:
        ConfigurationError: It has become too large since it was measured.
        OSError: It cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="checkmaite-") as folder:
        target = Path(folder) / "package.zip"
        create_package(
            str(path),
            target,
            include_gitignore=gitignore,
            include_parent_dir=keep_name,
            excludes=list(excludes),
            logger=_log,
        )
        folders.require_size("working_dir", path, {path.name: target.stat().st_size})
        return f"{_PREFIX}{_digest(target)}.zip", target.read_bytes()


def wheel(path: Path) -> tuple[str, bytes]:
    """A wheel under a name of its content: two builds of one version have one file name, and Ray goes by that.

    Raises:
        ConfigurationError: Its name is not a wheel's.
        OSError: It cannot be read.
    """
    parts = path.name.removesuffix(".whl").split("-")
    if len(parts) not in (5, 6):
        raise ConfigurationError(
            f"py_modules: {path} has not the name of a wheel.",
            hint="Build it anew (`uv build`): a wheel's name is name-version-python-abi-platform.whl.",
        )
    data = path.read_bytes()
    # The build tag is the one part of a wheel's name that is free; it begins with a digit.
    build = f"0{hashlib.sha256(data).hexdigest()[:32]}"
    return f"gcs://{'-'.join((*parts[:2], build, *parts[-3:]))}.whl", data


def archive(path: Path) -> tuple[str, bytes]:
    """A ready-made archive.

    Raises:
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    return f"{_PREFIX}{hashlib.sha256(data).hexdigest()[:40]}.zip", data


def exists(uri: str) -> bool:
    """Whether the cluster has it."""
    return bool(_internal_kv_exists(uri))


def fetch(uri: str) -> bytes | None:
    """Its bytes, or None if the cluster does not have it."""
    found: bytes | None = _internal_kv_get(uri)
    return found


def put(uri: str, data: bytes) -> None:
    """Give it to the cluster. It stays as long as it is pinned; if nobody ever pins it, for good."""
    _internal_kv_put(uri, data)


def pin(uris: Iterable[str], seconds: int) -> None:
    """Have the cluster keep packages for so long at least. Once the last pin has expired, it deletes them."""
    wanted = list(uris)
    client: object = ray_client
    if wanted and client.is_connected():  # type: ignore[attr-defined]
        # Ray 2.60's server for ray:// clients has no such call once they are connected, and the client tries forever.
        ray.get(ray.remote(num_cpus=0)(_pin_here).remote(wanted, seconds))
    else:
        _pin_here(wanted, seconds)


def _pin_here(uris: list[str], seconds: int) -> None:
    for uri in uris:
        _pin_runtime_env_uri(uri, expiration_s=seconds)


def _digest(archive: Path) -> str:
    """Of names, contents and who may execute; not of the times and the rest, which differ between equal folders."""
    total = hashlib.sha256()
    with zipfile.ZipFile(archive) as opened:
        for entry in sorted(opened.infolist(), key=lambda entry: entry.filename):
            executable = bool(entry.external_attr >> 16 & stat.S_IXUSR) and not entry.is_dir()
            content = hashlib.sha256(opened.read(entry)).hexdigest()
            total.update(f"{entry.filename!r} {executable} {content}\n".encode())
    return total.hexdigest()[:40]
