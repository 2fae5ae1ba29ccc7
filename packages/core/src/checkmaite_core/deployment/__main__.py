"""``python -m checkmaite_core.deployment``: stamp, show and compare environments where there is no command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from checkmaite_core.deployment.commands import Status, file_difference, summary, written
from checkmaite_core.deployment.environment import describe_environment
from checkmaite_core.deployment.stamp import write_stamp
from checkmaite_core.errors import CheckmaiteError

__all__ = ["main"]

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Its words; those of this process if None.

    Returns:
        The exit status. Of ``diff``: 0 if the environments are the same, 1 if there are errors or warnings, 2 if that
        could not be told. Of the others: 0, or 1 after an error.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command == "diff" and len(chosen.files) > 2:
        parser.error("diff compares two environments.")
    try:
        if chosen.command == "stamp":
            _say(written(write_stamp(chosen.lock, prefix=chosen.prefix), chosen.prefix))
            return 0
        if chosen.command == "show":
            here = describe_environment(whole=True)
            _say(here.model_dump_json(indent=2) if chosen.json else summary(here))
            return 0
        text, status = file_difference(chosen.files)
        _say(text)
        return status
    except CheckmaiteError as error:
        sys.stderr.write(f"error: {error.message}\n{error.hint}\n")
        return Status.UNKNOWN if chosen.command == "diff" else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m checkmaite_core.deployment",
        description="Stamp, show and compare the environments of clients and workers.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    stamp = commands.add_parser("stamp", help="write the digest of a lock into an environment")
    stamp.add_argument("--lock", type=Path, required=True, metavar="FILE", help="what the environment was made from")
    stamp.add_argument("--prefix", type=Path, metavar="FOLDER", help="the environment; left out: the one that runs")
    show = commands.add_parser("show", help="describe the environment that runs this command")
    show.add_argument("--json", action="store_true", help="write JSON, all of it, as diff reads it")
    diff = commands.add_parser(
        "diff",
        help="compare two environments, written by show --json; '-' reads one from the standard input",
        description="Exit status: 0 if they are the same, 1 if there are errors or warnings, 2 if it cannot be told.",
    )
    diff.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="the client's and the worker's; of one alone, it is the worker's, and the client is where this runs",
    )
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())
