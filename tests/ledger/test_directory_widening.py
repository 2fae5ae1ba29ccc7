"""A window that was filled is filled again when half of it is empty; it follows the cluster's size."""

from __future__ import annotations

from directory_steps import COMPLETED, request, run

from checkmaite_ledger.directory import AttemptEnd, Directory, Limits


def full(window: int, jobs: int) -> Directory:
    directory = Directory(Limits(window=window))
    directory.controller_up("c0", "x", [], now=1.0)
    assert len(run(directory, *(request(f"j{n}") for n in range(jobs)))) == window
    return directory


def end(directory: Directory, number: int) -> int:
    """End a job, and say how many go out then."""
    directory.attempt_ended(f"j{number}", 1, AttemptEnd(outcome=COMPLETED), now=2.0)
    return len(directory.dispatch(now=2.0).actions)


def test_jobs_go_out_many_at_a_time_under_load() -> None:
    directory = full(8, 20)
    assert [end(directory, number) for number in range(8)] == [0, 0, 0, 4, 0, 0, 0, 4]


def test_a_window_that_is_widened_takes_more_at_once_and_a_narrowed_one_waits() -> None:
    directory = full(2, 20)
    directory.widen(6)
    assert len(directory.dispatch(now=2.0).actions) == 4
    directory.widen(2)
    assert [end(directory, number) for number in range(5)] == [0, 0, 0, 0, 1]
