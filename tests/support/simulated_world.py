"""A whole simulated life of a scope: clients, registries, clusters, faults; and what must be true of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from directory_steps import replayed, request
from simulated_parts import Controller, Log, Process, Results, Time
from simulated_registry import Registry

from checkmaite_core.job import JobOrigin, JobStatus
from checkmaite_ledger.directory import Answer, Directory, Request
from checkmaite_ledger.events import Accepted, Adopted, CancelRequested, Ended, Policy, Started
from checkmaite_ledger.records import JobRecord, accept, evolve

__all__ = ["World"]

_FAULTS_UNTIL = 12.0
_OVER = 100.0


class _Client(Process):
    """Submits, asks again until it is answered, and follows what it was given to its end."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.time, self.name = world, world.time, name
        self.asked_at: dict[str, float] = {}
        self.given: dict[str, tuple[str, JobOrigin]] = {}

    def submit(self, requests: list[Request]) -> None:
        requests = [one for one in requests if one.job_id not in self.given]
        if not requests:
            return
        for one in requests:
            self.asked_at.setdefault(one.job_id, self.time.now)
        self._call("on_submit", requests, lambda answers: self._answered(requests, answers))
        self.time.after(3.0, self.submit, requests, of=self)

    def _call(self, what: str, subject: Any, reply: Any) -> None:
        registry = self.world.a_registry()
        twice = self.world.faulty() and self.time.happens(0.1)
        for _ in range(1 + twice):
            if registry is not None:
                method = getattr(registry, what)
                self.time.soon(method, subject, lambda answer: self._reply(reply, answer), of=registry)

    def _reply(self, reply: Any, answer: Any) -> None:
        if not (self.world.faulty() and self.time.happens(0.1)):
            self.time.soon(reply, answer, of=self)

    def _answered(self, requests: list[Request], answers: list[Answer]) -> None:
        for one, answer in zip(requests, answers, strict=True):
            if answer.record is None:
                self.time.seen["refused"] += 1
                continue
            given = (answer.record.job_id, answer.origin)
            self.time.seen[str(answer.origin)] += 1
            self.time.seen["answered twice"] += one.job_id in self.given
            self.world.check_answer(one, given, self.asked_at[one.job_id])
            if self.given.setdefault(one.job_id, given) == given:
                self._look(given[0])
        # Those that were refused are asked for again, with those whose answers were lost.

    def cancel(self, job_id: str) -> None:
        self._call("on_cancel", job_id, lambda _: None)

    def _look(self, job_id: str) -> None:
        if job_id not in self.world.told:
            self._call("on_look", job_id, lambda record: self.world.tell_end(job_id, record))
            self.time.after(3.0, self._look, job_id, of=self)


