"""What a client hears, from a registry that is played here: answers that are lost on their way cannot be had of Ray."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import ray

from checkmaite_core.errors import CheckmaiteError, ClusterError
from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_ray import listening
from checkmaite_ray.attention import Attention
from checkmaite_ray.listening import Line, Listener
from checkmaite_ray.shared_job import Handles

PATIENCE = 20


class Call:
    """A call that the registry was made; answer it."""

    def __init__(self, method: str, arguments: tuple[Any, ...]) -> None:
        self.method, self.arguments = method, arguments
        self.answered: Future[Any] = Future()

    def future(self) -> Future[Any]:
        return self.answered

    def answer(self, **said: Any) -> None:
        self.answered.set_result(said)

    def fail(self, error: Exception) -> None:
        self.answered.set_exception(error)


class Registry:
    """Takes calls as a handle of an actor does."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Call] = queue.Queue()

    def __getattr__(self, method: str) -> Any:
        registry = self

        class Method:
            def remote(self, *arguments: Any) -> Call:
                call = Call(method, arguments)
                registry.calls.put(call)
                return call

        return Method()

    def next(self, method: str) -> Call:
        call = self.calls.get(timeout=PATIENCE)
        assert call.method == method
        return call


class Client:
    """A listener and what it is given."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.defects: list[Exception] = []
        self.joins: list[CheckmaiteError | None] = []
        self.attention = Attention(lambda: self.listener.hurry())
        self.handles = Handles(
            lambda job_id: True,
            lambda: self.listener.broken,
            self.attention,
            lambda: self.listener.name_again(),
            "scope",
        )
        line = Line(
            lambda: self.registry,
            self.join,
            lambda: None,
            lambda: ClusterError("sealed", hint="none"),
            lambda error, _: self.defects.append(error),
        )
        self.listener = Listener("me", self.handles, self.attention, line)

    def join(self) -> None:
        error = self.joins.pop(0)
        if error is not None:
            raise error

    def handle(self, job_id: str = "job") -> Any:
        what = {"name": job_id, "submitted_at": 1.0, "waits": None, "view": view(job_id)}
        with self.handles.asked(lambda: what):
            return self.handles.made(job_id, what, JobOrigin.STARTED)


def view(job_id: str, status: str = "PENDING") -> tuple[Any, ...]:
    return (job_id, status, 1.0, None, "")


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.listener.stop()
    assert client.defects == []


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who waits is kept waiting by it."""
    monkeypatch.setattr(listening, "_REST", 1000.0)


@pytest.mark.usefixtures("long_rest")
def test_who_waits_is_told_at_once_and_the_next_call_is_parked_at_once(client: Client) -> None:
    job = client.handle()
    with client.attention.paid():
        client.registry.next("watch").answer(number=1, messages=[("view", *view("job", "RUNNING"))])
        assert client.registry.next("watch").arguments == ("me", 1)
        assert job.status is JobStatus.RUNNING


@pytest.mark.usefixtures("long_rest")
def test_who_begins_to_wait_ends_the_rest_after_the_last_news(client: Client) -> None:
    client.registry.next("watch").answer(number=1, messages=[])
    with client.attention.paid():
        assert client.registry.next("watch").arguments == ("me", 1)


def test_while_nobody_waits_there_is_one_call_at_most_and_it_comes_by_itself(client: Client) -> None:
    client.registry.next("watch").answer(number=1, messages=[])
    for _ in range(5):
        with client.attention.paid():
            pass
    parked = client.registry.next("watch")
    with client.attention.paid():
        pass
    parked.answer(number=2, messages=[])
    assert client.registry.next("watch").arguments == ("me", 2)
    assert client.registry.calls.empty()


def test_a_new_process_of_the_registry_is_told_of_the_handles_and_is_heard(client: Client) -> None:
    job = client.handle()
    client.registry.next("watch").answer(unknown=True)
    follow = client.registry.next("follow")
    assert follow.arguments == ("me", ["job"], True)
    follow.answer(jobs={"job": {"view": view("job", "RUNNING")}})
    assert client.registry.next("watch").arguments == ("me", 0)
    assert job.status is JobStatus.RUNNING


def test_an_answer_that_was_lost_is_asked_for_again_for_nothing_else_tells_what_had_ended(client: Client) -> None:
    job = client.handle()
    client.registry.next("watch").answer(unknown=True)
    client.registry.next("follow").fail(ray.exceptions.ActorUnavailableError("it is busy", None))
    client.registry.next("follow").answer(jobs={"job": {"view": view("job", "RUNNING")}})
    client.registry.next("watch")
    assert job.status is JobStatus.RUNNING


def test_handles_that_the_registry_may_have_missed_are_named_again_until_it_answers(client: Client) -> None:
    parked = client.registry.next("watch")
    job = client.handle()
    client.listener.name_again()
    client.registry.next("follow").fail(ray.exceptions.ActorUnavailableError("it is busy", None))
    client.registry.next("follow").answer(
        problem={"type": "ClusterError", "message": "it begins anew", "hint": "Wait."}
    )
    again = client.registry.next("follow")
    assert again.arguments == ("me", ["job"], True)
    again.answer(jobs={"job": {"view": view("job", "RUNNING")}})
    with client.attention.paid():
        parked.answer(number=1, messages=[])
        client.registry.next("watch")  # the parked call is none of its business: there is one as before
    assert job.status is JobStatus.RUNNING
    assert client.registry.calls.empty()


def test_a_registry_that_was_ended_for_good_is_joined_anew_and_why_that_fails_is_told(client: Client) -> None:
    gone = ray.exceptions.ActorDiedError()
    client.joins = [ClusterError("it cannot be started.", hint="none"), None]
    job = client.handle()
    client.registry.next("watch").fail(gone)
    again = client.registry.next("watch")
    with pytest.raises(ClusterError, match="cannot be started"):
        job.wait(PATIENCE)
    again.fail(gone)
    client.registry.next("follow").answer(jobs={})
    client.registry.next("watch")
    assert client.listener.broken is None
