"""Defects planted in our own code, in the processes of a Ray: a function raises while a file is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["Defects"]

_HOOK = """
import importlib.abc, importlib.machinery, importlib.util, os, sys

TARGETS = {targets!r}
FOLDER = {folder!r}

def planted(original, flag, wait):
    def raise_it(*args, **kwargs):
        if os.path.exists(os.path.join(FOLDER, flag)):
            raise KeyError("planted")
        return original(*args, **kwargs)
    async def raise_it_later(*args, **kwargs):
        if os.path.exists(os.path.join(FOLDER, flag)):
            raise KeyError("planted")
        return await original(*args, **kwargs)
    return raise_it_later if wait else raise_it

class Planter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        wanted = [one.partition(":")[2] for one in TARGETS if one.partition(":")[0] == name]
        if not wanted:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        def exec_module(module):
            import inspect
            execute(module)
            for attribute in wanted:
                holder = module
                *parents, last = attribute.split(".")
                for one in parents:
                    holder = getattr(holder, one)
                original = getattr(holder, last)
                setattr(holder, last, planted(original, attribute, inspect.iscoroutinefunction(original)))
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Planter())
"""


class Defects:
    """Where functions of ours can be made to raise, in Python processes that are started with :attr:`environment`.

    Args:
        folder: An empty folder.
        targets: The functions, such as ``checkmaite_core.execution:execute``.
    """

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self._folder = folder
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_HOOK.format(targets=targets, folder=str(folder)))
        self.environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))}

    @contextlib.contextmanager
    def planted(self, attribute: str) -> Iterator[None]:
        """Within the block, a function raises a KeyError; named without its module, such as ``execute``."""
        flag = self._folder / attribute
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()

    @contextlib.contextmanager
    def around_a_ray(self) -> Iterator[None]:
        """A Ray that is started within the block has them."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield
