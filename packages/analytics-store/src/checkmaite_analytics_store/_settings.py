"""The store's few settings, and its warning."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_SETTINGS", "QuarantinedObjectWarning", "StoreSettings"]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How the store keeps itself in order. Every process that folds one store should use the same values.

    Attributes:
        grace: Seconds for which an inbox object stays after a manifest has listed its event, so that readers
            and settlers at work find what they saw. Measured between timestamps of the store's server.
        fold_limit: Seconds after which a fold no longer publishes: files that no manifest names may be
            removed once they are a day old, and a fold must be done long before.
        fold_after: After so many runs written through one store object a fold runs in the background; closing it
            folds if so many wait by then, whoever wrote them. 0 turns both off.
        fold_batch: Events folded into one manifest at most; a longer inbox takes several.
        fold_bytes: Bytes of inbox objects folded into one manifest at most, but always one object. With
            ``merge_bytes`` it bounds the memory of a fold.
        raw_bytes: Bytes of unpacked rows that a merge of files holds in memory at a time, about. Files are read and
            written a few rows at a time, so that it does not matter what they unpack to.
        merge_bytes: Compressed bytes up to which the files of one table are merged into one.
        merge_rows: Rows up to which they are.
        vacuum_age: Seconds for which an object that nothing refers to stays, for readers that still use it and folds
            that have not published it yet. Measured between timestamps of the store's server.
        staged_age: Seconds for which outputs that were staged and never committed can be committed again, before a
            vacuum removes them. Measured between timestamps of the store's server.
    """

    grace: float = 15 * 60
    fold_limit: float = 60 * 60
    fold_after: int = 500
    fold_batch: int = 20_000
    fold_bytes: int = 64 * 1024 * 1024
    raw_bytes: int = 256 * 1024 * 1024
    merge_bytes: int = 32 * 1024 * 1024
    merge_rows: int = 2_000_000
    vacuum_age: float = 24 * 60 * 60
    staged_age: float = 30 * 24 * 60 * 60


DEFAULT_SETTINGS = StoreSettings()


class QuarantinedObjectWarning(UserWarning):
    """A query's answer leaves out objects that cannot be read; the text names them."""
