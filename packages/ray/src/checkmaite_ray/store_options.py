"""Storage options that clients have named, in the memory of the cluster, so that a registry that is back has them.

Ray itself keeps what an actor was made with there, the first client's options included: in its GCS, and in the Redis
behind that if the cluster has one. They are never in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from checkmaite_core.location import place_of

__all__ = ["by_place", "recall", "remember"]

_NAMESPACE = b"checkmaite"


def by_place(options: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Storage options by the canonical spelling of each store's URI; clients and ledgers may have others."""
    return {place_of(uri): named for uri, named in options.items()}


def remember(scope: str, options: dict[str, dict[str, Any]]) -> None:
    """Keep a scope's storage options, by place, for as long as the cluster is there."""
    _internal_kv_put(_key(scope), json.dumps(options).encode(), overwrite=True, namespace=_NAMESPACE)


def recall(scope: str) -> dict[str, dict[str, Any]]:
    """What was kept; nothing if nothing was."""
    found: dict[str, dict[str, Any]] = json.loads(_internal_kv_get(_key(scope), namespace=_NAMESPACE) or b"{}")
    return found


def _key(scope: str) -> bytes:
    return f"storage_options:{scope}".encode()
