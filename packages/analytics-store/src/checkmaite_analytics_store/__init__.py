"""Durable results of checkmaite runs: written once, kept as plain Parquet, asked in SQL."""

from __future__ import annotations

from checkmaite_analytics_store._findings import Finding, VerifyReport
from checkmaite_analytics_store._fold import FoldReport
from checkmaite_analytics_store._settings import QuarantinedObjectWarning, StoreSettings
from checkmaite_analytics_store._store import AnalyticsStore, ParquetStorePlugin
from checkmaite_analytics_store._vacuum import VacuumReport

__all__ = [
    "AnalyticsStore",
    "Finding",
    "FoldReport",
    "ParquetStorePlugin",
    "QuarantinedObjectWarning",
    "StoreSettings",
    "VacuumReport",
    "VerifyReport",
    "plugin",
]

plugin = ParquetStorePlugin()
"""What the entry point names."""
