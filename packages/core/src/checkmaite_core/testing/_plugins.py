"""Plugins for the length of a block: real entry points, in a folder of their own."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from checkmaite_core.plugins import JOB_BACKENDS, RESULT_STORES

__all__ = ["FAKES", "installed_plugins", "write_distribution"]

FAKES: Mapping[str, Mapping[str, str]] = {
    JOB_BACKENDS.group: {"threads": "checkmaite_core.testing:THREAD_BACKEND"},
    RESULT_STORES.group: {"memory": "checkmaite_core.testing:MEMORY_STORE"},
}
"""Entry points of the fakes: backend ``threads`` and result store ``memory``."""


def write_distribution(
    folder: Path, plugins: Mapping[str, Mapping[str, str]], *, name: str = "plugins-for-tests", version: str = "1.0"
) -> Path:
    """Write what makes ``folder`` an installed distribution with entry points, once it is on ``sys.path``.

    Args:
        folder: Where; it may hold modules for the entry points to name.
        plugins: ``"module:attribute"`` by plugin name, by entry point group.
        name: Name of the distribution.
        version: Its version.

    Returns:
        ``folder``.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, points in plugins.items()
        for line in (f"[{group}]", *(f"{point} = {value}" for point, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@contextlib.contextmanager
def installed_plugins(plugins: Mapping[str, Mapping[str, str]] = FAKES) -> Iterator[Path]:
    """Make plugins known to this process inside the block: by default the fakes of this package.

    Args:
        plugins: ``"module:attribute"`` by plugin name, by entry point group.

    Yields:
        The folder that holds them; put it on ``PYTHONPATH`` to make them known to child processes.
    """
    with tempfile.TemporaryDirectory(prefix="checkmaite-plugins-") as folder:
        # Of two distributions with one name only the first on the path counts.
        write_distribution(Path(folder), plugins, name=Path(folder).name)
        sys.path.append(folder)
        importlib.invalidate_caches()
        try:
            yield Path(folder)
        finally:
            sys.path.remove(folder)
