"""The interleavings that would lose data or run work twice, one by one, on a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from directory_steps import COMPLETED, FAILURE, replayed, request
from simulated_parts import Controller
from simulated_registry import Registry
from simulated_world import World

from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_ledger.directory import Answer, AttemptEnd, Request
from checkmaite_ledger.events import Accepted, Adopted, Policy

STARTED, ADOPTED, REUSED = JobOrigin


class Stage:
    """A world in which everything happens only when a test says so."""

    def __init__(self) -> None:
        self.world = World(1, faults=False)
        self.time, self.log, self.results = self.world.time, self.world.log, self.world.results
        self.world.new_cluster()
        [self.first] = self.world.registries
        self.answers: list[list[tuple[str, JobOrigin]]] = []
        self.pass_time()

    def status(self, job_id: str) -> JobStatus:
        """How a job stands in the ledger."""
        return replayed(self.log.events())[job_id].status

    def pass_time(self, seconds: float = 5.0) -> None:
        """Let everything that is under way happen."""
        self.time.run(self.time.now + seconds)

    def submit(self, registry: Registry, *requests: Request) -> None:
        """Send a submission; its answer comes when it comes."""
        registry.on_submit(list(requests), self._answered)

    def follow(self, cluster: str | None = None) -> Registry:
        """Another registry takes over, on the same cluster unless another is named."""
        if cluster is not None:
            self.world.clusters.append(cluster)
        registry = self.world.new_registry(self.world.clusters[-1])
        self.pass_time()
        return registry

    def controller_of(self, registry: Registry, job_id: str) -> Controller:
        """The controller that a job was given to."""
        return self.world.controllers[registry.cluster][registry.directory.jobs[job_id].slot]

    def _answered(self, answers: list[Answer]) -> None:
        self.answers.append([(one.record.job_id, one.origin) for one in answers if one.record is not None])


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    # A worker runs until a test ends it.
    monkeypatch.setattr(Controller, "_finish", lambda *_: None)
    return Stage()


def finish(controller: Controller, job_id: str) -> None:
    """A worker commits and returns."""
    task = controller.tasks[job_id]
    committed = controller.results.commit(job_id)
    end: Callable[[Any, AttemptEnd], None] = controller._end
    end(task, AttemptEnd(outcome=COMPLETED) if committed else AttemptEnd(failure=FAILURE))


def events_of(stage: Stage, kind: type) -> list[Any]:
    return [event for event in stage.log.events() if isinstance(event, kind)]


# Replayed accept.


def test_a_submission_whose_answer_was_lost_with_its_registry_is_accepted_once(stage: Stage) -> None:
    stage.submit(stage.first, request("a", "k"))
    stage.pass_time(0.3)
    stage.first.alive = False
    later = stage.follow()
    stage.submit(later, request("a", "k"))
    stage.pass_time()
    assert stage.answers[-1] == [("a", STARTED)]
    assert len(events_of(stage, Accepted)) == 1
    assert stage.world.executions == {"a": 1}


def test_a_submission_that_comes_again_is_not_answered_before_the_first_is_durable(stage: Stage) -> None:
    stage.submit(stage.first, request("a", "k"))
    stage.submit(stage.first, request("a", "k"))
    stage.submit(stage.first, request("b", "k"))
    stage.first.stalled_until = stage.time.now + 50
    stage.pass_time()
    assert stage.answers == []
    stage.follow()
    stage.pass_time(100)
    assert stage.answers == [], "another registry reigns, and its ledger has neither job"
    assert not stage.first.alive


def test_a_submission_that_was_given_a_job_is_given_the_same_when_it_comes_again(stage: Stage) -> None:
    stage.submit(stage.first, request("a", "k"))
    stage.submit(stage.first, request("b", "k"))
    stage.pass_time()
    controller = stage.controller_of(stage.first, "a")
    controller._end(controller.tasks["a"], AttemptEnd(outcome=stage.results.settle("a", FAILURE)))
    stage.pass_time()
    assert stage.status("a") is JobStatus.FAILED
    for registry in (stage.first, stage.follow()):
        stage.submit(registry, request("b", "k"))
        stage.pass_time()
        assert (not registry.alive) or stage.answers[-1] == [("a", ADOPTED)]
    assert stage.world.executions == {"a": 1}, "nobody waits for a second run"


# Stalled registry.


def test_a_registry_that_wakes_up_after_it_was_followed_gives_nobody_a_job(stage: Stage) -> None:
    stage.submit(stage.first, request("a", "k"))
    stage.pass_time()
    stage.first.stalled_until = stage.time.now + 10
    later = stage.follow()
    finish(stage.controller_of(later, "a"), "a")
    later.on_submit([request("new", "k", force=True)], stage._answered)
    stage.pass_time(1)
    del stage.answers[:]
    stage.submit(stage.first, request("b", "k"))
    stage.pass_time(20)
    assert stage.answers == [], "what it knows of the key is out of date"
    assert events_of(stage, Adopted) == []
    assert not stage.first.alive


def test_a_start_that_a_stalled_registry_hands_over_after_it_was_followed_is_refused(stage: Stage) -> None:
    stage.submit(stage.first, request("a"))
    while ("a", 1) not in stage.log.starts:
        stage.pass_time(0.001)
    # The start is durable; the order is not sent, or on its way.
    stage.first.stalled_until = stage.time.now + 10
    later = stage.follow()
    finish(stage.controller_of(later, "a"), "a")
    stage.pass_time(30)
    assert stage.status("a") is JobStatus.COMPLETED
    assert stage.world.executions == {"a": 1}
    assert stage.results.runs == {"a": 1}


# Fenced registry with live controllers.


def test_controllers_go_on_under_the_next_registry_and_refuse_the_one_before(stage: Stage) -> None:
    stage.submit(stage.first, request("a"))
    stage.pass_time()
    later = stage.follow()
    controller = stage.controller_of(later, "a")
    stage.first._send(controller, controller.cancel, "a", 1)
    stage.first._send(controller, controller.launch, "a", 1)
    stage.pass_time()
    assert stage.time.seen["order of an earlier epoch refused"]
    assert controller.tasks["a"].end is None
    finish(controller, "a")
    stage.pass_time()
    assert later.published["a"].status is JobStatus.COMPLETED
    assert stage.world.executions == {"a": 1}


def test_a_registry_of_another_cluster_ends_what_the_controllers_of_the_one_before_still_run(stage: Stage) -> None:
    stage.submit(stage.first, request("a"), request("b"))
    stage.pass_time()
    controllers = [stage.controller_of(stage.first, job_id) for job_id in "ab"]
    finish(controllers[0], "a")
    stage.first.alive = False
    later = stage.follow("another")
    stage.pass_time()
    assert later.published["a"].status is JobStatus.COMPLETED, "it had committed"
    assert later.published["b"].status is JobStatus.FAILED
    finish(controllers[1], "b")
    stage.pass_time()
    assert stage.results.runs == {"a": 1}


# Straggler after settlement.


def test_a_straggler_that_comes_after_its_job_was_settled_stores_nothing(stage: Stage) -> None:
    stage.submit(stage.first, request("a"))
    stage.pass_time()
    controller = stage.controller_of(stage.first, "a")
    stage.first.alive = controller.alive = False
    later = stage.follow("another")
    stage.pass_time()
    assert later.published["a"].status is JobStatus.FAILED
    finish(controller, "a")
    stage.pass_time()
    assert stage.results.runs == {}
    assert stage.status("a") is JobStatus.FAILED


def test_a_straggler_that_comes_while_its_job_is_run_again_is_what_the_job_completes_with(stage: Stage) -> None:
    stage.submit(stage.first, request("a", policy=Policy(on_cluster_loss="resubmit")))
    stage.pass_time()
    controller = stage.controller_of(stage.first, "a")
    stage.first.alive = controller.alive = False
    later = stage.follow("another")
    stage.pass_time()
    finish(controller, "a")
    finish(stage.controller_of(later, "a"), "a")
    stage.pass_time()
    assert later.published["a"].status is JobStatus.COMPLETED
    assert stage.results.runs == {"a": 1}
    assert stage.world.executions == {"a": 2}


# A start that outlives the process that it was meant for.


def test_a_start_that_was_meant_for_a_dead_controller_is_not_handed_to_the_next_in_its_slot(stage: Stage) -> None:
    pool = stage.world.controllers[stage.first.cluster]
    stage.submit(stage.first, request("a"))
    dead = pool[stage.first.directory.jobs["a"].slot]
    dead.die()
    stage.first.on_down(dead.slot, dead.incarnation)
    stage.world.pool(stage.first.cluster)
    stage.first.on_up(pool[dead.slot], [])
    stage.pass_time()
    assert stage.first.published["a"].attempt == 2
    assert stage.world.executions == {"a": 1}


# A takeover that is cut short.


def test_a_change_of_cluster_that_died_before_it_was_durable_is_made_by_the_next(stage: Stage) -> None:
    stage.submit(stage.first, request("a"))
    stage.pass_time()
    stage.world.clusters.append("another")
    short = stage.world.new_registry("another")
    while not short.reigns:
        stage.pass_time(0.001)
    short.alive = False
    later = stage.follow()
    stage.pass_time()
    assert later.epoch == short.epoch + 1
    assert later.published["a"].status is JobStatus.FAILED, "its policy is not to outlive its cluster"
    assert stage.world.executions == {"a": 1}
