"""Which cluster this is, and what has become of one that was recorded: gone for certain, alive, or who knows.

A registry records its cluster's identity with each epoch of its scope. A registry of another cluster may take the scope
over only if the recorded one has certainly gone; everything else needs a person who knows better.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray._private import worker as ray_worker

from checkmaite_core.errors import (
    CheckmaiteError,
    ClusterAuthenticationError,
    ClusterMismatchError,
    ClusterUnreachableError,
)
from checkmaite_ray._machine import boot_id, is_running, machine_name, namespaces, process_stamp
from checkmaite_ray_simple.address import Kind, Target, resolve
from checkmaite_ray_simple.environment import LOCAL_RAY
from checkmaite_ray_simple.probe import cluster_id
from checkmaite_ray_simple.resources import HEAD
from checkmaite_ray_simple.tokens import find_token, read_token_file

__all__ = [
    "ClusterIdentity",
    "Verdict",
    "cluster_identity",
    "is_gone",
    "local_cluster_of",
    "placement",
    "token_file_of",
]

_STEP = 0.8
"""Seconds that each of the two steps of a probe may take."""
_PATIENCE = 2.0
"""Seconds that a verdict may take; looking up a host's name has no limit of its own."""
_SHARE = 0.0001
"""Ray's smallest share of a resource, so that 10,000 actors fit."""


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """A Ray cluster, as it is recorded.

    Attributes:
        cluster_id: Made with the cluster; a head that comes back with its state keeps it.
        session: Ray's name for the cluster's present run; its logs lie in a folder of that name.
        address: Host and port of its GCS, as its own nodes know it.
        host: The head's machine: host name and machine id. Empty, as the next two, if asked elsewhere.
        boot_id: The run of that machine.
        namespaces: The network and the processes that the head sees.
        head_node_id: Ray's id of the head node; empty if there is none at the moment.
        creator: The process that a local Ray ends with, as pid and start; empty if it is no local Ray.
        token_file: Where its token lies, if we made it for a local Ray. Never the token.
    """

    cluster_id: str
    session: str
    address: str
    host: str
    boot_id: str
    namespaces: str
    head_node_id: str
    creator: str = ""
    token_file: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has become of a recorded cluster.

    Attributes:
        gone: It has ended, for certain.
        alive: It answers.
        reason: Why we think so: a clause for the end of a sentence.
    """

    gone: bool
    alive: bool
    reason: str


def cluster_identity() -> ClusterIdentity:
    """The cluster that this process is a part of, or connected to. Blocking, some milliseconds.

    Raises:
        RuntimeError: The process has no Ray.
        ClusterError: The cluster was reached through ``ray://``, and its GCS port does not answer here.
    """
    context = ray.get_runtime_context()
    address: str = context.gcs_address
    node: Any = ray_worker._global_node
    # Over ray:// this process is no part of the cluster, and knows no id.
    found = node.cluster_id.hex() if node is not None else cluster_id(resolve(address))
    nodes: Any = ray.nodes  # without types
    head = next((one["NodeID"] for one in nodes() if one["Alive"] and HEAD in one["Resources"]), "")
    # What becomes of this machine says something about the cluster only if it is the head's.
    here = node is not None and head != "" and context.get_node_id() == head
    # Set when a local Ray is started, and inherited by its processes.
    creator = process_stamp(int(os.environ.get(LOCAL_RAY, "0"))) if here else ""
    return ClusterIdentity(
        cluster_id=found,
        session=context.get_session_name(),
        address=address,
        host=machine_name() if here else "",
        boot_id=boot_id() if here else "",
        namespaces=namespaces() if here else "",
        head_node_id=head,
        creator=creator,
        token_file=os.environ.get("RAY_AUTH_TOKEN_PATH", "") if creator else "",
    )


def is_gone(recorded: Mapping[str, Any]) -> Verdict:
    """What has become of a recorded cluster. Takes two seconds at most and never raises.

    Args:
        recorded: A :class:`ClusterIdentity` as JSON; more keys do no harm.
    """
    verdicts: list[Verdict] = []

    def judge() -> None:
        try:
            verdicts.append(_judge(recorded))
        except Exception as error:  # the boundary: whatever a record holds, the answer is that we do not know
            verdicts.append(_unknown(f"asking about it failed: {type(error).__name__}: {error}"))

    asking = threading.Thread(target=judge, name="checkmaite-is-gone", daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return verdicts[0] if verdicts else _unknown(f"no answer from {recorded.get('address')} within {_PATIENCE:g} s")


def local_cluster_of(recorded: Mapping[str, Any]) -> str | None:
    """The address of a recorded local cluster, if this process can join it: on this machine, in this boot, alive.

    Connect there with the token of :func:`token_file_of`. It ends with the process that started it; what a client that
    had joined it does then fails as with any cluster that goes away.
    """
    if not recorded.get("creator") or not _is_here(recorded):
        return None
    return str(recorded["address"]) if is_gone(recorded).alive else None


def token_file_of(recorded: Mapping[str, Any]) -> str:
    """The file with a recorded local cluster's token, if we made one; else Ray finds the token, or needs none."""
    file = str(recorded.get("token_file", ""))
    return file if file and _is_here(recorded) and read_token_file(file) else ""


