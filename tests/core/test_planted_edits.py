"""No edit of code that work can reach is missed by its run key, and few that change nothing make it run again."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from harmless_edits import HARMLESS
from planted_edits import CHANGING, Edit

from checkmaite_core import AnalyticsStoreConfig, DatasetRef
from checkmaite_core.identity import run_key
from checkmaite_core.submission import prepare_submission

STORE = AnalyticsStoreConfig(uri="/results")


def _write(folder: Path, files: Any) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


class Project:
    """A project's folder, and what a process says that imports its work."""

    def __init__(self, edit: Edit, folder: Path) -> None:
        self._edit, self._folder = edit, folder
        self._after = False
        _write(folder, edit.files)
        if edit.deed is not None:
            edit.deed(folder, False)

    def edit(self) -> None:
        self._after = True
        _write(self._folder, self._edit.after)
        if self._edit.deed is not None:
            self._edit.deed(self._folder, True)

    @contextmanager
    def imported(self) -> Iterator[dict[str, Any]]:
        """The work, as a process has it that starts now."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self._folder)
            patch.setattr(sys, "path", [*(str(self._folder / each) for each in self._edit.path), *sys.path])
            patch.setattr(sys, "dont_write_bytecode", True)  # its times are in seconds: an edit may come sooner
            importlib.invalidate_caches()
            before = dict(sys.modules)
            shadowed = sys.modules.pop("statistics", None)
            try:
                yield self._work(patch)
            finally:
                for name in sys.modules.keys() - before.keys():
                    del sys.modules[name]
                if shadowed is not None:
                    sys.modules["statistics"] = shadowed
                vars(__import__("builtins")).pop("planted", None)

    def _work(self, patch: pytest.MonkeyPatch) -> dict[str, Any]:
        if self._edit.notebook is None:
            return cast("dict[str, Any]", importlib.import_module("work").make())
        cells = types.ModuleType("__main__")
        patch.setitem(sys.modules, "__main__", cells)
        exec(compile(self._edit.notebook[self._after], "<cell>", "exec"), vars(cells))
        return cast("dict[str, Any]", vars(cells)["make"]())


def _key(work: dict[str, Any]) -> str | None:
    return run_key(prepare_submission(work, backend="test", store=STORE), overlay="{}").digest


def _number(work: dict[str, Any]) -> Any:
    inputs = {kind: [_loaded(each) for each in work.get(kind, ())] for kind in ("models", "datasets", "metrics")}
    return work["capability"].run(**inputs, config=work.get("config"), use_cache=False)


def _loaded(value: Any) -> Any:
    if not isinstance(value, DatasetRef):
        return value
    module, _, function = str(value.loader).partition(":")
    return getattr(importlib.import_module(module), function)(value.uri)


def _seen(project: Project) -> tuple[str | None, Any]:
    with project.imported() as work:
        return _key(work), _number(work)


@pytest.mark.parametrize("name", CHANGING)
def test_an_edit_that_changes_the_number_is_never_reused(name: str, tmp_path: Path) -> None:
    project = Project(CHANGING[name], tmp_path)
    before, number = _seen(project)
    with project.imported() as work:
        assert _key(work) == before, "equal work has another key"
        project.edit()
        if CHANGING[name].notebook is None:  # edited, and not loaded again: a worker would load what is on the disk
            assert _key(work) != before
    after, other = _seen(project)
    assert number != other, "the edit plants nothing"
    assert after != before


def test_most_planted_edits_are_told_apart_and_not_just_never_shared(tmp_path: Path) -> None:
    unsure = []
    for position, (name, edit) in enumerate(CHANGING.items()):
        (tmp_path / str(position)).mkdir()
        with Project(edit, tmp_path / str(position)).imported() as work:
            if _key(work) is None:
                unsure.append(name)
    assert unsure == []


def test_edits_that_change_nothing_make_little_run_again(tmp_path: Path) -> None:
    needless = []
    for position, (name, edit) in enumerate(HARMLESS.items()):
        (tmp_path / str(position)).mkdir()
        project = Project(edit, tmp_path / str(position))
        before, number = _seen(project)
        project.edit()
        after, same = _seen(project)
        assert number == same
        assert before is not None
        if before != after:
            needless.append(name)
    assert needless == []
