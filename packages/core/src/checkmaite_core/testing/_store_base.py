"""What the groups of a result store's standard tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from checkmaite_core.record import Scalar
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._reading import rows_of
from checkmaite_core.testing._standard import StandardSuite

__all__ = ["StorePromises", "StoreTests"]


@dataclass(frozen=True, kw_only=True)
class StorePromises:
    """What a result store promises beyond the contract. A promise that is not made changes what is asserted.

    Attributes:
        has_sql: ``query`` answers SQL. Without it every query is refused, and ``rows(table)`` gives the rows.
        is_durable: What is committed outlives the process, and other processes see it.
    """

    has_sql: bool
    is_durable: bool


class StoreTests(StandardSuite):
    """Fixtures and helpers; the tests are in the groups that make up the suite."""

    promises: ClassVar[StorePromises]
    """What the store promises; set it."""

    @pytest.fixture
    def store_config(self) -> AnalyticsStoreConfig:
        """A fresh location; override it."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a fixture store_config")

    @pytest.fixture
    def store(self, store_config: AnalyticsStoreConfig) -> Iterator[ResultStore]:
        """A store at a fresh location."""
        opened = open_result_store(store_config)
        yield opened
        opened.close()

    @staticmethod
    def column(store: ResultStore, table: str, column: str) -> list[Scalar]:
        """The values of a column, sorted by their text."""
        return sorted((row[column] for row in rows_of(store, table)), key=repr)

    @staticmethod
    def events(store: ResultStore) -> list[Scalar]:
        """The event of each entry in ``runs``, sorted."""
        return sorted((row["event_id"] for row in rows_of(store, "runs")), key=repr)
