"""Group commit: whatever is decided while an append runs goes into the next one. No Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from checkmaite_ledger.directory import Action, Change, Decision

__all__ = ["Committer"]


@dataclass(eq=False)
class _Batch:
    done: asyncio.Future[None]
    changes: list[Change] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    submissions: dict[str, bytes] = field(default_factory=dict)


class Committer:
    """Makes decisions durable in their order, and only then lets them be seen and acted on. Used on one event loop.

    Args:
        append: Makes changes and submissions durable, all or nothing; blocking, called in ``executor``.
        executor: Runs one append at a time.
        publish: Called with changes that are durable and the number of their append.
        act: Called with the actions that have become due.
        failed: Called once with what an append raised; nothing is committed after that.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Change], Mapping[str, bytes]], int],
        executor: Executor,
        publish: Callable[[Sequence[Change], int], None],
        act: Callable[[Sequence[Action]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._append = append
        self._executor = executor
        self._publish = publish
        self._act = act
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._batch = self._new_batch()
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._task = self._loop.create_task(self._run())

    def add(
        self, decision: Decision, submissions: Mapping[str, bytes] | None = None, *, within: float = 0.0
    ) -> asyncio.Future[None]:
        """Have a decision committed.

        Args:
            decision: May be empty: then its end says that everything before it is durable.
            submissions: What the jobs accepted by it need to be started.
            within: Seconds that it may wait, so that it is written along with something else.

        Returns:
            Done once it is durable and published; raises what the append raised. Shared: never cancel it.
        """
        if self._error is not None:
            failed: asyncio.Future[None] = self._new_batch().done
            failed.set_exception(self._error)
            return failed
        batch = self._batch
        batch.changes += decision.changes
        batch.actions += decision.actions
        batch.submissions.update(submissions or {})
        if within <= 0:
            self._wake.set()
        elif self._timer is None or self._loop.time() + within < self._timer.when():
            self._call_off()
            self._timer = self._loop.call_later(within, self._wake.set)
        return batch.done

    def hurry(self) -> None:
        """What was to wait is to be committed now."""
        self._wake.set()

    def stop(self) -> None:
        """Commit nothing more."""
        self._task.cancel()

    def _call_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _new_batch(self) -> _Batch:
        done: asyncio.Future[None] = self._loop.create_future()
        done.add_done_callback(lambda future: future.cancelled() or future.exception())  # there may be no one to look
        return _Batch(done)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._call_off()
            batch, self._batch = self._batch, self._new_batch()
            try:
                if batch.changes:
                    number = await self._loop.run_in_executor(
                        self._executor, self._append, batch.changes, batch.submissions
                    )
                    self._publish(batch.changes, number)
                batch.done.set_result(None)
                self._act(batch.actions)
            except Exception as error:  # whatever it was, what follows cannot be made durable: reported to everyone
                self._error = error
                for one in (batch, self._batch):
                    if not one.done.done():
                        one.done.set_exception(error)
                self._failed(error)
                return
