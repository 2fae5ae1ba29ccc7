"""What runs on a node when a preflight asks it something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["answer"]


def answer(inquiry: str, payload: bytes, loads: Callable[[bytes], Any]) -> str:
    """Look at what is asked about, in this process, as a job would find it.

    Nothing of the user's is unpickled before the inquiry, which is JSON, has been understood. It raises nothing for
    what it finds, and leaves nothing behind but the store's probe, which the client removes.

    Args:
        inquiry: An :class:`~checkmaite_core.preflight.inquiry.Inquiry` as JSON.
        payload: The pickled work that it is about, or nothing.
        loads: Unpickles it.

    Returns:
        A :class:`~checkmaite_core.preflight.inquiry.Reply` as JSON.
    """
    # On demand: whoever imports a backend, as each worker does, should not pay for this.
    from checkmaite_core.preflight.examining import examine

    return examine(inquiry, payload, loads)