def placement(control_plane_resources: Mapping[str, float]) -> dict[str, Any]:
    """Where the registry and controllers run, as options of a Ray actor: on the head node if no resources are named.

    They take no CPU, also when they are restarted, so that a head without CPUs has them, and a cluster of one CPU has
    it for jobs.
    """
    return {"num_cpus": 0, "resources": dict(control_plane_resources) or {HEAD: _SHARE}}


def _judge(recorded: Mapping[str, Any]) -> Verdict:
    address, machine = str(recorded.get("address", "")), str(recorded.get("host", ""))
    target = resolve(address) if ":" in address and "://" not in address else None
    if target is None or target.kind is not Kind.CLUSTER:
        return _unknown(f"its record has no usable address ({address!r})")
    restarted = _was_restarted(recorded)
    if _is_loopback(target.host) and not _is_here(recorded) and not restarted:
        return _unknown(f"its address {address} counts only on {machine}, which is not where this process runs")
    network = _ask(target, recorded)
    if network.alive or network.gone:
        return network
    if restarted:
        return Verdict(True, False, f"it was on this machine ({machine}), which has been restarted since")
    if recorded.get("creator") and _is_here(recorded) and not is_running(str(recorded["creator"])):
        pid = str(recorded["creator"]).partition(":")[0]
        return Verdict(True, False, f"it was a local Ray that ended with the process {pid}, which has ended")
    return network


def _ask(target: Target, recorded: Mapping[str, Any]) -> Verdict:
    # Others may have written the record: no token leaves the machine for it.
    token = ""
    if _is_here(recorded) and _is_own_address(target.host):
        token = read_token_file(str(recorded.get("token_file", ""))) or find_token()
    wanted = recorded.get("cluster_id")
    try:
        found = cluster_id(target, token=token, deadline=_STEP)
    except ClusterUnreachableError as error:
        if isinstance(error.__cause__, ConnectionRefusedError):
            return Verdict(True, False, f"nothing listens at its address {target.address} any more")
        return _unknown(f"it does not answer: {error.message}")
    except ClusterMismatchError:
        return Verdict(True, False, f"what answers at its address {target.address} now is no Ray's GCS")
    except ClusterAuthenticationError:
        if token and token_file_of(recorded):
            return Verdict(True, False, f"another Ray answers at {target.address}, which refuses its token")
        return _unknown(f"a Ray answers at {target.address} that wants a token, so it may be the recorded one")
    except CheckmaiteError as error:
        return _unknown(f"asking it failed: {error.message}")
    if found == wanted:
        return Verdict(False, True, f"it answers at {target.address}")
    return Verdict(True, False, f"another cluster answers at its address {target.address}")


def _unknown(reason: str) -> Verdict:
    return Verdict(False, False, reason)


def _is_here(recorded: Mapping[str, Any]) -> bool:
    """Whether its head was recorded on this machine, in this boot, in this container."""
    found = recorded.get("boot_id"), recorded.get("namespaces")
    return all(found) and found == (boot_id(), namespaces())


def _was_restarted(recorded: Mapping[str, Any]) -> bool:
    """Whether it was recorded on this machine, in an earlier boot."""
    same = recorded.get("host") == machine_name()
    return bool(same and recorded.get("boot_id") and boot_id() and recorded["boot_id"] != boot_id())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own_address(host: str) -> bool:
    """Whether it is an address of this machine: only to those can a socket be bound."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        try:
            one.bind((host, 0))
        except OSError:
            return False
    return True
