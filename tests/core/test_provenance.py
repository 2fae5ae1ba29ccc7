"""Who ran what: what was configured comes before the environment, and is read at submission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from checkmaite_core import Provenance, configure_provenance
from checkmaite_core.errors import ConfigurationError
from checkmaite_core.provenance import resolve_provenance, utc_now

FIELDS = ["user_id", "workspace_id", "environment", "executor", "cluster_id", "request_id"]


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def clear() -> None:
        for field in FIELDS:
            monkeypatch.delenv(f"CHECKMAITE_PROVENANCE_{field.upper()}", raising=False)
        configure_provenance()

    clear()
    yield
    clear()


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_configured_comes_before_the_environment(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(resolve_provenance(), field) is None
    monkeypatch.setenv(f"CHECKMAITE_PROVENANCE_{field.upper()}", "from the environment")
    assert getattr(resolve_provenance(), field) == "from the environment"
    assert getattr(configure_provenance(**{field: "configured"}), field) == "configured"
    assert getattr(resolve_provenance(), field) == "configured"
    configure_provenance()  # each call replaces the one before
    assert getattr(resolve_provenance(), field) == "from the environment"
    monkeypatch.setenv(f"CHECKMAITE_PROVENANCE_{field.upper()}", "")
    assert getattr(resolve_provenance(), field) is None


@pytest.mark.parametrize("field", ["job_id", "backend", "submitted_at", "completed_at"])
def test_what_the_backend_sets_cannot_come_from_the_environment(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CHECKMAITE_PROVENANCE_{field.upper()}", "forged")
    assert getattr(resolve_provenance(), field) is None


def test_a_value_that_cannot_be_used_is_refused_and_the_good_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_provenance(user_id="ada")
    for bad in ("", "x" * 1025, 7):
        with pytest.raises(ConfigurationError, match="user_id"):
            configure_provenance(user_id=bad)  # type: ignore[arg-type]
    assert resolve_provenance().user_id == "ada"
    monkeypatch.setenv("CHECKMAITE_PROVENANCE_REQUEST_ID", "x" * 1025)
    with pytest.raises(ConfigurationError, match="request_id") as caught:
        resolve_provenance()
    assert "CHECKMAITE_PROVENANCE_REQUEST_ID" in caught.value.hint


def test_times_are_utc_and_a_time_without_zone_is_refused() -> None:
    local = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    provenance = Provenance(submitted_at=local)
    assert provenance.submitted_at == local
    assert json.loads(provenance.model_dump_json())["submitted_at"] == "2026-07-01T10:00:00Z"
    with pytest.raises(ValueError, match="time zone"):
        Provenance(submitted_at=datetime(2026, 7, 1))  # noqa: DTZ001 - that is what is refused
    assert utc_now().tzinfo is UTC
