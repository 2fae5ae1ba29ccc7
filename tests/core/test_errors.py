"""The error tree: as it is drawn, readable, and able to travel."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

from checkmaite_core import FailureKind, FailureRecord, errors
from checkmaite_core.errors import (
    BackpressureError,
    CheckmaiteError,
    EpochTakenError,
    JobError,
    JobFailedError,
    JobTimeoutError,
    PreflightError,
    SealedError,
    WriteConflictError,
)
from checkmaite_core.errors import StorageError as _StorageError
from checkmaite_core.preflight import PreflightReport


def _all_errors() -> list[type[CheckmaiteError]]:
    found = [CheckmaiteError]
    for kind in found:
        found += [below for below in kind.__subclasses__() if below.__module__ == errors.__name__]
    return sorted(found, key=lambda kind: kind.__name__)


def _example(kind: type[CheckmaiteError]) -> CheckmaiteError:
    more: dict[str, Any] = {}
    if issubclass(kind, BackpressureError):
        more["retry_after"] = 1.5
    if issubclass(kind, JobError):
        more["job_id"] = "job-1"
    if issubclass(kind, JobFailedError):
        more["failure"] = FailureRecord(kind=FailureKind.USER_CODE, error_type="builtins.ValueError", message="no")
    if issubclass(kind, _StorageError):
        more["uri"] = "file:///x"
    if issubclass(kind, EpochTakenError | SealedError):
        more["epoch"] = 2
    if issubclass(kind, WriteConflictError):
        more.update(event_id="run-1", difference="a number")
    if issubclass(kind, PreflightError):
        more["report"] = PreflightReport(backend="ray", address="local", store="./store")
    return kind("the run broke.", hint="Mend it.", **more)


def test_the_drawing_is_the_real_tree() -> None:
    lines = re.findall(r"^    ([│ ]*)(?:[├└]── )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for indent, name in lines:
        depth = 0 if name == "CheckmaiteError" else len(indent) // 4 + 1
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else None
    real: dict[str, str | None] = {kind.__name__: kind.__bases__[0].__name__ for kind in _all_errors()}
    real["CheckmaiteError"] = None
    assert drawn == real


def test_every_error_is_exported() -> None:
    assert sorted(errors.__all__) == [kind.__name__ for kind in _all_errors()]


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_an_error_says_what_happened_ends_with_the_hint_and_pickles(kind: type[CheckmaiteError]) -> None:
    error = _example(kind)
    error.add_note("seen twice")
    assert str(error) == "the run broke.\n  -> Mend it."
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_a_hint_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="hint"):
        CheckmaiteError("the run broke.")  # type: ignore[call-arg]


def test_a_timeout_is_caught_as_one() -> None:
    with pytest.raises(TimeoutError):
        raise JobTimeoutError("still running.", hint="Wait.", job_id="job-1")
