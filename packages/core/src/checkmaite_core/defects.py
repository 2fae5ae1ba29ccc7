"""Unexpected exceptions of checkmaite's own code, as an error that says whose fault they are.

An exception that is not a :class:`~checkmaite_core.errors.CheckmaiteError` was foreseen by nobody. Where code of ours
has to go on after one - in a worker, a thread, an actor, a command - it must not be told as the user's mistake, nor as
a missing installation: :func:`explained` makes a :class:`~checkmaite_core.errors.DefectError` of it.
"""

from __future__ import annotations

import platform
import sys
import traceback
from collections.abc import Iterator
from importlib import metadata
from types import FrameType, TracebackType

from checkmaite_core.errors import CheckmaiteError, DefectError, DeploymentError

__all__ = ["defect_of", "explained", "raised_by_us", "versions"]

_OURS = "checkmaite_"
_USERS = ("checkmaite_core.testing", "checkmaite_capabilities")
"""Below our names, but they are a capability's code, or stand for it."""
_LIBRARIES = frozenset({"pydantic", "pydantic_core"})
"""What our code calls that may raise on its behalf, beside the standard library."""
_SHORT = 500


def explained(error: BaseException, doing: str, *, owner: str = "") -> CheckmaiteError:
    """``error`` itself if it is one of ours, which says what to do; else the defect that it shows.

    Only what cannot be imported is no defect, but an installation that is not whole.

    Args:
        error: What was raised.
        doing: What was being done, as the end of a sentence: ``"comparing the environments"``.
        owner: Whose code raised it, if that is known: the distribution or package of a plugin.
    """
    if isinstance(error, CheckmaiteError):
        return error
    if isinstance(error, ImportError):
        incomplete = DeploymentError(
            f"{error.name or 'a module'} cannot be imported, which was needed while {doing}: {error}",
            hint="Install what is missing, from the lock of the deployment; `python -m pip check` may name more.",
        )
        incomplete.__cause__ = error
        return incomplete
    return defect_of(
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        doing,
        owner=owner,
        where=_where(error),
        trace="".join(traceback.format_exception(error)),
        cause=error,
    )


def defect_of(
    what: str, doing: str, *, owner: str = "", where: str = "", trace: str = "", cause: BaseException | None = None
) -> DefectError:
    """The defect that an exception shows, also one of another process.

    Args:
        what: The exception: its class and its text.
        doing: As for :func:`explained`.
        owner: As for :func:`explained`.
        where: The line of ours that it came from or through.
        trace: Its traceback.
        cause: The exception itself, where it was raised in this process.
    """
    owner = owner or "checkmaite"
    shown = what if len(what) <= _SHORT else f"{what[:_SHORT]} [...]"
    found = DefectError(
        f"unexpected exception in {owner} while {doing}: {shown}{f' (at {where})' if where else ''}",
        hint=f"This is a defect of {owner}, not of your code or your installation. Please report it to those who "
        f"maintain it, with the traceback and these versions: {versions()}.",
        traceback=trace,
    )
    found.__cause__ = cause
    return found


def raised_by_us(error: BaseException) -> bool:
    """Whether an exception that came out of a call into the user's code was raised without any code of the user's.

    Only where that is certain: a ``TypeError`` or ``AttributeError`` in our own line is as a rule about what the user's
    object is, and so is what any other package raises, or what an import of ours does not find.
    """
    if isinstance(error, CheckmaiteError | TypeError | AttributeError | ImportError | MemoryError):
        return False
    names = [frame.f_globals.get("__name__", "") for frame in _frames(error.__traceback__)]
    return isinstance(error, Exception) and any(name.startswith(_OURS) for name in names) and all(map(_is_ours, names))


def versions() -> str:
    """What a report of a defect needs to say about this process."""
    found = [f"{name} {version}" for name in ("checkmaite-core", *_loaded()) if (version := _version(name))]
    return ", ".join([*found, f"Python {platform.python_version()}", f"{platform.system()} {platform.machine()}"])


def _loaded() -> list[str]:
    names = {name.partition(".")[0] for name in list(sys.modules) if name.startswith(_OURS)} - {"checkmaite_core"}
    return [*sorted(name.replace("_", "-") for name in names), *(["ray"] if "ray" in sys.modules else [])]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _where(error: BaseException) -> str:
    """The innermost line of ours that the exception came through; the innermost of all if there is none."""
    frames = list(_frames_and_lines(error.__traceback__))
    ours = [one for one in frames if str(one[0].f_globals.get("__name__", "")).startswith(_OURS)]
    if not frames:
        return ""
    frame, line = (ours or frames)[-1]
    return f"{frame.f_globals.get('__name__', frame.f_code.co_filename)}:{line}, in {frame.f_code.co_name}"


def _is_ours(module: str) -> bool:
    if any(module == name or module.startswith(f"{name}.") for name in _USERS):
        return False
    top = module.partition(".")[0]
    return top.startswith(_OURS) or top in _LIBRARIES or top in sys.stdlib_module_names


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    return (frame for frame, _ in _frames_and_lines(trace))


def _frames_and_lines(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
