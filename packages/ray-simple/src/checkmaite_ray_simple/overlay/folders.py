"""What of a folder would travel: how much it is, what of it is large, and what must not go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ray._private import ray_constants
from ray._private.runtime_env import packaging

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.location import local_path
from checkmaite_core.notices import warn
from checkmaite_ray_simple.overlay.fields import OverlayWarning

__all__ = ["Culprit", "heed_gitignore", "largest", "limit", "measure", "require_size", "without_stores"]

_MEBIBYTE = 1024 * 1024
_HEADERS = 120
"""Bytes that an archive needs beside the content of one file, and twice its name."""
_SHOWN = 5
_SPECIAL, _ESCAPED = re.compile(r"([\\*?\[\]!#])"), r"\\\1"
"""What means something in a pattern of a ``.gitignore`` file."""
_DRILL = 0.8
"""A folder is shown by what is in it, if one thing makes up so much of it."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """Something large.

    Attributes:
        path: Relative to the folder; with a slash at its end if it is a folder itself.
        size: Bytes.
    """

    path: str
    size: int


def limit() -> int:
    """Bytes from which on Ray takes no package."""
    return packaging.GCS_STORAGE_MAX_SIZE


def heed_gitignore() -> bool:
    """Whether Ray heeds ``.gitignore`` files; it always heeds ``.rayignore``."""
    return os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"


def measure(folder: Path, excludes: Sequence[str], *, gitignore: bool) -> dict[str, int]:
    """Bytes by relative path of the files that would travel; Ray's own walk, so that it is what Ray takes.

    Raises:
        OSError: Something cannot be looked at.
    """
    sizes: dict[str, int] = {}

    def look(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size

    packaging._dir_travel(folder, [packaging._get_excludes(folder, list(excludes))], look, gitignore)
    return sizes


def largest(sizes: Mapping[str, int], shown: int = _SHOWN) -> list[Culprit]:
    """What makes up most of a folder: files, or folders that are large by what is in them; the largest first."""
    totals: dict[PurePosixPath, int] = {}
    children: dict[PurePosixPath, set[PurePosixPath]] = {}
    for name, size in sizes.items():
        path = PurePosixPath(name)
        for place in (path, *path.parents):
            totals[place] = totals.get(place, 0) + size
            if place.name:
                children.setdefault(place.parent, set()).add(place)
    found = [_down(place, totals, children) for place in children.get(PurePosixPath(), ())]
    found.sort(key=lambda place: (-totals[place], place))
    return [Culprit(f"{place}/" if place in children else str(place), totals[place]) for place in found[:shown]]


def _down(
    place: PurePosixPath, totals: Mapping[PurePosixPath, int], children: Mapping[PurePosixPath, set[PurePosixPath]]
) -> PurePosixPath:
    while place in children and not place.name.startswith("."):
        most = max(children[place], key=lambda child: (totals[child], child))
        if totals[most] < _DRILL * totals[place]:
            break
        place = most
    return place


def require_size(field: str, folder: Path, sizes: Mapping[str, int]) -> None:
    """Make sure that Ray takes a package of these files.

    Raises:
        ConfigurationError: It is too large; what is large in it is named, and how to leave it out.
    """
    total, most = sum(sizes.values()) + sum(_HEADERS + 2 * len(name) for name in sizes), limit()
    if total < most:
        return
    culprits = largest(sizes)
    left, enough = total, []
    for culprit in culprits:
        enough.append(f"/{culprit.path}")
        left -= culprit.size
        if left < most:
            break
    table = "".join(f"\n  {_amount(item.size):>12}  {item.path}" for item in culprits)
    raise ConfigurationError(
        f"runtime_env[{field!r}]: {folder} makes a package of {_amount(total)} in {len(sizes)} files, and Ray takes "
        f"none of {_amount(most)} or more. Most of it is{table}",
        hint=f"Leave out what jobs do not need: runtime_env={{..., 'excludes': {enough!r}}}, or the same lines in a "
        ".gitignore or .rayignore file there. Data belongs on shared storage, large libraries into the workers' image.",
    )


def without_stores(folder: Path, excludes: Sequence[str], stores: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    """Patterns that leave out stores of results which lie in a folder, said where they would have travelled.

    Args:
        folder: What travels.
        excludes: What is left out already.
        stores: Locations of analytics stores and ledgers, URIs or absolute paths.
        sizes: What :func:`measure` has found.

    Raises:
        ConfigurationError: The folder itself is a store.
    """
    wanted = list(excludes)
    for store in stores:
        path = local_path(store)
        if path is None:
            continue
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
        if inside == os.curdir:
            if any(name == "store.json" or name.startswith(("inbox/", "jobs/")) for name in sizes):
                raise ConfigurationError(
                    f"runtime_env: the folder {folder} holds code and is the analytics store as well: every result "
                    "would travel with the code, and each change the package.",
                    hint='Give the store a folder of its own: analytics_store={"uri": "./analytics_store"}.',
                )
        elif not inside.startswith(os.pardir) and any(name.startswith(f"{inside}/") for name in sizes):
            pattern = f"/{_SPECIAL.sub(_ESCAPED, inside)}/"
            wanted.append(pattern)
            warn(
                f"runtime_env leaves out {path}, since results are kept there: it would travel with the code of "
                f"{folder}, and make another package of it after every run.\n"
                f"  -> Say so yourself, and this is not said again: runtime_env={{..., 'excludes': [{pattern!r}]}}.",
                OverlayWarning,
                stacklevel=4,
            )
    return wanted


def _amount(size: int) -> str:
    return f"{size / _MEBIBYTE:.1f} MiB" if size >= _MEBIBYTE / 10 else f"{size} bytes"
