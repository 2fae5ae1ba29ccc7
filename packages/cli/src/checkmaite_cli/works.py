"""Work that a command names by where it can be imported from."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.work import Work

__all__ = ["load_works"]


def load_works(names: Sequence[str]) -> list[Any]:
    """Import what stands under names such as ``package.module:name``.

    Modules in the current folder are found, as by ``python -m``.

    Args:
        names: Each a :class:`~checkmaite_core.Work`, a mapping of the same names, a capability, a list of these, or a
            function or class that is called without arguments for one.

    Raises:
        ConfigurationError: One of them cannot be imported, or calling it failed.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return [work for name in names for work in _listed(_loaded(name))]


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _loaded(name: str) -> Any:
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ConfigurationError(
            f"--work {name!r} is not of the form MODULE:NAME.", hint="Such as my_project.jobs:nightly"
        )
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        is_work = isinstance(found, Work | Mapping | list | tuple) or (
            hasattr(found, "run") and not isinstance(found, type)
        )
        return found if is_work else found()
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is what has to be told
        raise ConfigurationError(
            f"--work {name!r} cannot be had here: {type(error).__name__}: {error}",
            hint="Run it where the module can be imported, such as its project's folder, and look at what it does when "
            "it is imported and called.",
        ) from error
