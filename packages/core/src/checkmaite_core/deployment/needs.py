"""What a worker needs beside Ray and our packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["needed_for"]

_STORES = {"parquet": ("checkmaite-analytics-store", "checkmaite-storage", "pyarrow")}
_CONNECTORS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}


def needed_for(store: AnalyticsStoreConfig) -> tuple[str, ...]:
    """Distributions that a worker needs to write to an analytics store; none where the store is not one of ours.

    Args:
        store: Where the jobs' results go.
    """
    needed = _STORES.get(store.backend, ())
    scheme, separator, _ = store.uri.partition("://")
    return (*needed, _CONNECTORS[scheme]) if needed and separator and scheme in _CONNECTORS else needed
