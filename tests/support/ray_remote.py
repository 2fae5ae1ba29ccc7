"""Another client of a scope, in a process that does as it is told, and that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ray import cloudpickle

__all__ = ["RemoteClient", "RemoteError"]

_CODE = """
import json, os, sys
from checkmaite_core import CheckmaiteError, configure_job_backend

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what others print is no answer

def say(**what):
    print(json.dumps(what), file=answers, flush=True)

def do(what, file="", job_id="", timeout=None, **options):
    if what == "submit":
        with open(file, "rb") as opened:
            return backend.submit(cloudpickle.load(opened), **options).job_id
    if what == "wait":
        job = known.setdefault(job_id, backend.job(job_id))
        return str(job.wait(timeout))
    if what == "status":
        return str(known.setdefault(job_id, backend.job(job_id)).status)
    return [job.job_id for job in backend.jobs(**options)]

try:
    backend, known = configure_job_backend("ray", **json.loads(sys.argv[1])), {}
except CheckmaiteError as error:
    say(error=type(error).__name__, message=str(error))
    sys.exit(1)
from ray import cloudpickle
from checkmaite_ray import joining
answer = joining.answer

def telling(*arguments):
    say(asked=True)  # the call is on its way
    return answer(*arguments)

joining.answer = telling
say(answer="connected")
for line in sys.stdin:
    try:
        say(answer=do(**json.loads(line)))
    except CheckmaiteError as error:
        say(error=type(error).__name__, message=str(error))
"""


class RemoteError(Exception):
    """What the client's call raised: its type's name, and its text."""


class RemoteClient:
    """A client; connected once the first call is made.

    Args:
        folder: Where what it is to submit goes, and what it has to complain of.
        options: Of its backend.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._connected = False
        with (folder / "errors.log").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def connected(self) -> None:
        """Wait until it is."""
        if not self._connected:
            self.answer()
            self._connected = True

    def submit(self, work: Any, **options: Any) -> str:
        """Have it submit work; returns the job's id."""
        self.begin("submit", work, **options)
        return str(self.answer())

    def call(self, what: str, **options: Any) -> Any:
        """Have it ``wait`` for a job, tell its ``status``, or list ``jobs``."""
        self.begin(what, **options)
        return self.answer()

    def begin(self, what: str, work: Any = None, **options: Any) -> None:
        """Have it begin a call."""
        self.connected()
        if work is not None:
            file = self._folder / "work.pickle"
            file.write_bytes(cloudpickle.dumps(work))
            options["file"] = str(file)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, **options}) + "\n")
        self.process.stdin.flush()

    def asked(self) -> None:
        """Wait until the call that has begun is on its way to the registry."""
        assert "asked" in self._said()

    def answer(self) -> Any:
        """What the call that has begun returned.

        Raises:
            RemoteError: It raised.
        """
        while "asked" in (said := self._said()):
            continue
        if "error" in said:
            raise RemoteError(said["error"], said["message"])
        return said["answer"]

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()

    def _said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self._folder / "errors.log").read_text()
        said: dict[str, Any] = json.loads(line)
        return said
