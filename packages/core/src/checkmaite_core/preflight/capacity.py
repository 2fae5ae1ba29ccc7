"""What fits where, and how often: numbers alone.

Amounts are by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes), and the cluster's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checkmaite_core.resources import Resources

__all__ = ["amounts_text", "at_once", "demand_of", "fits", "how_many"]

_STEPS = 10_000
"""Ray counts in ten-thousandths; so do we, as sums of fractions are not exact otherwise."""
_GIB = 2**30


def demand_of(resources: Resources) -> dict[str, float]:
    """A demand by Ray's names, without what is nothing."""
    named = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, "memory": resources.memory, **resources.custom}
    return {name: float(amount) for name, amount in named.items() if amount}


def fits(room: Mapping[str, float], demand: Mapping[str, float]) -> bool:
    """Whether a node with this room can take the demand at least once."""
    return how_many(room, demand) != 0


def how_many(room: Mapping[str, float], demand: Mapping[str, float]) -> int | None:
    """How many times a node with this room can take the demand; None where nothing limits it."""
    limits = [_steps(room.get(name, 0.0)) // needed for name, needed in _needs(demand).items()]
    return max(0, min(limits)) if limits else None


def at_once(rooms: Sequence[Mapping[str, float]], demands: Sequence[tuple[Mapping[str, float], int]]) -> list[int]:
    """How many of a mix of demands can be met at the same time.

    The largest ones are placed first, each on the first node that has room. The most that could be placed may be a
    few more; a placing of as many as this exists.

    Args:
        rooms: What each node has.
        demands: The different demands, and how many there are of each.

    Returns:
        How many of each are placed, in the order of ``demands``.
    """
    left = [{name: _steps(amount) for name, amount in room.items()} for room in rooms]
    placed = [0] * len(demands)
    whole = {name: sum(room.get(name, 0) for room in left) for room in left for name in room}
    order = sorted(range(len(demands)), key=lambda index: -_share(demands[index][0], whole))
    for index in order:
        demand, wanted = demands[index]
        steps = _needs(demand)
        for room in left:
            most = min((room.get(name, 0) // amount for name, amount in steps.items()), default=wanted)
            count = max(0, min(wanted - placed[index], most))
            placed[index] += count
            for name, amount in steps.items():
                room[name] = room.get(name, 0) - count * amount
    return placed


def _share(demand: Mapping[str, float], whole: Mapping[str, int]) -> float:
    """How much of the scarcest thing that it asks for it takes."""
    return max((_steps(amount) / (whole.get(name, 0) or 1) for name, amount in demand.items()), default=0.0)


def _needs(demand: Mapping[str, float]) -> dict[str, int]:
    """What a demand takes from a node, without what is nothing.

    Part of a GPU is part of one GPU: of 0.4 only two fit on each, so that each takes a half.
    """
    steps = {name: _steps(amount) for name, amount in demand.items() if _steps(amount) > 0}
    part = steps.get("GPU", _STEPS)
    return steps if part >= _STEPS else {**steps, "GPU": _STEPS // (_STEPS // part)}


def _steps(amount: float) -> int:
    return round(amount * _STEPS)


def amounts_text(amounts: Mapping[str, float]) -> str:
    """Such as ``4 CPU, 7.5 GiB memory``; what a cluster keeps for its own use is left out."""
    texts = []
    for name in sorted(amounts, key=lambda name: (name not in ("CPU", "GPU", "memory"), name)):
        if name == "memory":
            texts.append(f"{amounts[name] / _GIB:.3g} GiB memory")
        elif not name.startswith(("object_store_memory", "node:", "accelerator_type:")):
            texts.append(f"{amounts[name]:g} {name}")
    return ", ".join(texts) or "nothing"
