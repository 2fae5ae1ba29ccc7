"""What a check of a store can find, and what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Advice", "Finding", "VerifyReport"]


class Advice:
    """What to do about a damaged object, by what it is."""

    FORMAT = (
        "Restore it from a copy or an earlier version of the object; the one of any other store of this format is the "
        "same."
    )
    RESULT = (
        "store.fold() sets it aside, so that queries answer from the rest. To have its rows again, restore it from a "
        "copy or an earlier version of the object, before that or afterwards, and fold; or run the work again."
    )
    ASIDE = (
        "It is set aside already, and another fold changes nothing: restore it from a copy or an earlier version of "
        "the object and fold then, or run the work again."
    )
    WHOLE_AGAIN = "store.fold() takes it back, once no file of the table runs is set aside."
    STAGED = (
        "No result of the store is touched. What it held cannot be committed again: restore it from a copy, or run the "
        "work again; store.vacuum() removes it once it is old."
    )
    STALE = "Nothing needs it, as its event is folded: store.fold() removes it after the grace period."
    NEWEST_MANIFEST = (
        "Delete nothing. store.fold() publishes the next one, built on the one before and on what the inbox still "
        "holds; where that cannot be done without a loss it says so."
    )
    OLD_MANIFEST = (
        "Nothing is read from it while a newer one is whole; store.vacuum() puts a stub in its place once it is old."
    )
    SEGMENT = (
        "Restore it from a copy or an earlier version of the object. Without one, store.fold() rebuilds it, if that "
        "can be done with certainty, and says so if not."
    )
    REPORT = (
        "Restore it from a copy or an earlier version of the object, or run the work again. The rows of its run are "
        "not affected, and a fold changes nothing about it."
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One damaged object.

    Attributes:
        key: Where it lies.
        problem: What is wrong with it.
        advice: What to do about it.
    """

    key: str
    problem: str
    advice: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of the whole store found.

    Attributes:
        objects: Number of objects that were read and compared.
        findings: Those that are damaged, sorted by key.
        foreign: Keys of objects that the store did not write and takes no notice of, sorted.
        unused: Number of objects of earlier and unfinished folds, which ``vacuum()`` removes in time.
    """

    objects: int
    findings: tuple[Finding, ...]
    foreign: tuple[str, ...]
    unused: int

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings
