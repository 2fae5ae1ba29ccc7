"""Probes: what a worker proves with one, and what a probe must not do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import AccessDeniedError, ConditionalPutError, CorruptObjectError, StoreFormatError
from checkmaite_core.naming import new_probe_token
from checkmaite_storage import LocalObjectStore

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def server(faulty: ModuleType, root: Path) -> Any:
    return faulty.Server(root)


def test_a_probe_founds_no_store_and_leaves_one_object(root: Path) -> None:
    token = new_probe_token()
    AnalyticsStore(root).probe(token)
    assert [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()] == [f"probes/{token}"]


def test_looking_for_a_probe_writes_nothing(root: Path) -> None:
    store = AnalyticsStore(root)
    assert not store.has_probe(new_probe_token())
    store.remove_probe(new_probe_token())
    assert not root.exists()


def test_a_probe_finds_that_something_else_lies_at_the_location(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "thesis.tex").write_text("")
    with pytest.raises(StoreFormatError, match=r"thesis\.tex"):
        AnalyticsStore(root).probe(new_probe_token())
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_a_probe_finds_a_location_that_does_not_honour_put_if_absent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(objects: LocalObjectStore, key: str, data: bytes) -> None:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(LocalObjectStore, "put_if_absent", overwrite)
    with pytest.raises(ConditionalPutError):
        AnalyticsStore(root).probe(new_probe_token())


def test_a_worker_that_may_not_delete_can_leave_a_probe(server: Any) -> None:
    worker, objects = server.open()
    objects.may_delete = False
    token = new_probe_token()
    worker.probe(token)
    assert server.store().has_probe(token)


def test_that_a_location_may_not_be_read_is_not_taken_for_an_absent_probe(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(objects: LocalObjectStore, key: str) -> bytes:
        raise AccessDeniedError(f"{key} may not be read.", hint="none", uri=key)

    monkeypatch.setattr(LocalObjectStore, "get", denied)
    with pytest.raises(AccessDeniedError):
        AnalyticsStore(root).has_probe(new_probe_token())


def test_other_bytes_under_the_token_are_no_probe(root: Path) -> None:
    store, token = AnalyticsStore(root), new_probe_token()
    (root / "probes").mkdir(parents=True)
    (root / "probes" / token).write_bytes(b"other")
    assert not store.has_probe(token)
    with pytest.raises(CorruptObjectError, match=token):
        store.probe(token)
