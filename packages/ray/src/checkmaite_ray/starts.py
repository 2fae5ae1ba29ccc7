"""Starts on their way to the controllers. One that is not urgent waits a moment for others: each call has its price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from checkmaite_ledger.directory import Launch

__all__ = ["Starts"]

_GATHER = 0.02
"""Seconds that a start waits at most."""
_MANY = 8
"""Starts that are worth a call of their own."""


@dataclass(eq=False)
class _Slot:
    launches: list[Launch] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Starts:
    """Gathers starts, by the slot of their controller. Used on one event loop.

    A controller that has nothing to do gets each at once. Measured on 2 cores, jobs submitted one by one become a sixth
    more per second by it.

    Args:
        load: How many jobs the controller of a slot has been given, those that are gathered here included.
        send: Called with a slot and the starts that are to go to its controller now.
        failed: Called with what that raised, for it may have been a timer that called it.
    """

    def __init__(
        self,
        load: Callable[[str], int],
        send: Callable[[str, Sequence[Launch]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._load = load
        self._send = send
        self._failed = failed
        self._slots: dict[str, _Slot] = {}

    def add(self, launches: Collection[Launch]) -> None:
        """Have jobs started, soon or at once."""
        for launch in launches:
            self._slots.setdefault(launch.slot, _Slot()).launches.append(launch)
        for slot in {launch.slot for launch in launches}:
            gathered = self._slots[slot]
            count = len(gathered.launches)
            if count >= _MANY or self._load(slot) <= count:
                self.flush([slot])
            elif gathered.timer is None:
                gathered.timer = asyncio.get_running_loop().call_later(_GATHER, self.flush, [slot])

    @property
    def jobs(self) -> list[str]:
        """Jobs whose start waits here."""
        return [launch.job_id for gathered in self._slots.values() for launch in gathered.launches]

    def flush(self, slots: Collection[str] | None = None) -> None:
        """Have what waits for these slots, or for all, sent now."""
        for slot in list(self._slots) if slots is None else slots:
            gathered = self._slots.pop(slot, None)
            if gathered is not None:
                if gathered.timer is not None:
                    gathered.timer.cancel()
                try:
                    self._send(slot, gathered.launches)
                except Exception as error:  # whatever it was, these jobs were not started: handed to the owner
                    self._failed(error)

    def stop(self) -> None:
        """Send nothing more."""
        for gathered in self._slots.values():
            if gathered.timer is not None:
                gathered.timer.cancel()
        self._slots.clear()
