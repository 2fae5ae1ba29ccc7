"""What the user's code really imports and reads while a job runs, compared with what its run key covers.

Imports are seen where they are asked for, so that they are seen too where this process has the module already. Files
are seen by an audit hook. Both are attributed to the module that asks: what a job before this one made a module
import or read is in this process still.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from checkmaite_core.code.data import data_digest
from checkmaite_core.code.graph import Look, is_first_party
from checkmaite_core.code.loaded import remember_loaded
from checkmaite_core.code.walk import FRAMEWORK

__all__ = ["UseRecorder", "Used"]

_CODE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
_MOST = 100_000
_SHOWN = 3
_DEEPEST_FRAME = 60


@dataclass(slots=True)
class _Process:
    """What this process has seen of all its jobs: who imported whom, who read and wrote what."""

    imports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    reads: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    written: set[str] = field(default_factory=set)
    folders: tuple[str, ...] = ()
    users: int = 0
    hooked: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    first_party: dict[str, bool] = field(default_factory=dict)


_process = _Process()
_own_business = threading.local()
"""Of a thread that looks at files for us."""


class UseRecorder:
    """Records what a job uses, in the blocks where the user's code runs.

    Args:
        modules: Those that its run key covers.
        files: The digests of the data files that it covers.
        left_out: Folders and files that count otherwise, such as the store.
    """

    def __init__(self, modules: Collection[str], files: Collection[str], *, left_out: Iterable[str] = ()) -> None:
        self._modules, self._files = set(modules), set(files)
        self._left_out = [os.path.realpath(path) for path in left_out]
        self._askers: set[str] = set()
        self._look = Look()

    def leave_out(self, paths: Iterable[str]) -> None:
        """Files that count otherwise as well, such as an input's."""
        self._left_out += [os.path.realpath(path) for path in paths]

    @contextmanager
    def during(self) -> Iterator[None]:
        """The user's code runs within the block."""
        _begin(_folders(self._modules, self._look), self._askers)
        try:
            yield
        finally:
            _end(self._askers)

    def used(self) -> Used:
        """What was used so far."""
        _own_business.busy = True
        try:
            return self._used()
        finally:
            _own_business.busy = False

    def _used(self) -> Used:
        look, covered = self._look, self._modules
        askers = _all_askers(self._askers | covered)
        imported = {name for asker in askers for name in list(_process.imports.get(asker, ()))}
        modules = sorted(name for name in imported if name in covered or _is_first_party(name))
        remember_loaded({name for name in modules if name in sys.modules}, look)
        reads = {
            path: digest
            for asker in askers
            for path, digest in list(_process.reads.get(asker, {}).items())
            if not self._is_left_out(path)
        }
        more = [name for name in modules if name not in covered and _has_code(name, look)]
        known = _origins([*covered, *more], look) | _files_of_others()
        unknown = [
            path
            for path, digest in sorted(reads.items())
            if (_source(path) not in known if path.endswith(_CODE_SUFFIXES) else digest not in self._files)
        ]
        files = [_short(path) for path in sorted(reads) if not path.endswith(_CODE_SUFFIXES)]
        return Used(tuple(modules), tuple(files), _words(more, unknown))

    def _is_left_out(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == each or real.startswith(os.path.join(each, "")) for each in self._left_out)


@dataclass(frozen=True, slots=True)
class Used:
    """What a job used.

    Attributes:
        modules: First-party modules that it imported, or that those it can reach have imported in this process.
        files: Data files in the folders of first-party code that it read, likewise.
        uncertain: Why its run key does not cover that, in plain words; None if it does.
    """

    modules: tuple[str, ...]
    files: tuple[str, ...]
    uncertain: str | None


def _origins(names: Iterable[str], look: Look) -> set[str]:
    found = (look.find(name) for name in names)
    return {os.path.realpath(each.origin) for each in found if each is not None and each.origin is not None}


def _files_of_others() -> set[str]:
    """Files of loaded modules that are not first-party: of the framework, where that lies among the user's code."""
    files = set()
    for name, module in list(sys.modules.items()):
        if name != "__main__" and not _is_first_party(name):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                files.add(os.path.realpath(file))
    return files


def _folders(modules: Collection[str], look: Look) -> tuple[str, ...]:
    """The folders of first-party code, as beginnings of paths."""
    found = set()
    for name in modules:
        module = look.find(name)
        if module is not None and module.origin is not None:
            above = module.origin
            for _ in range(name.count(".") + 1 + module.is_package):
                above = os.path.dirname(above)
            found.add(above)
    with suppress(FileNotFoundError):
        found.add(os.getcwd())
    return tuple(sorted(os.path.join(folder, "") for folder in found if folder != os.sep))


_active: list[set[str]] = []
"""For each job that runs: the modules that asked for something since it began."""


def _begin(folders: tuple[str, ...], mine: set[str]) -> None:
    with _process.lock:
        _process.folders = tuple({*_process.folders, *folders}) if _active else folders
        _active.append(mine)
        if not _process.hooked:
            _process.hooked = True
            sys.addaudithook(_heard)
        if len(_active) == 1:
            _Originals.builtin, _Originals.by_text = builtins.__import__, _bootstrap._gcd_import
            builtins.__import__ = _imported
            _bootstrap._gcd_import = _imported_by_text


