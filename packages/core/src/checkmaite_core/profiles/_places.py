"""Where a profile file is looked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from checkmaite_core.errors import ConfigurationError

__all__ = ["FILE_NAME", "PLACES", "VARIABLE", "profile_files"]

FILE_NAME = "checkmaite.toml"
VARIABLE = "CHECKMAITE_CONFIG"
_SYSTEM = Path("/etc/checkmaite") / FILE_NAME
PLACES = (
    f"${VARIABLE}, ./{FILE_NAME} and the folders above, ~/.config/checkmaite/{FILE_NAME} "
    f"($XDG_CONFIG_HOME counts), {_SYSTEM}"
)


def profile_files(*, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Iterator[Path]:
    """The profile files that count here, nearest first; each is looked at when it is asked for.

    Args:
        environ: The environment; this process's if left out.
        folder: Where to begin; the current directory if left out.

    Raises:
        ConfigurationError: ``$CHECKMAITE_CONFIG`` names no file, or a file could have been put there by anybody.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(VARIABLE)
    if named:
        path = Path(os.path.expanduser(named)).absolute()
        if not os.path.isfile(path):
            raise ConfigurationError(
                f"${VARIABLE} is {named!r}, which is not a file.",
                hint=f"Set it to the path of a {FILE_NAME}, or unset it to look in the usual places.",
            )
        yield path
        return
    start = (folder or Path.cwd()).absolute()
    # Unlike pathlib's, these neither raise where a process has no home nor where a folder may not be looked into.
    home = Path(os.path.expanduser(environ.get("XDG_CONFIG_HOME") or "~/.config"))
    candidates = [
        *(above / FILE_NAME for above in (start, *start.parents)),
        *([home / "checkmaite" / FILE_NAME] if home.is_absolute() else []),
        _SYSTEM,
    ]
    for path in dict.fromkeys(candidates):
        if os.path.isfile(path):
            _refuse_if_anybody_wrote_it(path)
            yield path


def _refuse_if_anybody_wrote_it(path: Path) -> None:
    """A profile says where pickled work is sent to, so a stranger's file in ``/tmp`` must not be taken for ours."""
    if not hasattr(os, "geteuid"):
        return
    owner = path.stat().st_uid
    if path.parent.stat().st_mode & stat.S_IWOTH and owner not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path} belongs to another user (uid {owner}) and lies in a folder that everybody may write to.",
            hint=f"If you trust it, name it: export {VARIABLE}={path}",
        )
