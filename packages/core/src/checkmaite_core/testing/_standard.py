"""Standard tests, and the guard that keeps them as they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import pytest

__all__ = ["StandardSuite", "allow_override", "broken_standards"]

F = TypeVar("F", bound=Callable[..., Any])

# This module is imported before those that hold the tests: one that fails is to show its values, as pytest does for
# a user's own tests.
pytest.register_assert_rewrite(
    "checkmaite_core.testing._backend_cancel",
    "checkmaite_core.testing._backend_lifecycle",
    "checkmaite_core.testing._backend_outcomes",
    "checkmaite_core.testing._backend_preflight",
    "checkmaite_core.testing._backend_records",
    "checkmaite_core.testing._backend_recovery",
    "checkmaite_core.testing._store_commit",
    "checkmaite_core.testing._store_history",
    "checkmaite_core.testing._store_probing",
    "checkmaite_core.testing._store_reading",
    "checkmaite_core.testing._store_sharing",
    "checkmaite_core.testing._store_staging",
)

_GUARD = "test_no_standard_test_is_overridden_or_deleted"
_DISABLING_MARKS = frozenset({"skip", "skipif", "xfail"})


def allow_override(reason: str) -> Callable[[F], F]:
    """Let a subclass replace one standard test; the guard prints the reason.

    For the rare honest case, such as a test that the backend's own, stricter one contains.

    Args:
        reason: Why the standard test cannot hold here.

    Raises:
        ValueError: The reason is empty.
    """
    if not reason.strip():
        raise ValueError("allow_override needs a reason, such as 'the stricter test below contains it'")

    def mark(function: F) -> F:
        function.__dict__["override_reason"] = reason
        return function

    return mark


class StandardSuite:
    """A class of standard tests, to be subclassed under a name that begins with ``Test``.

    A class argument ``standard=True`` makes the tests that a class defines standard ones.
    """

    standard_tests: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, *, standard: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if standard:
            own = {name: value for name, value in vars(cls).items() if name.startswith("test_")}
            cls.standard_tests = {**_standard_tests(cls), **own}
        elif _GUARD in vars(cls):
            # The one test that could not report its own replacement.
            raise TypeError(f"{cls.__qualname__} overrides {_GUARD}, the guard of the standard tests; remove it")

    def test_no_standard_test_is_overridden_or_deleted(self, capsys: pytest.CaptureFixture[str]) -> None:
        for name, reason in _allowed(type(self)):
            with capsys.disabled():
                print(f"\n{type(self).__qualname__}.{name} replaces a standard test: {reason}")  # noqa: T201
        problems = broken_standards(type(self))
        assert not problems, "; ".join(problems) + " (say what a backend or store does not promise instead)"


StandardSuite.standard_tests = {_GUARD: vars(StandardSuite)[_GUARD]}


def broken_standards(suite: type[StandardSuite]) -> list[str]:
    """What is wrong with the standard tests of a class; empty if each runs as it was written."""
    problems = []
    for name, original in _standard_tests(suite).items():
        found = getattr(suite, name, None)
        marks = {mark.name for mark in getattr(found, "pytestmark", ())}
        if found is None:
            problems.append(f"{name} is deleted")
        elif found is not original and not hasattr(found, "override_reason"):
            problems.append(f"{name} is overridden")
        elif marks & _DISABLING_MARKS:
            problems.append(f"{name} is marked {', '.join(sorted(marks & _DISABLING_MARKS))}")
    return problems


def _allowed(suite: type[StandardSuite]) -> Iterator[tuple[str, str]]:
    for name, original in _standard_tests(suite).items():
        found = getattr(suite, name, None)
        reason = getattr(found, "override_reason", None)
        if found is not original and reason is not None:
            yield name, reason


def _standard_tests(suite: type) -> dict[str, Any]:
    collected: dict[str, Any] = {}
    for base in reversed(suite.__mro__):
        collected.update(vars(base).get("standard_tests", {}))
    return collected
