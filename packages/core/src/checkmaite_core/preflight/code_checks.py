"""Run by the worker: whether a job's code is there, is the client's, and can be unpickled."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from checkmaite_core._code_digest import code_of_module, files_of_module
from checkmaite_core.preflight.checks import Check, Mender, Section
from checkmaite_core.preflight.inquiry import ModuleFacts, WorkFacts
from checkmaite_core.preflight.libraries import Trouble, explain_import
from checkmaite_core.preflight.models import differences, fields_of_models, identity_of
from checkmaite_core.submission import Payload

__all__ = ["check_work"]

_SHOWN = 3


def check_work(facts: WorkFacts, payload: bytes, loads: Callable[[bytes], Any]) -> list[Check]:
    """Import and unpickle a job's code here, and compare it with the client's.

    Args:
        facts: The job, as the client sees it.
        payload: The pickled work.
        loads: Unpickles it.
    """
    failed = {module.name: error for module in facts.modules if (error := _import_error(module.name)) is not None}
    work, refused = _unpickled(payload, loads)
    if refused is not None:
        return [_unreadable(facts, failed, refused), *_codes(facts, failed)]
    if not isinstance(work, Payload):
        found = f"its payload holds a {type(work).__qualname__} there, not work for a capability"
        return [_red("code", facts.capability, Trouble(found, "image", "use one checkmaite-core on both sides"))]
    return [*_codes(facts, failed, travels=True), _agreement(facts, work), *_loaders(facts)]


def _import_error(name: str) -> BaseException | None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is what is to be reported
        return error
    return None


def _unpickled(payload: bytes, loads: Callable[[bytes], Any]) -> tuple[Any, BaseException | None]:
    try:
        return loads(payload), None
    except (Exception, SystemExit) as error:  # as above
        return None, error


def _unreadable(facts: WorkFacts, failed: dict[str, BaseException], refused: BaseException) -> Check:
    """One line for why the work cannot be unpickled: the import that fails says more than what comes of it."""
    for module in facts.modules:
        if module.name in failed:
            mender, remedy = _how_to_bring(module)
            trouble = explain_import(failed[module.name], f"module {module.name}", remedy=remedy, mender=mender)
            return _red("code", facts.capability, trouble)
    mender, remedy = _how_to_bring(facts.modules[0]) if facts.modules else ("image", "install it in the image")
    trouble = explain_import(refused, "the job's code", remedy=remedy, mender=mender)
    return _red("code", facts.capability, trouble)


def _how_to_bring(module: ModuleFacts) -> tuple[Mender, str]:
    if module.distribution is not None:
        return "image", f'install it in the image:\npip install "{module.distribution}"'
    top = module.name.partition(".")[0]
    if module.folder is None:
        return "image", f"install what brings {top} in the image, or send it with runtime_env (working_dir, py_modules)"
    if module.folder.endswith(".py"):
        overlay: dict[str, Any] = {"working_dir": module.folder.rpartition("/")[0] or "/"}
    else:
        overlay = {"py_modules": [module.folder]}
    return "client", f"send it with the jobs, or have it installed in the image:\nruntime_env={json.dumps(overlay)}"


def _codes(facts: WorkFacts, failed: dict[str, BaseException], *, travels: bool = False) -> Iterator[Check]:
    for module in facts.modules:
        if module.name not in failed:
            yield _compared(module)
        elif travels and module.name not in {loader.partition(":")[0] for loader in facts.loaders.values()}:
            found = "is not installed there; it travels with the jobs"
            yield Check(section="code", subject=module.name, level="ok", found=found)


def _compared(module: ModuleFacts) -> Check:
    here = code_of_module(module.name)
    theirs = None if module.files is None else files_of_module(module.name)
    place = _place(module.name)
    if here == module.code or (theirs is not None and theirs == module.files):
        found = "imported; its code is the same as here"
        if place and module.folder in (place, os.path.dirname(place)):
            found += ", from the same place"
        return Check(section="code", subject=module.name, level="ok", found=found)
    if here is None or module.code is None:
        found = "imported; its code cannot be compared, as it has no file on one side"
        return Check(section="code", subject=module.name, level="note", found=found)
    mender, remedy = _how_to_bring(module)
    places = f"{place or 'it'} there, {module.folder or 'another file'} here"
    changed, on_one_side = _differing(module.files or {}, theirs or {})
    if on_one_side and not changed:  # such as tests, that an installation leaves out
        found = f"imported; some of its files are on one side only ({_listed(on_one_side)}): {places}"
        return Check(section="code", subject=module.name, level="warning", found=found, mender=mender, remedy=remedy)
    what = f" in {_listed(changed)}" if changed else ""
    return _red("code", module.name, Trouble(f"its code is not the client's{what}: {places}", mender, remedy))


def _differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of files with another text, and of those that only one side has; none where one side is not known."""
    if not ours or not theirs:
        return [], []
    changed = [name for name in ours if theirs.get(name, ours[name]) != ours[name]]
    return changed, sorted(ours.keys() ^ theirs.keys())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")


def _place(name: str) -> str:
    return getattr(sys.modules.get(name.partition(".")[0]), "__file__", None) or ""


def _agreement(facts: WorkFacts, work: Payload) -> Check:
    """Whether the models that travel, or whose identity is stored, are the same on both sides."""
    found = differences(facts.models, fields_of_models(work.capability, work.config))
    if not found and facts.identity != identity_of(work.capability, work.config):
        found = ["a run of this config has another run_uid there"]
    if found:
        trouble = Trouble("; ".join(found), "image", "install the same version of its package in client and image")
        return _red("code", facts.capability, trouble)
    same = ["config, run and outputs"] if len(facts.models) > 1 else []
    same += ["run_uid"] if facts.identity is not None else []
    what = f"unpickled; its {' and '.join(same)} are the same as here" if same else "unpickled"
    return Check(section="code", subject=facts.capability, level="ok", found=what)


def _loaders(facts: WorkFacts) -> Iterator[Check]:
    for name, loader in facts.loaders.items():
        module, _, function = loader.partition(":")
        try:
            getattr(importlib.import_module(module), function)
        except (Exception, SystemExit) as error:  # as above
            known = next((each for each in facts.modules if each.name == module), ModuleFacts(name=module))
            mender, remedy = _how_to_bring(known)
            trouble = explain_import(error, f"module {module}", remedy=remedy, mender=mender)
            yield _red("inputs", f"loader {loader} of {name}", trouble)
        else:
            yield Check(section="inputs", subject=f"loader {loader} of {name}", level="ok", found="can be imported")


def _red(section: Section, subject: str, trouble: Trouble) -> Check:
    return Check(
        section=section,
        subject=subject,
        level="error",
        found=trouble.found,
        mender=trouble.mender,
        remedy=trouble.remedy,
    )
