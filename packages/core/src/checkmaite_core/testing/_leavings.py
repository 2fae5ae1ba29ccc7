"""Capabilities that leave things behind in their process, and look what others have left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from checkmaite_core.capability import Arity, Capability
from checkmaite_core.inputs import Inputs
from checkmaite_core.run import CapabilityConfig
from checkmaite_core.testing._waiting import DEADLINE
from checkmaite_core.testing._workloads import Number

__all__ = ["Leave", "LeaveConfig", "Look", "LookConfig", "runs"]

_VARIABLE = "CONFORMANCE_LEFT"
_MESSAGE = "left by another job"
_UMASK = 0o007
_CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


class LeaveConfig(CapabilityConfig):
    """Where it says what it is.

    Attributes:
        folder: Shared with the test; gets the file ``left``: the numbers of its process, and of those it has started.
        children: Start a child that heeds no SIGTERM and has a child of its own, and one in a session of its own.
        changes: Change the working directory, a variable, the filters of warnings, a signal's handler and the umask.
        threads: Leave a thread that runs until the deadline of all tests.
        parks: Do not end before the deadline of all tests.
    """

    folder: str
    children: bool = False
    changes: bool = False
    threads: bool = False
    parks: bool = False


class Leave(Capability[LeaveConfig, Number]):
    """Puts nothing back, and waits for nobody."""

    config_class = LeaveConfig
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: LeaveConfig) -> Number:
        numbers = [os.getpid()]
        if config.children:
            stubborn = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE)  # noqa: S603 - ours
            assert stubborn.stdout is not None
            numbers += [stubborn.pid, int(stubborn.stdout.readline())]
            apart = [sys.executable, "-c", "import time; time.sleep(600)"]
            numbers.append(subprocess.Popen(apart, start_new_session=True).pid)  # noqa: S603 - ours
        if config.changes:
            os.chdir("/")
            os.environ[_VARIABLE] = "1"
            warnings.filterwarnings("error", message=_MESSAGE)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            os.umask(_UMASK)
        if config.threads:
            threading.Thread(target=threading.Event().wait, args=(DEADLINE,), name=_VARIABLE).start()
        written = Path(config.folder) / "left.part"
        written.write_text(json.dumps(numbers))
        written.rename(written.with_name("left"))
        if config.parks:
            time.sleep(DEADLINE)
        return Number()


class LookConfig(CapabilityConfig):
    """Where it says what it sees.

    Attributes:
        path: The file, in a folder that is shared with the test.
    """

    path: str


class Look(Capability[LookConfig, Number]):
    """Says, as JSON, in which process it is and which of the things that ``Leave`` leaves it finds there."""

    config_class = LookConfig
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: LookConfig) -> Number:
        umask = os.umask(0o022)
        os.umask(umask)
        found = {
            "cwd": Path.cwd() == Path("/"),
            "environ": _VARIABLE in os.environ,
            "filters": any(getattr(one[1], "pattern", one[1]) == _MESSAGE for one in warnings.filters),
            "signal": signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN,
            "threads": _VARIABLE in [one.name for one in threading.enumerate()],
            "umask": umask == _UMASK,
        }
        Path(config.path).write_text(json.dumps([os.getpid(), sorted(name for name in found if found[name])]))
        return Number()


def runs(number: int) -> bool:
    """Whether a process of this machine runs; one that has ended and that nobody has asked about does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"
