"""A process that claims a log again and again and appends to it; it says what it was told is there, line by line.

``log_worker.py FOLDER NAME EPOCHS``: ends after as many epochs of its own, or when it is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys

from checkmaite_core.errors import EpochTakenError, SealedError
from checkmaite_storage import CommitLog, LocalObjectStore


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())  # at once, so that a line was said even if the process is killed next


def main(folder: str, name: str, epochs: int) -> None:
    log = CommitLog(LocalObjectStore(folder), "log-of/tests/")
    won = 0
    while won < epochs:
        latest = log.latest_epoch()
        with contextlib.suppress(EpochTakenError, SealedError):
            writer = log.claim({"name": name}, after=latest.number if latest else 0)
            won += 1
            for number in itertools.count():
                text = f"{name}-{writer.epoch.number}-{number}"
                writer.append([text.encode()])
                say(text)
                if number == 20:
                    break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
