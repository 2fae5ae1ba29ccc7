"""Whether a Ray has gone for good, which Ray itself does not say: calls to one that is dead wait, and then end us."""

from __future__ import annotations

import signal
import socket
from typing import Any

from ray._private import worker as ray_worker

from checkmaite_core.errors import ClusterUnreachableError
from checkmaite_ray_simple.address import Kind, Target
from checkmaite_ray_simple.probe import cluster_id, probe

__all__ = ["RAYLET", "cluster_of_this_process", "dead_process", "why_lost"]

RAYLET = "raylet"
_VITAL = ("gcs_server", RAYLET)
"""Ray's names for those of its processes without which a head can do nothing, and which it does not start again.

Without the GCS, running jobs may still end well, and Ray ends this process after a minute; without the raylet no worker
lives on.
"""
_STEP = 1.0
"""Seconds that each of the two steps of a probe may take."""


def cluster_of_this_process() -> str:
    """The id of the cluster that this process has joined directly; empty over ``ray://``, or without a Ray."""
    node: Any = ray_worker._global_node
    return str(node.cluster_id.hex()) if node is not None else ""


def dead_process(*names: str) -> str | None:
    """Which vital process of the Ray that this process has started has ended, and how. Microseconds.

    Args:
        names: Those to look at; all of them if left out.
    """
    node: Any = ray_worker._global_node
    for name in names or _VITAL:
        for info in node.all_processes.get(name, ()) if node is not None else ():
            code = info.process.poll()
            if code is not None:
                how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with status {code}"
                return f"the local Ray of this process has died: its process {name} ({info.process.pid}) {how}"
    return None


def why_lost(target: Target, cluster: str, *, shared: bool) -> str | None:
    """Why a Ray that this process is connected to will not answer any more; None if it does. Two seconds at most.

    Args:
        target: Where it is.
        cluster: Its id (see :func:`cluster_of_this_process`), if known.
        shared: It is a local Ray that another process has started, and ends with that.

    Raises:
        ClusterUnreachableError: Nothing answers for now. A head that keeps its state elsewhere can come back.
        ClusterError: What answers now cannot be used.
    """
    dead = dead_process()
    if dead is not None or target.kind is Kind.LOCAL:
        return dead
    if _raylet_is_gone():
        return "the raylet of this machine, through which this process used the cluster, has ended"
    try:
        if target.kind is Kind.CLIENT:
            probe(target)
            return None
        found = cluster_id(target, deadline=_STEP)
    except ClusterUnreachableError as error:
        if shared and isinstance(error.__cause__, ConnectionRefusedError):
            return f"the local Ray at {target.address}, which another process had started, has ended"
        raise ClusterUnreachableError(
            f"{error.message} This process is connected to the Ray there, which may come back.",
            hint="Look at its head node, and call configure_job_backend(...) again. To leave it for good, and to end "
            "here what still waits for it, call shutdown_job_backend(wait=False) before.",
        ) from error
    return None if found == cluster or not cluster else f"another cluster answers at {target.address} now"


def _raylet_is_gone() -> bool:
    """Whether nothing listens any more at the socket of the raylet that this process talks to."""
    node: Any = ray_worker._global_node
    name = "" if node is None else str(node.raylet_socket_name or "")
    if not name or "://" in name:
        return False
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_STEP)
        try:
            one.connect(name)
        except ConnectionRefusedError:
            return True
        except OSError:  # busy, or not to be seen from here: that says nothing
            return False
    return False


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
