"""What fsspec's asynchronous filesystems need: a process of their own, and a deadline."""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from checkmaite_core.errors import PluginBrokenError, PluginNotFoundError

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

__all__ = ["PerProcess", "import_connector_library", "run_coroutine"]

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value made once in each process: a forked child must not use its parent's event loop and connections.

    There is no lock, as a fork could copy it locked. Two threads that ask at the same time may make two values, of
    which one is dropped.

    Args:
        make: Makes the value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None
        self._inherited: list[T] = []

    def get(self) -> T:
        """This process's value."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        if made is not None:
            # To drop it would run its finalizer, which waits for the parent's event loop.
            self._inherited.append(made[1])
        value = self._make()
        self._made = (os.getpid(), value)
        return value


def run_coroutine(
    filesystem: AsyncFileSystem, function: Callable[..., Awaitable[T]], *args: Any, timeout: float, **kwargs: Any
) -> T:
    """Run ``function(*args, **kwargs)`` on the filesystem's event loop; it is cancelled after ``timeout`` seconds.

    Raises:
        TimeoutError: After ``timeout`` (fsspec's ``FSTimeoutError``).
    """
    from fsspec.asyn import sync

    async def call() -> T:
        return await function(*args, **kwargs)

    result: T = sync(filesystem.loop, call, timeout=timeout)
    return result


def import_connector_library(module: str, extra: str) -> ModuleType:
    """Import the library behind a connector.

    Raises:
        PluginNotFoundError: It is not installed; the hint names the extra that brings it.
        PluginBrokenError: It is installed and fails to import.
    """
    install = f'pip install "checkmaite-storage[{extra}]"'
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise _broken(module, install, error) from error
        missing = PluginNotFoundError(
            f"storage connector {extra!r} is not installed: it needs {module}.", hint=f"Install it: {install}"
        )
    except ImportError as error:
        raise _broken(module, install, error) from error
    raise missing


def _broken(module: str, install: str, error: ImportError) -> PluginBrokenError:
    return PluginBrokenError(
        f"{module} could not be loaded: {type(error).__name__}: {error}",
        hint=f"Try `python -c 'import {module}'`, then reinstall: {install}",
    )
