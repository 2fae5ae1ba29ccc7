"""What the nodes have that a cluster may get: an option of both Ray backends. No Ray."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["NodeMaxima"]

_MEANT = {
    **dict.fromkeys(("cpu", "cpus", "CPUs", "num_cpus"), "CPU"),
    **dict.fromkeys(("gpu", "gpus", "GPUs", "num_gpus"), "GPU"),
    **dict.fromkeys(("Memory", "mem", "memory_bytes"), "memory"),
}
"""What people call Ray's resources."""


def _check(maxima: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
    for kind in maxima:
        for name, amount in kind.items():
            if name in _MEANT:
                raise ValueError(f"{name!r} is called {_MEANT[name]!r} here, as Ray calls it")
            if not (math.isfinite(amount) and amount >= 0):
                raise ValueError(f"{name!r} is {amount:g}, which is no amount")
        if not any(kind.values()):
            raise ValueError("a kind of node that has nothing can run nothing; name what it has, such as {'CPU': 64}")
    return maxima


NodeMaxima = Annotated[tuple[dict[str, float], ...], AfterValidator(_check)]
"""Kinds of nodes, each as what it has by Ray's names; checked."""
