"""Which part of the inbox one manifest takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from checkmaite_storage import ObjectInfo

__all__ = ["first_batch"]


def first_batch(
    tail: Sequence[ObjectInfo], last: Collection[str], *, events: int, size: int
) -> tuple[list[ObjectInfo], list[ObjectInfo]]:
    """Split a tail into what is folded now and the rest.

    Args:
        tail: The objects.
        last: Keys of those that come after all others: they could not be read before, and may have been restored.
        events: Number of objects at most.
        size: Bytes at most; one object is always taken.
    """
    ordered = sorted(tail, key=lambda info: (info.key in last, info.key))
    total = taken = 0
    for info in ordered[:events]:
        total += info.size
        if taken and total > size:
            break
        taken += 1
    return ordered[:taken], ordered[taken:]
