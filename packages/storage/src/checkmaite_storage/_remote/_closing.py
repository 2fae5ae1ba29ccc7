"""Closing what an fsspec filesystem has open, without harm to other processes and event loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

__all__ = ["close_with"]

_TIMEOUT = 2.0


def close_with(filesystem: AsyncFileSystem, *connections: Any) -> None:
    """Close ``connections`` when ``filesystem`` goes or the process ends, instead of what the library would do.

    The libraries close on another thread than the event loop's, or wait for that loop without limit: in a forked
    child, where it does not run, for ever.

    Args:
        filesystem: Whose finalizers are taken away.
        connections: What has a coroutine ``close``; what is None is passed over.
    """
    for reference in weakref.getweakrefs(filesystem):
        if isinstance(reference.__callback__, weakref.finalize):
            reference.__callback__.detach()
    weakref.finalize(filesystem, _close, os.getpid(), filesystem.loop, connections)


def _close(process: int, loop: asyncio.AbstractEventLoop, connections: tuple[Any, ...]) -> None:
    if process != os.getpid() or not loop.is_running():
        return

    async def close() -> None:
        for connection in connections:
            if connection is not None:
                await connection.close()

    closing = asyncio.run_coroutine_threadsafe(close(), loop)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with contextlib.suppress(TimeoutError):
            closing.result(_TIMEOUT)
