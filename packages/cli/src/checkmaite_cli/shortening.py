"""Ids that are long, as short as they can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["shortened"]

_SHORTEST = 8


def shortened(ids: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Beginnings of the ids in ``shown`` that are no other id's beginning, short and of one length.

    Args:
        ids: All ids, sorted.
        shown: Those that are wanted.
    """
    needed = _SHORTEST
    for one, other in itertools.pairwise(ids):
        common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
        needed = max(needed, common + 1)
    return [wanted[:needed] for wanted in shown]
