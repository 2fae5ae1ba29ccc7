"""What tells one run of a machine, and one process of it, from all others."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

__all__ = ["boot_id", "is_running", "machine_name", "namespaces", "process_stamp", "user_name"]


def machine_name() -> str:
    """Host name and machine id: containers made from one image share the id, the machines of a home the name."""
    return f"{socket.gethostname()} {_read('/etc/machine-id')}".strip()


def user_name() -> str:
    """Who runs this process. Containers run under numbers that have no name, as those of OpenShift do."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # the first until Python 3.12
        return f"uid-{os.getuid()}"


def boot_id() -> str:
    """A new one at each start of the machine; empty where the system has none."""
    return _read("/proc/sys/kernel/random/boot_id")


def namespaces() -> str:
    """The network and the processes that this process sees: containers of one machine share its boot, not these."""
    try:
        return " ".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid"))
    except OSError:
        return ""


def process_stamp(pid: int) -> str:
    """A process by its number and its start, in ticks since boot, for numbers are used again; empty if unknown."""
    # The name, in brackets, may hold anything; what follows the last bracket begins with field 3, and the start is 22.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return f"{pid}:{fields[19]}" if len(fields) > 19 and fields[0] not in "ZX" else ""


def is_running(stamp: str) -> bool:
    """Whether the process with this stamp runs. Ask only where boot and namespaces are the same."""
    pid = stamp.partition(":")[0]
    return pid.isascii() and pid.isdigit() and process_stamp(int(pid)) == stamp


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
