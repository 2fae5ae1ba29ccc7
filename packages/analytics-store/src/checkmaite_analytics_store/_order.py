"""Which of two events of one run is newer, without comparing the clocks of two machines.

The server's time of a commit decides. Object stores keep it in whole seconds, so two commits can share one: then
those of one process keep the order in which it made them, and between processes an arbitrary but fixed order holds,
the same for every reader.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime

__all__ = ["EventOrder", "Stamp", "StampSource"]


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """A commit's place among those of the process that made it.

    Attributes:
        writer: Random id of the process.
        sequence: Number of the commit there.
    """

    writer: str
    sequence: int


@dataclass(frozen=True, slots=True, order=True)
class EventOrder:
    """Compares greater for the newer of two events of one run.

    Attributes:
        committed_at: When the event's object was made, by the server's clock.
        stamp: Decides within one tick of that clock.
        event_id: Decides where even the stamps are equal, as in a bundle that was copied by hand.
    """

    committed_at: datetime
    stamp: Stamp
    event_id: str


class StampSource:
    """Gives every commit of this process a stamp of its own. Safe for several threads, and after a fork."""

    _lock = threading.Lock()
    _process = 0
    _writer = ""
    _sequence = 0

    @classmethod
    def next(cls) -> Stamp:
        """A stamp that is greater than all that this process has given before."""
        with cls._lock:
            if cls._process != os.getpid():
                cls._process, cls._writer, cls._sequence = os.getpid(), secrets.token_hex(8), 0
            cls._sequence += 1
            return Stamp(cls._writer, cls._sequence)
