"""The same request for many objects: several at once where most of the time is waiting for answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from checkmaite_storage._interface import ObjectStore

__all__ = ["for_each"]

_AT_ONCE = 16

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


def for_each(objects: ObjectStore, request: Callable[[ItemT], AnswerT], items: Iterable[ItemT]) -> list[AnswerT]:
    """The answers, in the order of the items; the first error in that order is raised, and begins no more requests."""
    if objects.is_local:
        return list(map(request, items))
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(request, items))
