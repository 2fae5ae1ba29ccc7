"""The stamp: which lock an environment was made from, written into the environment itself."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from checkmaite_core.errors import DeploymentError

__all__ = ["Stamp", "read_stamp", "write_stamp"]

_PLACE = Path("share", "checkmaite", "deployment.json")
_FORMAT = 1


class Stamp(BaseModel):
    """Says which lock an environment was made from.

    Attributes:
        format: Version of this file's format.
        digest: ``sha256:`` and the digest of the lock's bytes.
        lock: The lock's file name, for people.
    """

    model_config = ConfigDict(frozen=True)

    format: int = _FORMAT
    digest: str
    lock: str


def write_stamp(lock: Path, *, prefix: Path | None = None) -> Stamp:
    """Write the digest of a lock into an environment, so that client and worker can tell whether they share one.

    Args:
        lock: The file that the environment was made from, such as ``uv.lock`` or ``requirements.txt``. Client and
            image must be stamped with the same bytes.
        prefix: The environment's folder; this process's own (``sys.prefix``) if None.

    Raises:
        DeploymentError: The lock cannot be read, or the environment is not one or cannot be written to.
    """
    try:
        content = lock.read_bytes()
    except OSError as error:
        raise DeploymentError(
            f"the lock {lock} cannot be read: {error.strerror}.",
            hint="Pass the file that the environment was made from, such as --lock uv.lock.",
        ) from error
    folder = Path(sys.prefix) if prefix is None else prefix
    if not folder.is_dir():
        raise DeploymentError(
            f"there is no environment at {folder}: no such folder.",
            hint="Pass the folder of an environment, such as --prefix /opt/venv; or leave it out for the one that "
            "runs this command.",
        )
    stamp = Stamp(digest=f"sha256:{hashlib.sha256(content).hexdigest()}", lock=lock.name)
    place = folder / _PLACE
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f".{place.name}.{os.getpid()}")
        unfinished.write_text(stamp.model_dump_json(indent=2) + "\n", encoding="utf-8")
        unfinished.replace(place)
    except OSError as error:
        raise DeploymentError(
            f"the stamp {place} cannot be written: {error.strerror}.",
            hint="Stamp an environment as the user that owns it; in a Containerfile that is before USER.",
        ) from error
    return stamp


def read_stamp(prefix: Path | None = None) -> Stamp | None:
    """The stamp of an environment; None if it has none.

    Args:
        prefix: The environment's folder. If None, it is this process's own, and where that has no stamp, the one that
            it sees the packages of: an overlay with ``pip`` runs in an environment of its own, over the image's.

    Raises:
        DeploymentError: There is one, but it cannot be read.
    """
    for folder in _prefixes() if prefix is None else [prefix]:
        place = folder / _PLACE
        try:
            stamp = Stamp.model_validate_json(place.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a stamp"
            raise DeploymentError(
                f"the stamp {place} cannot be read: {reason}.",
                hint="Write it anew: python -m checkmaite_core.deployment stamp --lock FILE",
            ) from error
        if stamp.format > _FORMAT:
            raise DeploymentError(
                f"the stamp {place} has format {stamp.format}; this version of checkmaite-core reads format {_FORMAT}.",
                hint="Upgrade: pip install --upgrade checkmaite-core",
            )
        return stamp
    return None


def _prefixes() -> list[Path]:
    own = Path(sys.prefix)
    try:
        lines = (own / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [own]  # no virtual environment
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    over = settings.get("include-system-site-packages", "").lower() == "true"
    return [own, Path(sys.base_prefix)] if over else [own]
