"""Local paths in one spelling: absolute, without links, and as the disk has their names."""

from __future__ import annotations

import os
import unicodedata

from checkmaite_core.errors import ConfigurationError

__all__ = ["absolute_path", "resolved_path"]


def absolute_path(path: str) -> str:
    """``path`` from the root, without empty and ``.`` steps; ``..`` stays, as it may follow a link.

    Raises:
        ConfigurationError: ``~`` has no folder here, or the working directory is gone.
    """
    whole = os.path.expanduser(path)
    if whole.startswith("~"):
        raise ConfigurationError(
            f"{path.partition('/')[0]!r} stands for a home folder, and this process knows none.",
            hint="Write the whole path, or set HOME. A folder that is really called so is './~...'.",
        )
    if not os.path.isabs(whole):
        try:
            whole = os.path.join(os.getcwd(), whole)
        except FileNotFoundError:
            raise ConfigurationError(
                "the location is relative, and the working directory has been removed.", hint="Write the whole path."
            ) from None
    return "/" + "/".join(step for step in whole.split("/") if step not in ("", "."))


def resolved_path(path: str) -> str:
    """An absolute path without links and ``..``, as far as it exists; below that, as it is given.

    Where the file system takes several spellings of a name for one (upper and lower case, composed and decomposed
    letters), it is the one that the disk has.
    """
    # Like "/x", though POSIX lets a system tell "//x" apart.
    steps = os.path.realpath(path).lstrip("/").split("/")
    found = "/"
    for step in steps:
        found = os.path.join(found, _name_on_disk(found, step))
    return found


def _name_on_disk(folder: str, name: str) -> str:
    """How the disk spells ``name``. Folders are listed only where another spelling leads to the same entry."""
    whole = os.path.join(folder, name)
    others = {name.swapcase(), *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))} - {name}
    try:
        entry = os.lstat(whole)
        if not any(_is_entry(os.path.join(folder, other), entry) for other in others):
            return name
        names = os.listdir(folder)
    except (OSError, ValueError):  # absent, or closed to us: as it is given
        return name
    if name in names:
        return name
    folded = _folded(name)
    return next((each for each in sorted(names) if _folded(each) == folded), name)


def _is_entry(path: str, entry: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), entry)
    except (OSError, ValueError):
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
