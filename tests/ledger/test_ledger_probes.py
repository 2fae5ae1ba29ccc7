"""Probes beside a ledger: what they prove, and that a registry's rights are enough for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from watched_store import WatchedStore

from checkmaite_core.errors import ConditionalPutError, ConfigurationError, ObjectExistsError, RunContractError
from checkmaite_core.naming import new_probe_token
from checkmaite_ledger import JobLedger, scopes
from checkmaite_ledger.probes import has_probe, leave_probe, remove_probe
from checkmaite_storage import LocalObjectStore


def test_a_probe_is_seen_where_it_was_left_until_it_is_removed(tmp_path: Path) -> None:
    objects, token = LocalObjectStore(tmp_path / "here"), new_probe_token()
    leave_probe(objects, "team-a", token)
    assert has_probe(LocalObjectStore(tmp_path / "here"), "team-a", token)
    assert not has_probe(objects, "team-b", token)
    assert not has_probe(LocalObjectStore(tmp_path / "elsewhere"), "team-a", token)
    for _ in range(2):
        remove_probe(objects, "team-a", token)
        assert not has_probe(objects, "team-a", token)


def test_a_probe_needs_rights_below_the_scope_alone_and_makes_no_history(tmp_path: Path) -> None:
    objects, token = WatchedStore(tmp_path), new_probe_token()
    leave_probe(objects, "team-a", token)
    assert scopes(str(tmp_path)) == []
    with pytest.raises(ConfigurationError, match="there is no scope"):
        JobLedger(str(tmp_path), "team-a").jobs()
    remove_probe(objects, "team-a", token)
    assert {method for method, _ in objects.calls} == {"put", "get", "list", "delete"}
    assert {key for _, key in objects.calls} == {f"jobs/team-a/probes/{token}"}


class Overwriting(LocalObjectStore):
    """What ignores the condition, as some emulators do."""

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.delete(key)
        super().put_if_absent(key, data)


class Forgetful(LocalObjectStore):
    """What refuses the second write, and has it all the same."""

    def put_if_absent(self, key: str, data: bytes) -> None:
        try:
            super().put_if_absent(key, data)
        except ObjectExistsError:
            self.delete(key)
            super().put_if_absent(key, data)
            raise


@pytest.mark.parametrize("kind", [Overwriting, Forgetful])
def test_a_location_that_does_not_honour_put_if_absent_is_found(tmp_path: Path, kind: type[LocalObjectStore]) -> None:
    with pytest.raises(ConditionalPutError, match="put-if-absent"):
        leave_probe(kind(tmp_path), "team-a", new_probe_token())


def test_a_probe_has_a_scope_and_a_token(tmp_path: Path) -> None:
    objects = LocalObjectStore(tmp_path)
    with pytest.raises(ConfigurationError):
        leave_probe(objects, "../team-a", new_probe_token())
    with pytest.raises(RunContractError):
        leave_probe(objects, "team-a", "../token")
