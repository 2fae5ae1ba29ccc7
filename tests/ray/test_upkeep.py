"""When a registry has stores put in order, and what it says of jobs that wait. Without Ray, on a household of notes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from checkmaite_core import JobStatus
from checkmaite_ray.protocol import Blob
from checkmaite_ray.settings import RegistrySettings
from checkmaite_ray.upkeep import Upkeep, waits_for

AFTER = 100
STORE = "/store"


class House:
    """Notes which stores are put in order."""

    def __init__(self) -> None:
        self.folded: list[str] = []
        self.roster = SimpleNamespace(maintain=self.maintain)

    async def maintain(self, order: str, overlay: str, at_least: int) -> None:
        self.folded.append(order)

    def complete(self, order: str, store_uri: str) -> str:
        return store_uri


@pytest.fixture
def house():
    return House()


@pytest.fixture
def upkeep(house):
    return Upkeep(house, RegistrySettings(maintain_after=AFTER))


def commits(upkeep, count):
    record = SimpleNamespace(job_id="one", store_uri=STORE, status=JobStatus.COMPLETED)
    for _ in range(count):
        upkeep.ended(record, Blob("{}", "{}", b"").pack())
    asyncio.run(upkeep.look_after_stores())


def test_a_store_is_put_in_order_after_so_many_results(upkeep, house):
    for _ in range(9):
        commits(upkeep, AFTER // 10)
    assert house.folded == []
    commits(upkeep, AFTER // 10)
    assert house.folded == [STORE]


def test_a_burst_of_results_is_not_held_up_by_it_until_it_pauses(upkeep, house):
    for _ in range(4):
        commits(upkeep, AFTER)
    assert house.folded == []
    commits(upkeep, 0)
    assert house.folded == [STORE]


def test_a_burst_that_does_not_pause_is_held_up_in_the_end(upkeep, house):
    for _ in range(10):
        commits(upkeep, AFTER)
    assert house.folded == [STORE]


@pytest.mark.parametrize(
    ("demand", "free", "reason"),
    [
        ({"CPU": 2}, {"CPU": 2}, None),
        ({"CPU": 2}, {"CPU": 1}, "waits for 2 CPU: 4 in the cluster, 3 in use"),
        ({"CPU": 1, "GPU": 1}, {"CPU": 4}, "waits for 1 GPU: 1 in the cluster, 1 in use"),
        ({"CPU": 8}, {"CPU": 4}, "waits for a node with 8 CPU: no node has that now"),
        (
            {"memory": 2**31},
            {"memory": 2**30},
            "waits for 2 GiB memory: 4 GiB in the cluster, 3 GiB in use",
        ),
    ],
)
def test_what_waits_says_what_for(demand, free, reason):
    node = {"CPU": 4.0, "GPU": 1.0, "memory": 2.0**32}
    assert waits_for(demand, node, free, [node]) == reason
