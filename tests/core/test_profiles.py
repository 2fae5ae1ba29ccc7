"""Profiles: what a platform team hands out."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkmaite_core import ConfigurationError
from checkmaite_core.profiles import load_profile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CHECKMAITE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_a_profile_says_which_backend_with_which_options_and_which_store(folder: Path) -> None:
    (folder / "checkmaite.toml").write_text(
        """
[profiles.team-a-prod]
backend = "ray"
address = "ray://cluster-head:10001"
idempotency_scope = "team-a-prod-evals"

[profiles.team-a-prod.analytics_store]
uri = "s3://team-checkmaite/results"
"""
    )
    profile = load_profile("team-a-prod")
    assert profile.kind == "ray"
    assert profile.options == {"address": "ray://cluster-head:10001", "idempotency_scope": "team-a-prod-evals"}
    assert profile.analytics_store is not None
    assert profile.analytics_store.uri == "s3://team-checkmaite/results"
    assert profile.file == folder / "checkmaite.toml"


def test_an_unknown_profile_names_the_nearest_and_its_file(folder: Path) -> None:
    (folder / "checkmaite.toml").write_text('[profiles.team-a-prod]\nbackend = "ray"\n')
    with pytest.raises(ConfigurationError, match="there is no profile 'team-a-prd'") as caught:
        load_profile("team-a-prd")
    assert f"Did you mean 'team-a-prod' of {folder / 'checkmaite.toml'}?" in caught.value.hint
