"""Backends, result stores and storage connectors: found by entry point, loaded when asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

from checkmaite_core.errors import PluginBrokenError, PluginNotFoundError

__all__ = ["JOB_BACKENDS", "RESULT_STORES", "STORAGE", "PluginGroup", "available_plugins", "load_plugin"]


@dataclass(frozen=True, slots=True)
class PluginGroup:
    """One kind of plugin.

    Attributes:
        group: The entry point group.
        noun: What one is called in messages.
        known: Requirement to install by name, for those that we publish.
    """

    group: str
    noun: str
    known: tuple[tuple[str, str], ...]


JOB_BACKENDS = PluginGroup(
    "checkmaite.job_backends", "job backend", (("ray", "checkmaite-ray"), ("ray-simple", "checkmaite-ray-simple"))
)
RESULT_STORES = PluginGroup("checkmaite.result_stores", "result store", (("parquet", "checkmaite-analytics-store"),))
STORAGE = PluginGroup(
    "checkmaite.storage",
    "storage connector",
    (
        ("file", "checkmaite-storage"),
        ("s3", "checkmaite-storage[s3]"),
        ("gs", "checkmaite-storage[gcs]"),
        ("az", "checkmaite-storage[azure]"),
    ),
)


def _discover(group: str) -> tuple[dict[str, EntryPoint], list[str]]:
    """The plugins of a group by name, and why some distributions cannot say what they bring."""
    try:
        return {point.name: point for point in entry_points(group=group)}, []
    except Exception:  # one unreadable file spoils this for all distributions: found, and named, one by one
        return _discover_one_by_one(group)


def _discover_one_by_one(group: str) -> tuple[dict[str, EntryPoint], list[str]]:
    points: dict[str, EntryPoint] = {}
    unreadable: list[str] = []
    for distribution in distributions():
        try:
            own = distribution.entry_points.select(group=group)
        except Exception as error:  # foreign metadata: whatever is wrong with it is reported under its name
            unreadable.append(f"the entry points of {distribution.name} cannot be read: {error}")
        else:
            # Of two distributions with one name the first on the path counts.
            points = {**{point.name: point for point in own}, **points}
    return points, unreadable


def available_plugins(group: PluginGroup) -> list[str]:
    """Names of the installed plugins of a group, sorted; nothing is loaded."""
    return sorted(_discover(group.group)[0])


def load_plugin(group: PluginGroup, name: str) -> Any:
    """Load one plugin by name.

    Raises:
        PluginNotFoundError: None of this name is installed; the hint names the distribution that brings it.
        PluginBrokenError: It is installed but cannot be loaded. Other plugins are not affected.
    """
    points, unreadable = _discover(group.group)
    point = points.get(name)
    if point is None and unreadable:
        raise PluginBrokenError(
            f"{group.noun} {name!r} was not found (found: {', '.join(sorted(points)) or 'none'}), but "
            f"{'; '.join(unreadable)}.",
            hint="Reinstall or remove the distributions that are named here. If none of them brings it: "
            + _how_to_get(group, name),
        )
    if point is None:
        raise PluginNotFoundError(
            f"{group.noun} {name!r} is not installed (found: {', '.join(available_plugins(group)) or 'none'}).",
            hint=_how_to_get(group, name),
        )
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # foreign code: whatever it raises is reported under its name
        origin = f" from {point.dist.name} {point.dist.version}" if point.dist else ""
        raise PluginBrokenError(
            f"{group.noun} {name!r}{origin} could not be loaded: {type(error).__name__}: {error}",
            hint=f"Try `python -c 'import {point.value.partition(':')[0]}'`, then reinstall or remove what brings it.",
        ) from error


def _how_to_get(group: PluginGroup, name: str) -> str:
    known = dict(group.known)
    if name in known:
        return f'Install it: pip install "{known[name]}"'
    near = difflib.get_close_matches(name, {*known, *available_plugins(group)}, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Names that we publish: {', '.join(sorted(known))}."
