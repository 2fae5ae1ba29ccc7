"""What is written and told together, and what waits for nothing: the parts of it that need no Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from checkmaite_ledger.directory import Change, Decision
from checkmaite_ray.attention import Attention
from checkmaite_ray.committer import Committer
from checkmaite_ray.sessions import Sessions

LONG = 3600.0
"""Seconds: what waits that long is not waited for by any of these tests."""


class Log:
    """A ledger that remembers what was appended together."""

    def __init__(self) -> None:
        self.appends: list[list[Any]] = []

    def append(self, changes: Sequence[Change], submissions: Mapping[str, bytes]) -> int:
        self.appends.append(list(changes))
        return len(self.appends)


def decided(name: str) -> Decision:
    return Decision(changes=(name,))  # type: ignore[arg-type] - a committer does not look at them


def with_a_committer(story: Callable[[Committer], Any]) -> list[list[Any]]:
    """Run a story; returns what was appended together."""
    log = Log()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            committer = Committer(
                log.append, executor, lambda changes, number: None, lambda actions: None, lambda error: None
            )
            await asyncio.wait_for(story(committer), 30)
            committer.stop()

    asyncio.run(run())
    return log.appends


def test_what_may_wait_is_written_along_with_what_may_not() -> None:
    async def story(committer: Committer) -> None:
        committer.add(decided("ended"), within=LONG)
        await committer.add(decided("accepted"))

    assert with_a_committer(story) == [["ended", "accepted"]]


def test_what_may_wait_is_written_when_its_time_is_up_whatever_may_wait_longer() -> None:
    async def story(committer: Committer) -> None:
        committer.add(decided("began"), within=LONG)
        await committer.add(decided("ended"), within=0.001)

    assert with_a_committer(story) == [["began", "ended"]]


def test_a_longer_wait_does_not_put_off_a_shorter_one() -> None:
    async def story(committer: Committer) -> None:
        committer.add(decided("ended"), within=0.001)
        await committer.add(decided("began"), within=LONG)

    assert with_a_committer(story) == [["ended", "began"]]


def test_what_may_wait_is_written_when_somebody_is_in_a_hurry() -> None:
    async def story(committer: Committer) -> None:
        done = committer.add(decided("ended"), within=LONG)
        committer.hurry()
        await done

    assert with_a_committer(story) == [["ended"]]


def test_a_job_is_awaited_while_a_client_that_follows_it_waits() -> None:
    async def story() -> None:
        sessions = Sessions()
        sessions.follow("client", ["job"], introduced=True)
        assert not sessions.is_awaited("job"), "the client is busy with something else"
        watch = asyncio.ensure_future(sessions.watch("client", 0))
        await asyncio.sleep(0)
        assert sessions.is_awaited("job")
        assert not sessions.is_awaited("another")
        sessions.tell("job", "news")
        assert (await watch)["messages"] == ["news"]
        assert not sessions.is_awaited("job"), "it has been answered, and has not asked again"

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_client_follows_the_jobs_that_it_has_named() -> None:
    sessions = Sessions()
    sessions.follow("client", ["job"])
    assert sessions.follows("client", {"another", "job"})
    assert not sessions.follows("client", {"another"})
    assert not sessions.follows("stranger", {"job"})


def test_attention_is_called_for_by_the_first_who_waits_and_lasts_until_the_last_has_gone() -> None:
    calls: list[str] = []
    attention = Attention(lambda: calls.append(threading.current_thread().name))
    assert not attention
    with attention.paid():
        with attention.paid():
            assert attention
        assert attention
        assert calls == ["MainThread"]
    assert not attention
    with attention.paid():
        assert calls == ["MainThread", "MainThread"]


def test_attention_ends_with_a_wait_that_fails() -> None:
    attention = Attention(lambda: None)
    try:
        with attention.paid():
            raise TimeoutError
    except TimeoutError:
        pass
    assert not attention
