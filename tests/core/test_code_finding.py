"""Modules are found wherever the interpreter would find them, and nothing is imported for it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_core.code.finding import FoundModule, find_module
from checkmaite_core.deployment.code import code_of

POISON = "raise RuntimeError('finding must import nothing')\n"


@pytest.fixture
def on_path(tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path), *sys.path])
        importlib.invalidate_caches()
        before = set(sys.modules)
        yield tmp_path
        assert {name for name in set(sys.modules) - before if name.startswith(("fm_", "spaced"))} == set()


def _write(path: Path, text: str = POISON) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _found(name: str) -> FoundModule:
    found = find_module(name)
    assert found is not None
    return found


def test_regular_packages_and_flat_modules_are_found_without_importing_their_parents(on_path: Path) -> None:
    for name in ("fm_flat.py", "fm_reg/__init__.py", "fm_reg/sub/__init__.py", "fm_reg/sub/leaf.py"):
        _write(on_path / name)
    assert _found("fm_flat") == FoundModule("fm_flat", "source", str(on_path / "fm_flat.py"))
    package = _found("fm_reg.sub")
    assert (package.kind, package.locations) == ("source", (str(on_path / "fm_reg" / "sub"),))
    assert _found("fm_reg.sub.leaf").read() == POISON.encode()
    assert [find_module(name) for name in ("fm_none", "fm_reg.none", "fm_flat.x", "", ".", "a..b")] == [None] * 6


def test_namespace_packages_are_found_with_all_their_roots_at_any_depth(on_path: Path) -> None:
    second = on_path / "second"
    _write(on_path / "fm_space" / "deep" / "one.py")
    _write(second / "fm_space" / "deep" / "two.py")
    _write(second / "fm_space" / "regular" / "__init__.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(second)])
        space = _found("fm_space.deep")
        assert (space.kind, space.origin) == ("namespace", None)
        assert space.locations == (str(on_path / "fm_space" / "deep"), str(second / "fm_space" / "deep"))
        assert _found("fm_space.deep.one").origin == str(on_path / "fm_space" / "deep" / "one.py")
        assert _found("fm_space.deep.two").origin == str(second / "fm_space" / "deep" / "two.py")
        assert _found("fm_space.regular").kind == "source"
        # This raised a KeyError.
        assert code_of("fm_space.deep.two") is not None


def test_a_package_that_adds_folders_to_itself_is_found_whole(on_path: Path) -> None:
    second = on_path / "second"
    _write(on_path / "fm_ext" / "__init__.py", "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    _write(second / "fm_ext" / "more.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(second)])
        assert _found("fm_ext.more").origin == str(second / "fm_ext" / "more.py")


@pytest.mark.parametrize("name", ["fm.zip", "fm-1.0-py3-none-any.whl"])
def test_archives_on_the_path_are_looked_into_and_read_as_they_are_now(on_path: Path, name: str) -> None:
    archive = on_path / name
    for text in ("VALUE = 1\n", "VALUE = 22\n"):
        with zipfile.ZipFile(archive, "w") as into:
            into.writestr("fm_zip/__init__.py", "")
            into.writestr("fm_zip/sub/", "")  # as zip files have it that are made of folders
            into.writestr("fm_zip/sub/leaf.py", text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [str(archive), *sys.path])
            assert _found("fm_zip.sub").kind == "namespace"
            leaf = _found("fm_zip.sub.leaf")
            assert (leaf.kind, leaf.archive, leaf.read()) == ("source", str(archive), text.encode())
            stamp = leaf.stamp()
            assert stamp is not None
            assert stamp[0] == str(archive)


def test_bytecode_alone_and_extensions_are_found(on_path: Path) -> None:
    source = _write(on_path / "fm_byte.py", "VALUE = 1\n")
    py_compile.compile(str(source), cfile=str(on_path / "fm_byte.pyc"))
    source.unlink()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (on_path / f"fm_native{suffix}").write_bytes(b"\x7fELF")
    importlib.invalidate_caches()
    assert _found("fm_byte").kind == "bytecode"
    native = _found("fm_native")
    assert (native.kind, native.read()) == ("extension", b"\x7fELF")
    assert _found("sys").kind == "builtin"
    assert _found("json.decoder").kind == "source"


def test_what_a_foreign_finder_does_wrong_does_not_stop_the_search(on_path: Path) -> None:
    class Broken:
        def find_spec(self, *_: object) -> None:
            raise KeyError("parent")

    _write(on_path / "fm_after.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", [Broken(), object(), *sys.meta_path])
        assert _found("fm_after").kind == "source"


def test_a_module_made_by_hand_is_none_and_a_loaded_one_that_cannot_be_found_again_is_its_file(
    on_path: Path,
) -> None:
    file = _write(on_path / "elsewhere" / "fm_hand.py", "VALUE = 1\n")
    spec = importlib.util.spec_from_file_location("by_path", file)
    assert spec is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "by_path", importlib.util.module_from_spec(spec))
        patch.setitem(sys.modules, "by_hand", type(sys)("by_hand"))
        assert _found("by_path").origin == str(file)
        assert find_module("by_hand") is None


PROGRAM = "import json, sys\nfrom checkmaite_core.code.finding import find_module\n"


def _run(folder: Path, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, **variables},
    )
    return done.stdout.strip()


def test_main_is_the_script_the_module_or_nothing_at_all(tmp_path: Path) -> None:
    text = PROGRAM + "found = find_module('__main__')\nprint(found and [found.kind, found.origin])\n"
    _write(tmp_path / "pack" / "__main__.py", text)
    _write(tmp_path / "pack" / "__init__.py", "")
    _write(tmp_path / "script.py", text)
    assert _run(tmp_path, "script.py") == repr(["source", str(tmp_path / "script.py")])
    assert _run(tmp_path, "-m", "pack") == repr(["source", str(tmp_path / "pack" / "__main__.py")])
    assert _run(tmp_path, "-m", "pack.__main__") == repr(["source", str(tmp_path / "pack" / "__main__.py")])
    assert _run(tmp_path, "-c", text) == "None"


FINDER = """
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
MAPPING = {mapping!r}
NAMESPACES = {namespaces!r}
PLACEHOLDER = "__editable__.project.finder.__path_hook__"