def _end(mine: set[str]) -> None:
    with _process.lock:
        _active[:] = [each for each in _active if each is not mine]
        if not _active:
            # Unless somebody else has put theirs over ours, which then goes on to ours: it records nothing any more.
            if builtins.__import__ is _imported:
                builtins.__import__ = _Originals.builtin
            if _bootstrap._gcd_import is _imported_by_text:
                _bootstrap._gcd_import = _Originals.by_text


_DEFAULTS: tuple[Any, ...] = (None, None, (), 0)


_bootstrap: Any = vars(importlib)["_bootstrap"]
"""``import_module`` goes through it, by whatever name somebody has taken that."""


class _Originals:
    builtin: Callable[..., Any] = builtins.__import__
    by_text: Callable[..., Any] = _bootstrap._gcd_import


def _imported(name: str, *given: Any, **named: Any) -> Any:
    module = _Originals.builtin(name, *given, **named)
    if _active:
        scope, _, fromlist, level = (*given, *_DEFAULTS[len(given) :])
        scope, fromlist, level = (
            named.get("globals", scope),
            named.get("fromlist", fromlist),
            named.get("level", level),
        )
        importer = scope.get("__name__", "") if isinstance(scope, dict) else ""
        base = name
        if level:
            package = (scope or {}).get("__package__") or importer.rpartition(".")[0]
            parts = package.rsplit(".", level - 1)
            base = f"{parts[0]}.{name}" if name else parts[0]
        _note(importer, base)
        for each in fromlist or ():
            if isinstance(each, str) and f"{base}.{each}" in sys.modules:
                _note(importer, f"{base}.{each}")
    return module


def _imported_by_text(name: str, package: Any = None, level: int = 0) -> Any:
    module = _Originals.by_text(name, package, level)
    if _active:
        _note(_asker(), getattr(module, "__name__", name))
    return module


def _note(importer: str, name: str) -> None:
    top = name.partition(".")[0]
    if top in FRAMEWORK or (top in sys.stdlib_module_names and top == name):
        return
    known = _process.imports[importer]
    if name not in known and len(known) < _MOST:
        known.add(name)
    for each in _active:
        each.add(importer)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook; it stays for as long as the process lives."""
    if not _active or event not in ("open", "sqlite3.connect", "ctypes.dlopen", "subprocess.Popen"):
        return
    if getattr(_own_business, "busy", False):
        return
    try:
        _own_business.busy = True
        if event == "open":
            path, mode, flags = (*arguments, None, 0)[:3]
            _opened(path, mode, flags)
        elif event == "subprocess.Popen":
            for each in (arguments[0], *(arguments[1] if isinstance(arguments[1], list | tuple) else ())):
                _opened(each, "r", 0)
        else:
            _opened(arguments[0], "r", 0)
    except (OSError, ValueError, TypeError):
        pass  # a path that cannot be: whoever opens it is told
    finally:
        _own_business.busy = False


def _opened(path: Any, mode: Any, flags: Any) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a descriptor
    text = os.path.abspath(os.fsdecode(path))
    if not text.startswith(_process.folders) or _is_hidden(text):
        return
    if isinstance(mode, str) and mode[:1] in ("w", "x", "a"):
        _process.written.add(text)
        return
    if mode is None and isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY:
        _process.written.add(text)
        return
    asker = _asker()
    reads = _process.reads[asker]
    if text not in reads and len(reads) < _MOST and os.path.isfile(text) and text not in _process.written:
        # As it is now, before it is read: it may be edited while the job runs.
        reads[text] = "" if text.endswith(_CODE_SUFFIXES) else data_digest(text)
    for each in _active:
        each.add(asker)


def _is_hidden(path: str) -> bool:
    folder = next((each for each in _process.folders if path.startswith(each)), "")
    rest = path.removeprefix(folder)
    return rest.startswith(".") or f"{os.sep}." in rest or "site-packages" in rest or "dist-packages" in rest


def _asker() -> str:
    """The name of the innermost first-party module that is being run."""
    frame = sys._getframe(2)
    for _ in range(_DEEPEST_FRAME):
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and isinstance(name, str) and _is_first_party(name):
            return name
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "__main__"


def _is_first_party(name: str) -> bool:
    known = _process.first_party.get(name)
    if known is None:
        if name.partition(".")[0] in FRAMEWORK or name.partition(".")[0] in sys.stdlib_module_names:
            known = False
        else:
            # Of a module that is half imported as well.
            known = name == "__main__" or is_first_party(name)
        _process.first_party[name] = known
    return known


def _all_askers(names: set[str]) -> set[str]:
    """These modules, and those that they imported in any job of this process."""
    found, rest = set(names), list(names)
    while rest:
        for each in list(_process.imports.get(rest.pop(), ())):
            if each not in found and _is_first_party(each):
                found.add(each)
                rest.append(each)
    return found


def _has_code(name: str, look: Look) -> bool:
    found = look.find(name)
    return found is None or found.kind != "namespace"


def _source(path: str) -> str:
    if path.endswith(".pyc"):
        with suppress(ValueError, NotImplementedError):  # bytecode alone
            path = importlib.util.source_from_cache(path)
    return os.path.realpath(path)


def _words(modules: list[str], files: list[str]) -> str | None:
    parts = []
    if modules:
        parts.append(f"it imported {_listed(modules)}")
    if files:
        parts.append(f"it read {_listed([_short(path) for path in files])}")
    return f"{' and '.join(parts)}, which its run key does not cover" if parts else None


def _short(path: str) -> str:
    folder = max((each for each in _process.folders if path.startswith(each)), key=len, default="")
    return path.removeprefix(folder)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
