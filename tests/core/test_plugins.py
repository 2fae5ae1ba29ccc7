"""Plugins are found among what is installed, and a broken one is its own problem: real distributions in folders."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_core.errors import PluginBrokenError, PluginNotFoundError
from checkmaite_core.plugins import JOB_BACKENDS, RESULT_STORES, STORAGE, available_plugins, load_plugin
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store
from checkmaite_core.testing import MEMORY_STORE, installed_plugins, write_distribution


@contextlib.contextmanager
def _on_the_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "good_plugin_of_a_test.py").write_text("value = 'good'\n")
    (tmp_path / "raising_plugin_of_a_test.py").write_text("raise RuntimeError('its own fault')\n")
    (tmp_path / "exiting_plugin_of_a_test.py").write_text("raise SystemExit('please install me')\n")
    points = {
        "good": "good_plugin_of_a_test:value",
        "raising": "raising_plugin_of_a_test:value",
        "exiting": "exiting_plugin_of_a_test:value",
        "absent": "no_such_module_anywhere:value",
        "hollow": "good_plugin_of_a_test:no_such_value",
        "malformed": "not an entry point!",
    }
    write_distribution(tmp_path, {JOB_BACKENDS.group: points}, name="acme-backends", version="4.2")
    with _on_the_path(tmp_path):
        yield tmp_path


@pytest.mark.usefixtures("installed")
def test_a_good_plugin_loads_although_others_are_broken() -> None:
    assert load_plugin(JOB_BACKENDS, "good") == "good"
    assert {"good", "raising", "absent"} <= set(available_plugins(JOB_BACKENDS))
    assert "good" not in available_plugins(RESULT_STORES)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words", "module"),
    [
        ("raising", "RuntimeError: its own fault", "raising_plugin_of_a_test"),
        ("exiting", "SystemExit: please install me", "exiting_plugin_of_a_test"),
        ("absent", "no_such_module_anywhere", "no_such_module_anywhere"),
        ("hollow", "no_such_value", "good_plugin_of_a_test"),
        ("malformed", "'malformed'", "not an entry point!"),
    ],
)
def test_a_broken_plugin_is_reported_with_its_distribution_and_what_to_try(name: str, words: str, module: str) -> None:
    with pytest.raises(PluginBrokenError) as caught:
        load_plugin(JOB_BACKENDS, name)
    assert words in caught.value.message
    assert "acme-backends 4.2" in caught.value.message
    assert f"import {module}" in caught.value.hint


@pytest.mark.parametrize(
    ("group", "name", "requirement"),
    [
        (JOB_BACKENDS, "ray", "checkmaite-ray"),
        (JOB_BACKENDS, "ray-simple", "checkmaite-ray-simple"),
        (RESULT_STORES, "parquet", "checkmaite-analytics-store"),
        (STORAGE, "s3", "checkmaite-storage[s3]"),
        (STORAGE, "gs", "checkmaite-storage[gcs]"),
        (STORAGE, "az", "checkmaite-storage[azure]"),
    ],
)
def test_a_missing_plugin_of_ours_is_named_with_what_brings_it(
    group: type, name: str, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkmaite_core.plugins.entry_points", lambda group: ())
    with pytest.raises(PluginNotFoundError) as caught:
        load_plugin(group, name)  # type: ignore[arg-type]
    assert caught.value.hint == f'Install it: pip install "{requirement}"'
    assert repr(name) in caught.value.message
    assert "found: none" in caught.value.message


@pytest.mark.usefixtures("installed")
def test_a_misspelt_name_gets_the_nearest_one() -> None:
    with pytest.raises(PluginNotFoundError) as caught:
        load_plugin(JOB_BACKENDS, "ray_simple")
    assert caught.value.hint == "Did you mean 'ray-simple'?"
    with pytest.raises(PluginNotFoundError) as caught:
        load_plugin(JOB_BACKENDS, "goood")
    assert caught.value.hint == "Did you mean 'good'?"
    with pytest.raises(PluginNotFoundError) as caught:
        load_plugin(JOB_BACKENDS, "qqqq")
    assert "ray, ray-simple" in caught.value.hint


def test_what_is_installed_after_the_first_look_is_found(tmp_path: Path) -> None:
    """As in a notebook: the error says what to install, and the next cell works."""
    config = AnalyticsStoreConfig(backend="late", uri="memory://late")
    with pytest.raises(PluginNotFoundError):
        open_result_store(config)
    write_distribution(tmp_path, {RESULT_STORES.group: {"late": "checkmaite_core.testing:MEMORY_STORE"}})
    with _on_the_path(tmp_path):
        assert open_result_store(config).uri == "memory://late"


def test_plugins_for_the_length_of_a_block_add_to_those_of_an_outer_one() -> None:
    with installed_plugins({RESULT_STORES.group: {"outer": "checkmaite_core.testing:MEMORY_STORE"}}):
        with installed_plugins({RESULT_STORES.group: {"inner": "checkmaite_core.testing:MEMORY_STORE"}}):
            assert {"outer", "inner"} <= set(available_plugins(RESULT_STORES))
        assert "inner" not in available_plugins(RESULT_STORES)
    assert "outer" not in available_plugins(RESULT_STORES)


def test_entry_points_that_cannot_be_read_spoil_nothing_else_and_are_named(tmp_path: Path) -> None:
    (info,) = write_distribution(tmp_path, {"x": {"y": "z"}}, name="damaged").iterdir()
    (info / "entry_points.txt").write_bytes(b"[checkmaite.result_stores]\nx = \xff:y\n")
    with installed_plugins(), _on_the_path(tmp_path):
        assert load_plugin(RESULT_STORES, "memory") is MEMORY_STORE
        assert "memory" in available_plugins(RESULT_STORES)
        with pytest.raises(PluginBrokenError, match="entry points of damaged cannot be read"):
            load_plugin(RESULT_STORES, "x")