class _EditableFinder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            init = MAPPING[name] + "/__init__.py"
            return spec_from_file_location(name, init, submodule_search_locations=[MAPPING[name]])
        parent = name.rpartition(".")[0]
        if parent in MAPPING:
            return PathFinder.find_spec(name, path=[MAPPING[parent]])
        return None

class _EditableNamespaceFinder:
    @classmethod
    def path_hook(cls, path):
        if path == PLACEHOLDER:
            return cls
        raise ImportError
    @classmethod
    def find_spec(cls, name, target=None):
        if name in NAMESPACES:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = NAMESPACES[name]
            return spec
        return None

sys.meta_path.append(_EditableFinder)
sys.path_hooks.append(_EditableNamespaceFinder.path_hook)
sys.path.append(PLACEHOLDER)
"""


def test_editable_finders_are_asked(tmp_path: Path) -> None:
    """As setuptools writes them for projects whose folders do not mirror their packages (PEP 660)."""
    _write(tmp_path / "src" / "code" / "__init__.py")
    _write(tmp_path / "src" / "code" / "leaf.py")
    _write(tmp_path / "src" / "code" / "inner" / "deep.py")
    _write(tmp_path / "spaced" / "part" / "leaf.py")
    program = FINDER.format(
        mapping={"renamed": str(tmp_path / "src" / "code")}, namespaces={"spaced": [str(tmp_path / "spaced")]}
    )
    program += PROGRAM + "print(json.dumps([(f := find_module(n)) and f.kind for n in sys.argv[1:]]))\n"
    names = ["renamed", "renamed.leaf", "renamed.inner", "renamed.inner.deep", "spaced", "spaced.part.leaf"]
    expected = ["source", "source", "namespace", "source", "namespace", "source"]
    assert json.loads(_run(tmp_path, "-c", program, *names, PYTHONPATH="")) == expected


def test_finding_agrees_with_the_import_system_for_all_that_is_installed() -> None:
    """Top-level modules of this environment, found by name: what the interpreter finds is what is found."""
    names = [name for name in ("ray", "numpy", "pydantic", "pyarrow", "pytest", "checkmaite_ray") if _has(name)]
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert _found(name).origin == spec.origin


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
