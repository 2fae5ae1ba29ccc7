"""The registry's end of its controllers: making them, listening to them, and noticing when one dies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from checkmaite_ray.background import Background
from checkmaite_ray.controller import Controller
from checkmaite_ray.launching import Item
from checkmaite_ray.protocol import NAMESPACE, controller_name, controller_prefix

__all__ = ["Roster"]

_FORGET_AFTER = 1.0
"""Seconds after which a controller is told what it may forget, if no other call has told it by then."""
_AGAIN = 0.5
"""Seconds after which a controller that could not be reached is called again."""
_LONGEST_PAUSE = 30.0
"""Seconds between two tries to make a controller that does not come up, at most."""


@dataclass(eq=False)
class _Member:
    slot: str
    incarnation: str
    handle: Any
    up: bool = False
    forget: list[tuple[str, int]] = field(default_factory=list)


class Roster:
    """A scope's controllers.

    Args:
        scope: Whose they are.
        slots: How many there are to be.
        placement: Ray options that say where they run.
        epoch: The registry's.
        on_up: Called with slot, incarnation and what it holds.
        on_down: Called with slot and incarnation.
        on_messages: Called with slot and what a controller has told; done once that is durable.
        on_fenced: Called when a controller already obeys a later registry.
        on_problem: Called with why controllers cannot be made; with None once they can.
        on_resume: Called when it is time to try again.
        on_error: Called with what went wrong in a way that nobody foresaw.
    """

    def __init__(
        self,
        scope: str,
        slots: int,
        placement: dict[str, Any],
        epoch: int,
        *,
        on_up: Callable[[str, str, list[tuple[str, int]]], None],
        on_down: Callable[[str, str], None],
        on_messages: Callable[[str, list[Any]], asyncio.Future[None]],
        on_fenced: Callable[[], None],
        on_problem: Callable[[str | None], None],
        on_resume: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._scope = scope
        self._names = [f"c{number}" for number in range(slots)]
        self._placement = placement
        self._epoch = epoch
        self._on_up = on_up
        self._on_down = on_down
        self._on_messages = on_messages
        self._on_fenced = on_fenced
        self._on_problem = on_problem
        self._on_resume = on_resume
        self._members: dict[str, _Member] = {}
        self._failures = 0
        self._paused: asyncio.TimerHandle | None = None
        self._stopped = False
        self._work = Background(on_error)

    async def find(self, awaited: Collection[tuple[str, str]]) -> None:
        """Take over the controllers that there are, once they have answered.

        Args:
            awaited: Slots and incarnations that were given jobs. Of two in one slot, only such a one is kept.
        """
        loop = asyncio.get_running_loop()
        prefix = controller_prefix(self._scope)
        named = await loop.run_in_executor(None, ray.util.list_named_actors, True)
        for one in named:
            if one["namespace"] != NAMESPACE or not one["name"].startswith(prefix):
                continue
            slot, _, incarnation = one["name"].removeprefix(prefix).partition(":")
            try:
                handle = await loop.run_in_executor(None, ray.get_actor, one["name"], NAMESPACE)
            except ValueError:
                continue  # it has gone since
            member = _Member(slot, incarnation, handle)
            if slot in self._members:
                other = self._members[slot]
                if (slot, incarnation) not in awaited:
                    other, member = member, other
                other.handle.stop.remote(self._epoch)
            self._members[slot] = member
        # All are known before the first answers, for that has empty slots filled.
        await asyncio.gather(*(self._attend(member) for member in list(self._members.values())))

    def ensure(self) -> None:
        """There is work: have every slot filled."""
        if self._paused is not None or self._stopped:
            return
        for slot in self._names:
            if slot not in self._members:
                incarnation = secrets.token_hex(8)
                name = controller_name(self._scope, slot, incarnation)
                options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", **self._placement}
                handle = Controller.options(**options).remote(incarnation)  # type: ignore[attr-defined]
                member = self._members[slot] = _Member(slot, incarnation, handle)
                self._work.spawn(self._attend(member))

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._members

    def has(self, slot: str, incarnation: str) -> bool:
        """Whether this very controller is there."""
        return slot in self._members and self._members[slot].incarnation == incarnation

    def launch(self, slot: str, items: list[Item]) -> None:
        """Hand jobs to a controller; if it has gone, its end says so."""
        self._members[slot].handle.launch.remote(self._epoch, items)

    def cancel(self, slot: str, jobs: list[tuple[str, int]]) -> None:
        """Have jobs stopped."""
        if slot in self._members:
            self._members[slot].handle.cancel.remote(self._epoch, jobs)

    def settle(self, slot: str, jobs: list[tuple[str, str, str, str]]) -> None:
        """Have jobs settled: id, order, overlay and failure of each."""
        self._members[slot].handle.settle.remote(self._epoch, jobs)

    def forget(self, slot: str, incarnation: str, job_id: str, attempt: int) -> None:
        """What became of a start is durable."""
        member = self._members.get(slot)
        if member is None or member.incarnation != incarnation:
            return
        if not member.forget:
            asyncio.get_running_loop().call_later(_FORGET_AFTER, self._send_forgets, member)
        member.forget.append((job_id, attempt))

    async def maintain(self, order: str, overlay: str, at_least: int) -> str | None:
        """Have a worker put a store in order; returns what stood in the way."""
        for member in self._members.values():
            if member.up:
                try:
                    failure: str | None = await member.handle.maintain.remote(self._epoch, order, overlay, at_least)
                except ray.exceptions.RayError as error:
                    return f"its controller has gone ({type(error).__name__})."
                return failure
        return "there was no controller to do it."

    def stop(self) -> None:
        """End all controllers, and the tasks that they have."""
        self._stopped = True
        self._work.cancel()
        for member in self._members.values():
            member.handle.stop.remote(self._epoch)
        self._members.clear()

    def leave(self) -> None:
        """Let go of the controllers, which go on."""
        self._stopped = True
        self._work.cancel()

    def retire(self) -> None:
        """There is nothing to do: end the controllers, until there is."""
        for member in self._members.values():
            member.handle.stop.remote(self._epoch)
            self._on_down(member.slot, member.incarnation)
        self._work.cancel()
        self._members.clear()

    async def _attend(self, member: _Member) -> None:
        try:
            answer = await self._answered(member)
        except ray.exceptions.RayError as error:
            self._lost(member, error)
            return
        if "fenced" in answer:
            self._on_fenced()
            return
        member.up = True
        self._failures = 0
        self._on_problem(None)
        self._on_up(member.slot, member.incarnation, [tuple(one) for one in answer["holding"]])
        self._work.spawn(self._listen(member))

    async def _answered(self, member: _Member) -> dict[str, Any]:
        while True:
            try:
                answer: dict[str, Any] = await member.handle.attend.remote(self._epoch)
            except ray.exceptions.ActorUnavailableError:
                await asyncio.sleep(_AGAIN)
            else:
                return answer

    async def _listen(self, member: _Member) -> None:
        heard = 0
        while True:
            forget, member.forget = member.forget, []
            try:
                answer = await member.handle.take.remote(self._epoch, heard, forget)
            except ray.exceptions.ActorUnavailableError:
                # The connection was lost, not the controller: what it has told is told again.
                member.forget = forget + member.forget
                await asyncio.sleep(_AGAIN)
                continue
            except ray.exceptions.RayError as error:
                self._lost(member, error)
                return
            if "fenced" in answer:
                self._on_fenced()
                return
            heard = answer["number"]
            done = self._on_messages(member.slot, answer["messages"])
            # Not before that is durable: whatever is told meanwhile comes together, and so does what may be forgotten.
            await asyncio.wait([done])

    def _send_forgets(self, member: _Member) -> None:
        if member.forget and self._members.get(member.slot) is member:
            forget, member.forget = member.forget, []
            member.handle.forget.remote(self._epoch, forget)

    def _lost(self, member: _Member, error: Exception) -> None:
        if self._stopped or self._members.get(member.slot) is not member:
            return
        del self._members[member.slot]
        if not member.up:
            self._failures += 1
            self._on_problem(f"controllers cannot be started: {type(error).__name__}: {str(error).strip()[:1000]}")
            pause = min(_LONGEST_PAUSE, 0.5 * 2**self._failures)
            self._paused = asyncio.get_running_loop().call_later(pause, self._resume)
        self._on_down(member.slot, member.incarnation)

    def _resume(self) -> None:
        self._paused = None
        self._on_resume()


def by_slot(pairs: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Values by slot."""
    grouped: dict[str, list[Any]] = {}
    for slot, value in pairs:
        grouped.setdefault(slot, []).append(value)
    return grouped
