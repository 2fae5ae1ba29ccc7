"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checkmaite_core.testing import installed_plugins


@pytest.fixture(scope="session")
def fakes() -> Iterator[None]:
    """The thread backend and the store in memory, as installed plugins."""
    with installed_plugins():
        yield
