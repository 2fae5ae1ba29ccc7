"""Who may serve a scope: the decision before an epoch is claimed. Blocking; no Ray actor in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from checkmaite_core.errors import EpochTakenError, ScopeInUseError
from checkmaite_ledger.writer import LedgerWriter, latest_epoch
from checkmaite_ray.identity import is_gone

if TYPE_CHECKING:
    from checkmaite_storage import Epoch, ObjectStore

__all__ = ["claim", "elsewhere"]


def claim(objects: ObjectStore, scope: str, who: Mapping[str, Any], takeover: bool) -> tuple[LedgerWriter, bool]:
    """Begin an epoch.

    A registry of the same cluster takes over from the one before without asking: Ray runs one at a time, and the
    seal stops one that was only taken for dead. From another cluster it takes over if that one has certainly gone.

    Args:
        objects: Where the ledger is.
        scope: Whose it is.
        who: What to record of this registry: its cluster's identity, and its own.
        takeover: Take it from a cluster that may be alive.

    Returns:
        The ledger, and whether the last registry that decided anything was of this cluster.

    Raises:
        ScopeInUseError: Another cluster serves the scope, or may do so.
        StorageError: The ledger cannot be read or written.
    """
    while True:
        latest = latest_epoch(objects, scope)
        refusal = None if takeover else elsewhere(objects, scope, latest, who["cluster_id"])
        if refusal is not None:
            raise refusal
        try:
            writer = LedgerWriter.claim(objects, scope, who, after=0 if latest is None else latest.number)
        except EpochTakenError:
            continue  # another registry was quicker: look at who that is
        # Not the latest one: it may have died before it had done anything for the jobs of the cluster before.
        deciding = writer.deciding
        return writer, deciding is not None and deciding.who.get("cluster_id") == who["cluster_id"]


def elsewhere(objects: ObjectStore, scope: str, latest: Epoch | None, cluster_id: str) -> ScopeInUseError | None:
    """The error that a cluster may not serve a scope, because another one does, or may do so; None if it may.

    Args:
        objects: Where the ledger is.
        scope: Whose it is.
        latest: The latest epoch of the scope.
        cluster_id: The cluster that would serve it.
    """
    if latest is None or latest.who.get("cluster_id") == cluster_id:
        return None
    verdict = is_gone(latest.who)
    if verdict.gone:
        return None
    return ScopeInUseError(
        f"scope {scope!r} at {objects.uri} is served by another Ray cluster: {verdict.reason}.",
        hint=f"Connect to that one ({latest.who.get('address')}), use another idempotency_scope, or, if "
        "it is to stop, pass takeover=True.",
    )
