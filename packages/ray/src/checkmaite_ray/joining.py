"""How a client comes to a scope's registry: the connection to Ray, the actor, the first exchange."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import ray

from checkmaite_core.defects import defect_of
from checkmaite_core.errors import (
    CheckmaiteError,
    ClusterError,
    ClusterUnreachableError,
    ConfigurationError,
    ProtocolMismatchError,
)
from checkmaite_core.location import same_place
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_ledger.writer import latest_epoch, open_ledger
from checkmaite_ray._machine import process_stamp
from checkmaite_ray.identity import local_cluster_of, placement, token_file_of
from checkmaite_ray.protocol import NAMESPACE, PROTOCOL, raise_problem, registry_name
from checkmaite_ray.registry import Registry
from checkmaite_ray.settings import LedgerConfig, RayOptions
from checkmaite_ray_simple import connection
from checkmaite_ray_simple.connection import Connection
from checkmaite_ray_simple.failures import last_line, was_not_imported, why_raised
from checkmaite_ray_simple.probe import probe
from checkmaite_ray_simple.settings import RaySimpleOptions

__all__ = ["RegistryGoneError", "answer", "connect", "join", "leave"]


class RegistryGoneError(ClusterError):
    """The registry's actor has ended and will not come back; a new one can take its place."""


_ITS_CREATION = "error raised in its creation task"
"""Ray's words where an actor's own constructor has raised, or its class could not be imported."""
_LOOK = 5.0
"""Seconds that an answer may take before the cluster is asked whether it is still there."""
_PATIENCE = 120.0
"""Seconds that a registry may take to start: its process, and the replay of its ledger."""
_LAST = 60.0
"""Seconds that putting the store in order may take when a local Ray ends."""


def connect(options: RayOptions, ledger: LedgerConfig) -> Connection:
    """Connect to the cluster; with ``address="local"`` to the one that another process has started for the scope.

    Raises:
        ClusterError: The cluster cannot be used.
    """
    chosen = RaySimpleOptions(
        address=options.address, reinit=options.reinit, num_cpus=options.num_cpus, dashboard=options.dashboard
    )
    token_file, shared = "", False
    if options.address == "local":
        latest = latest_epoch(open_ledger(ledger.uri, ledger.storage_options), options.idempotency_scope)
        if latest is not None and latest.who.get("creator") != process_stamp(os.getpid()):
            address = local_cluster_of(latest.who)
            if address is not None:
                chosen = RaySimpleOptions(address=address, reinit=options.reinit)
                token_file, shared = token_file_of(latest.who), True
    # Without a runtime_env: the registry and its controllers would inherit it, and with it one client's code.
    return connection.acquire(chosen, token_file=token_file, shared=shared)


def join(options: RayOptions, ledger: LedgerConfig, store: AnalyticsStoreConfig, session: str) -> Any:
    """Find the scope's registry, or start it, and agree with it.

    Raises:
        ScopeInUseError: Another cluster serves the scope.
        ProtocolMismatchError: It speaks another version.
        ConfigurationError: It keeps its ledger elsewhere.
    """
    scope = options.idempotency_scope
    given = {ledger.uri: ledger.storage_options, store.uri: store.storage_options}
    where = placement(options.registry.control_plane_resources)
    registry = Registry.options(  # type: ignore[attr-defined]
        name=registry_name(scope), namespace=NAMESPACE, lifetime="detached", get_if_exists=True, **where
    ).remote(scope, ledger.model_dump_json(), options.registry.model_dump_json(), where, options.takeover, given)
    greeting = {"protocol": PROTOCOL, "session": session, "options": given, "takeover": options.takeover}
    said = json.loads(_first_answer(registry, json.dumps(greeting), scope, where))
    if said["protocol"] != PROTOCOL:
        older = "the image of the registry" if said["protocol"] < PROTOCOL else "this client"
        raise ProtocolMismatchError(
            f"the registry of scope {scope!r} speaks version {said['protocol']} of the protocol, this client version "
            f"{PROTOCOL}.",
            hint=f"Update checkmaite-ray in {older}.",
        )
    raise_problem(said)
    if not same_place(said["ledger"], ledger.uri):
        raise ConfigurationError(
            f"scope {scope!r} of this cluster keeps its ledger at {said['ledger']}; this client says {ledger.uri}.",
            hint="Use the same analytics_store (or ledger=) as the other clients of the scope, or another "
            "idempotency_scope.",
        )
    return registry


def _first_answer(registry: Any, greeting: str, scope: str, where: dict[str, Any]) -> str:
    try:
        said: str = ray.get(registry.hello.remote(greeting), timeout=_PATIENCE)
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(
            f"the registry of scope {scope!r} did not start within {_PATIENCE:g} s. It needs a node that has "
            f"{where['resources']}.",
            hint="Start a node that has that, or change registry={'control_plane_resources': {...}}; and look at the "
            "actor's state and log among Ray's (`ray list actors`).",
        ) from None
    except ray.exceptions.RayTaskError as error:
        raise why_raised(error, f"joining the registry of scope {scope!r}") from error
    except ray.exceptions.RayError as error:
        raise _cannot_start(error, scope) from error
    return said


def _cannot_start(error: Exception, scope: str) -> CheckmaiteError:
    if _ITS_CREATION in str(error) and not was_not_imported(str(error)):
        doing = f"the registry of scope {scope!r} started"
        return defect_of(last_line(str(error)), doing, where="the head node", trace=str(error))
    return ClusterError(
        f"the scope's registry cannot be started: {str(error).strip()}",
        hint="Look at its log among Ray's on the head node. An image that lacks checkmaite-ray, or has another version "
        "of it, is a usual cause.",
    )


def answer(reference: Any, connected: Connection) -> Any:
    """What a call to the registry answers, however long a restart of it takes.

    Raises:
        RegistryGoneError: Somebody has ended the registry for good; :func:`join` makes a new one.
        ClusterUnreachableError: The cluster has gone meanwhile.
    """
    while True:
        try:
            return ray.get(reference, timeout=_LOOK)
        except ray.exceptions.GetTimeoutError:
            if connected.ended is not None:
                raise ClusterUnreachableError(
                    f"{connected.ended}, so the registry does not answer.",
                    hint="Call configure_job_backend(...) again, as before.",
                ) from None
            probe(connected.target)
        except ray.exceptions.RayTaskError as error:
            raise why_raised(error, "asking the registry") from error
        except ray.exceptions.ActorDiedError as error:
            raise RegistryGoneError(
                f"the scope's registry was ended for good: {str(error).strip()}",
                hint="Call configure_job_backend(...) again, which starts a new one.",
            ) from error
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterUnreachableError(
                f"the registry did not answer: {type(error).__name__}: {error}",
                hint="Look whether the cluster is still there, and call configure_job_backend(...) again.",
            ) from error


def leave(registry: Any, session: str, connected: Connection, *, maintain: bool) -> None:
    """Tell the registry that this client goes; if its Ray goes too, have stores put in order before."""
    deadline = time.monotonic() + _LAST
    reference = registry.leave.remote(session)
    try:
        probe(connected.target)  # a call to a cluster that has gone may never return
        ray.get(reference, timeout=_LOOK)
        if maintain:
            ray.get(registry.maintain.remote(), timeout=max(0.0, deadline - time.monotonic()))
    except ray.exceptions.RayTaskError as error:
        raise why_raised(error, "leaving the registry") from error
    except (ClusterError, ray.exceptions.RayError, ConnectionError):
        return  # it has gone, or is being restarted: it forgets clients by itself
