"""Which of a table's last files, or of an index's last segments, a new one should be merged with.

Merging only with what is at most twice as large makes sizes fall from first to last, so that n folds leave about
log(n) of them, and each row is written about log(n) times.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["last_to_merge"]


def last_to_merge(sizes: Sequence[int], added: int, *, limit: int | None = None, floor: int = 0) -> int:
    """How many of the last ones to merge with a new one.

    Args:
        sizes: Of those that are there, in order.
        added: Size of the new one.
        limit: No merged one shall be larger than this.
        floor: Below it all count as this large, since a merge of small ones costs next to nothing.
    """
    total, taken = added, 0
    for size in reversed(sizes):
        if max(size, floor) > 2 * max(total, floor) or (limit is not None and total + size > limit):
            break
        total += size
        taken += 1
    return taken
