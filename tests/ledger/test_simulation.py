"""Thousands of lives of a scope in which processes die, stand still and follow each other, and messages get lost.

A seed whose life went wrong is printed with its story. To live it again::

    CHECKMAITE_SIMULATION_SEED=1234 pytest tests/ledger/test_simulation.py -k seeds
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from simulated_world import World

_SEEDS = 2_000
_AGAIN = os.environ.get("CHECKMAITE_SIMULATION_SEED")


def _live(seed: int, *, faults: bool = True) -> World:
    world = World(seed, faults=faults)
    try:
        world.run()
    except Exception as error:  # whatever it is, the seed and the story are what it takes to find out
        story = "\n".join(world.time.story)
        pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\n{story}")
    return world


def test_whatever_goes_wrong_every_job_ends_once_and_its_results_are_stored_once_over_many_seeds() -> None:
    for seed in [int(_AGAIN)] if _AGAIN else range(_SEEDS):
        _live(seed)


def test_without_faults_no_job_runs_twice_over_many_seeds() -> None:
    for seed in range(100):
        world = _live(seed, faults=False)
        assert set(world.executions.values()) <= {1}


def test_the_lives_that_are_simulated_hold_what_they_are_meant_to_hold() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        seen += _live(seed).seen
    wanted = {
        "adopted", "reused", "refused", "answered twice", "cancelled", "completed although cancelled", "completed",
        "failed", "started again", "settled", "not settled yet", "sealed", "fenced", "same cluster", "other cluster",
        "straggler stopped", "order of an earlier epoch refused",
    }  # fmt: skip
    assert not wanted - seen.keys(), f"never happened: {sorted(wanted - seen.keys())}"


@pytest.mark.soak
def test_whatever_goes_wrong_every_job_ends_once_and_its_results_are_stored_once_over_very_many_seeds() -> None:
    for seed in range(_SEEDS, 20 * _SEEDS):
        _live(seed)
