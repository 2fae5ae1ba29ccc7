"""Where a module comes from: its distribution, its folder. Nothing is imported."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from checkmaite_core.code.finding import find_module

__all__ = ["comes_from", "distribution_of", "folders_alone"]


@functools.cache
def distribution_of(top_level: str) -> str | None:
    """The distribution that brings a top-level module, an editable one included.

    None for scripts, notebooks, loose files, and namespaces that several distributions share.
    """
    if top_level == "__main__" or top_level in sys.stdlib_module_names:
        return None  # without a look at all that is installed, which takes a while
    found = set(_packages().get(top_level, []))
    if found:
        return found.pop() if len(found) == 1 else None
    folder = _folder_of(top_level)
    return None if folder is None else _editable_folders().get(folder)


@functools.cache
def comes_from(top_level: str, distribution: str) -> bool:
    """Whether a module would be imported from this distribution, and not from an overlay or a folder before it.

    True also where that cannot be told: there is no such module, or it has no place of its own.
    """
    folder = _folder_of(top_level)
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return folder is None
    return folder is None or any(Path(folder).is_relative_to(root) for root in _roots(installed))


def folders_alone(top_level: str) -> list[str]:
    """Where a module is no more than folders of its name, with no ``__init__.py``; empty where it is a real one."""
    found = find_module(top_level) if top_level else None
    return [] if found is None or found.kind != "namespace" else list(found.locations)


@functools.cache
def _packages() -> dict[str, list[str]]:
    return {name: list(found) for name, found in metadata.packages_distributions().items()}


@functools.cache
def _editable_folders() -> dict[str, str]:
    """Distribution by folder, of those that are installed as a line of a ``.pth`` file."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        if _project(distribution) is not None:
            for folder in _path_lines(distribution):
                found.setdefault(folder, distribution.name)
    return found


def _roots(distribution: metadata.Distribution) -> Iterator[str]:
    """The folders that a distribution's modules lie in."""
    project = _project(distribution)
    if project is None:
        yield os.path.realpath(str(distribution.locate_file("")))
    else:
        yield project
        yield from _path_lines(distribution)


def _project(distribution: metadata.Distribution) -> str | None:
    """The folder of the project that a distribution is an editable installation of."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        editable = origin.get("dir_info", {}).get("editable") is True
        return os.path.realpath(unquote(urlsplit(origin["url"]).path)) if editable else None
    except (ValueError, KeyError, AttributeError):
        return None  # not as the standard has it: taken for an ordinary installation


def _path_lines(distribution: metadata.Distribution) -> Iterator[str]:
    for file in distribution.files or ():
        if file.suffix == ".pth":
            for line in Path(str(distribution.locate_file(file))).read_text("utf-8").splitlines():
                if os.path.isabs(line.strip()):
                    yield os.path.realpath(line.strip())


def _folder_of(top_level: str) -> str | None:
    """The folder on the path that a top-level module would be imported from."""
    found = find_module(top_level)
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent if found.is_package else Path(found.origin)
    return os.path.realpath(package.parent)
