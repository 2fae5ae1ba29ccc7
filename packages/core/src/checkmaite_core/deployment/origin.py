"""Where code comes from: the distribution behind a module."""

from __future__ import annotations

import functools
from importlib import metadata

__all__ = ["distribution_of"]


@functools.cache
def distribution_of(top_level: str) -> str | None:
    """The distribution that brings a top-level module.

    None for scripts, notebooks, loose files, editable installations (which list no files) and namespaces that
    several distributions share.
    """
    if top_level == "__main__":
        return None  # without a look at all that is installed, which takes a while
    found = set(_packages().get(top_level, []))
    return found.pop() if len(found) == 1 else None


@functools.cache
def _packages() -> dict[str, list[str]]:
    return {name: list(found) for name, found in metadata.packages_distributions().items()}
