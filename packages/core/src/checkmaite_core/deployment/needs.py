"""What a worker needs beside Ray and our packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkmaite_core.location import scheme_of

if TYPE_CHECKING:
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["needed_for"]

_STORES = {"parquet": ("checkmaite-analytics-store", "checkmaite-storage", "pyarrow")}
_CONNECTORS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


def needed_for(store: AnalyticsStoreConfig) -> tuple[str, ...]:
    """Distributions that a worker needs to write to an analytics store; none where the store is not one of ours.

    Args:
        store: Where the jobs' results go.
    """
    needed = _STORES.get(store.backend, ())
    connector = _CONNECTORS.get(scheme_of(store.uri))
    return (*needed, connector) if needed and connector else needed