class World:
    """One run. Everything in it follows from the seed.

    Args:
        seed: Any number.
        faults: Whether processes die and messages get lost.
    """

    def __init__(self, seed: int, *, faults: bool = True) -> None:
        self.time = Time(seed)
        self.seen = self.time.seen
        self.faults = faults
        self.log, self.results = Log(self.time), Results()
        self.executions: Counter[str] = Counter()
        self.excuses: Counter[str] = Counter()
        self.told: dict[str, str] = {}
        self.clients = [_Client(self, name) for name in ("ada", "bob")]
        self.registries: list[Registry] = []
        self.clusters: list[str] = []
        self.controllers: dict[str, dict[str, Controller]] = defaultdict(dict)
        self._names = 0

    def run(self) -> None:
        """From the first submission to long after the last fault, then look whether all is as it must be."""
        self.new_cluster()
        self._work_to_do()
        self._watch_over()
        if self.faults:
            for _ in range(self.time.chance.randrange(1, 10)):
                self.time.after(self.time.chance.uniform(0.05, _FAULTS_UNTIL), self._fault)
        self.time.run(_OVER)
        self.check_end()

    def faulty(self) -> bool:
        """Whether faults happen now."""
        return self.faults and self.time.now < _FAULTS_UNTIL

    def a_registry(self) -> Registry | None:
        """The one that a client knows: mostly the latest, but it may be one that was followed by another."""
        alive = [one for one in self.registries if one.alive]
        if not alive:
            return None
        return self.time.chance.choice(alive) if self.time.happens(0.3) else alive[-1]

    # Who there is.

    def new_cluster(self) -> None:
        self.clusters.append(f"cluster{len(self.clusters)}")
        self.new_registry(self.clusters[-1])

    def new_registry(self, cluster: str) -> Registry:
        registry = Registry(
            self.time,
            self.log,
            cluster,
            lambda: self.pool(cluster),
            lambda job: self.excuses.update([job]),
            self.faulty,
        )
        self.registries.append(registry)
        return registry

    def pool(self, cluster: str) -> list[Controller]:
        pool = self.controllers[cluster]
        for slot in ("c0", "c1"):
            if (slot not in pool or not pool[slot].alive) and cluster in self.clusters:
                self._names += 1
                pool[slot] = Controller(
                    self.time,
                    self.log,
                    self.results,
                    cluster,
                    slot,
                    f"p{self._names}",
                    self.executions,
                    self.excuses,
                    self.faulty,
                )
        return list(pool.values())

    def _work_to_do(self) -> None:
        chance = self.time.chance
        for number in range(chance.randrange(3, 13)):
            policy = Policy(on_cluster_loss=chance.choice(("fail", "resubmit")), max_retries=chance.randrange(3))
            job = request(
                f"j{number}",
                chance.choice((None, "k", "k", "l")),
                shape=chance.choice(("s", "t")),
                policy=policy,
                stored=self.time.happens(0.85),
                force=self.time.happens(0.15),
            )
            client = chance.choice(self.clients)
            when = chance.choice((0.5, chance.uniform(0.0, 8.0)))
            self.time.after(when, client.submit, [job], of=client)
            if self.time.happens(0.25):
                self.time.after(when + chance.uniform(0.0, 5.0), client.cancel, job.job_id, of=client)

    def _watch_over(self) -> None:
        """What clients do that find no registry: have one started."""
        alive = [one for one in self.registries if one.alive]
        # After the faults, one that was followed by a dead one must not be the only one.
        if not alive or (not self.faulty() and all(one.epoch < len(self.log.epochs) for one in alive)):
            self.new_registry(self.clusters[-1])
        if self.time.now < _OVER - 20:
            self.time.after(1.0, self._watch_over)

    # What goes wrong.

    def _fault(self) -> None:
        kinds = (
            self._kill_registry,
            self._stall_registry,
            self._second_registry,
            self._kill_controller,
            self._mistake_controller,
            self._lose_cluster,
            self._second_cluster,
        )
        kind = self.time.chance.choices(kinds, (3, 3, 2, 3, 1, 1, 1))[0]
        self.time.tell(f"-- {kind.__name__}")
        kind()

    def _some_registry(self) -> Registry | None:
        alive = [one for one in self.registries if one.alive]
        return self.time.chance.choice(alive) if alive else None

    def _kill_registry(self) -> None:
        registry = self._some_registry()
        if registry is not None:
            registry.alive = False

    def _stall_registry(self) -> None:
        registry = self._some_registry()
        if registry is not None:
            registry.stalled_until = self.time.now + self.time.chance.uniform(0.5, 8.0)
            if self.time.happens(0.7):
                self.new_registry(registry.cluster)

    def _second_registry(self) -> None:
        for _ in range(self.time.chance.randrange(1, 3)):
            self.new_registry(self.clusters[-1])

    def _kill_controller(self) -> None:
        pool = [one for one in self.controllers[self.clusters[-1]].values() if one.alive]
        if pool:
            self._kill(self.time.chance.choice(pool))

    def _kill(self, controller: Controller) -> None:
        controller.die()
        for registry in self.registries:
            if registry.cluster == controller.cluster:
                self.time.soon(registry.on_down, controller.slot, controller.incarnation, of=registry)

    def _mistake_controller(self) -> None:
        registry = self._some_registry()
        if registry is not None and registry.reigns:
            for controller in self.pool(registry.cluster):
                self.excuses.update(record.job_id for record in registry.directory.jobs.values() if not record.ended)
                registry.on_down(controller.slot, controller.incarnation)

    def _lose_cluster(self) -> None:
        lost = self.clusters.pop()
        for registry in self.registries:
            if registry.cluster == lost:
                registry.alive = False
        for controller in self.controllers[lost].values():
            controller.die()
        self.clusters.append(f"{lost}+")
        self.new_registry(self.clusters[-1])

    def _second_cluster(self) -> None:
        self.clusters.append(f"{self.clusters[-1]}'")
        self.new_registry(self.clusters[-1])

    # What must be true.

    def check_answer(self, one: Request, given: tuple[str, JobOrigin], asked_at: float) -> None:
        """An answer tells what is in the ledger, by an append made since the request."""
        job_id, origin = given
        jobs: dict[str, JobRecord] = {}
        for entry in self.log.entries:
            for event in entry.events:
                if isinstance(event, Accepted):
                    if origin is JobOrigin.STARTED and event.job_id == one.job_id == job_id:
                        return
                    jobs[event.job_id] = accept(event, len(jobs))
                    continue
                if isinstance(event, Adopted) and event.request_id == one.job_id and event.job_id == job_id:
                    record = jobs[job_id]
                    right = JobOrigin.REUSED if record.ended else JobOrigin.ADOPTED
                    if entry.at >= asked_at and origin is right:
                        good = record.status is JobStatus.COMPLETED if record.ended else not record.cancel_requested_at
                        assert good, f"{one.job_id} was given {job_id}, which was not to be given"
                        assert record.run_key == one.run_key
                        assert not one.force
                        return
                jobs[event.job_id] = evolve(jobs[event.job_id], event)
        raise AssertionError(f"{one.job_id} was told {given}, and the ledger does not say so")

    def tell_end(self, job_id: str, record: JobRecord | None) -> None:
        """A client is told how a job stands."""
        if record is not None and record.ended:
            told = self.told.setdefault(job_id, record.outcome)
            assert told == record.outcome, f"{job_id} was told to have ended in two ways"
            assert (job_id in self.results.runs) == (record.status is JobStatus.COMPLETED), f"{job_id}: {record.status}"

    def check_end(self) -> None:
        """Long after the last fault."""
        events = self.log.events()
        records = replayed(events)
        ends = Counter(event.job_id for event in events if isinstance(event, Ended))
        for client in self.clients:
            assert client.given.keys() == client.asked_at.keys(), f"{client.name} was not answered"
            for job_id, _ in client.given.values():
                assert job_id in records, f"{job_id} was lost"
                assert self.told[job_id] == records[job_id].outcome
        for job_id, record in records.items():
            assert record.ended, f"{job_id} has not ended"
            assert ends[job_id] == 1, f"{job_id} ended {ends[job_id]} times"
            stored = self.results.runs[job_id]
            assert stored == (record.status is JobStatus.COMPLETED), f"{job_id} is {record.status}, with {stored} runs"
            self.seen[str(record.status).lower()] += 1
            self.seen["started again"] += record.attempt > 1
            stopped = record.cancel_requested_at is not None
            self.seen["completed although cancelled"] += stopped and record.status is JobStatus.COMPLETED
            runs, excuses = self.executions[job_id], self.excuses[job_id]
            assert runs <= 1 + excuses, f"{job_id} ran {runs} times, with {excuses} reasons for another"
            assert runs or record.status is not JobStatus.COMPLETED
        self._check_starts()
        for registry in self.registries:
            if registry.alive and registry.epoch == len(self.log.epochs):
                assert dict(registry.directory.jobs) == records, "a replay gives other records"
                again = Directory()
                again.restore(records.values())
                assert again.unfinished == registry.directory.unfinished == 0
                assert dict(again.jobs) == records

    def _check_starts(self) -> None:
        """Nothing is started that was to be stopped before, or was not to outlive its cluster."""
        moves = 0
        cluster = self.log.epochs[0]
        accepted: dict[str, int] = {}
        stopped: set[str] = set()
        stays: set[str] = set()
        for entry in self.log.entries:
            if entry.events and self.log.epochs[entry.epoch - 1] != cluster:
                cluster = self.log.epochs[entry.epoch - 1]
                moves += 1
            for event in entry.events:
                if isinstance(event, Accepted):
                    accepted[event.job_id] = moves
                    if event.policy.on_cluster_loss == "fail":
                        stays.add(event.job_id)
                elif isinstance(event, CancelRequested):
                    stopped.add(event.job_id)
                elif isinstance(event, Started):
                    assert event.job_id not in stopped, f"{event.job_id} is started after it was cancelled"
                    moved = accepted[event.job_id] < moves
                    assert not (moved and event.job_id in stays), f"{event.job_id} is started on another cluster"
