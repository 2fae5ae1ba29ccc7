"""An overlay read on the client: what can be found wrong without the cluster is found before that is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from ray._private import ray_constants
from ray._private.path_utils import is_path

from checkmaite_core.deployment import (
    Finding,
    Level,
    SkewPolicy,
    VersionSkewWarning,
    describe_environment,
    findings_table,
)
from checkmaite_core.errors import ConfigurationError, VersionSkewError
from checkmaite_core.notices import warn
from checkmaite_ray_simple.overlay import folders, requirements
from checkmaite_ray_simple.overlay.fields import OverlayWarning, check_fields
from checkmaite_ray_simple.overlay.masking import masked_text
from checkmaite_ray_simple.utf8 import require_utf8

__all__ = ["read_overlay"]

_FILES = ("-r", "--requirement", "-c", "--constraint")


def read_overlay(
    runtime_env: Mapping[str, Any], *, stores: Iterable[str] = (), version_skew: SkewPolicy = "error"
) -> dict[str, Any]:
    """Check a ``runtime_env``, and read the files that it names.

    Args:
        runtime_env: As the user gave it.
        stores: Where results and the history of jobs are kept; left out of what travels.
        version_skew: What to do about a pin that contradicts this client's environment.

    Returns:
        The same with absolute paths, requirements in place of requirements files, and ``excludes`` as a mapping from
        each folder that is to travel to what is left out of it.

    Raises:
        ConfigurationError: It cannot work.
        VersionSkewError: A pin contradicts what client and workers must share.

    Warns:
        OverlayWarning: It has something that belongs elsewhere, or a store lies in a folder that travels.
        VersionSkewWarning: A pin contradicts what should be the same.
    """
    given = check_fields(runtime_env)
    _check_packages(given, version_skew)
    excludes, places = given.pop("excludes", []), list(stores)
    left_out: dict[str, list[str]] = {}
    if "working_dir" in given:
        given["working_dir"] = _local("working_dir", given["working_dir"], excludes, places, left_out)
    if "py_modules" in given:
        given["py_modules"] = [_local("py_modules", one, excludes, places, left_out) for one in given["py_modules"]]
    if left_out:
        given["excludes"] = left_out
    return given


def _local(field: str, text: str, excludes: list[str], stores: list[str], left_out: dict[str, list[str]]) -> str:
    """A path made absolute, once it is known that it can travel; a URI as it is."""
    if not is_path(text):
        return text
    path = Path(text).expanduser().absolute()
    require_utf8(str(path), f"runtime_env[{field!r}]", "Move it to a folder whose path is UTF-8.")
    module = field == "py_modules"
    if path.is_dir():
        patterns = excludes if module else [*ray_constants.get_runtime_env_default_excludes(), *excludes]
        gitignore = folders.heed_gitignore()
        try:
            sizes = folders.measure(path, patterns, gitignore=gitignore)
            wanted = folders.without_stores(path, patterns, stores, sizes)
            if wanted != patterns:
                sizes = folders.measure(path, wanted, gitignore=gitignore)
        except OSError as error:
            raise ConfigurationError(
                f"runtime_env[{field!r}]: {path} cannot be read: {error}.",
                hint="Leave it out with runtime_env={..., 'excludes': [...]}, or make it readable.",
            ) from error
        folders.require_size(field, path, sizes)
        left_out[str(path)] = wanted
        return str(path)
    if path.is_file() and (path.suffix in (".py", ".whl") if module else path.suffix == ".zip"):
        folders.require_size(field, path, {path.name: path.stat().st_size})
        return str(path)
    raise ConfigurationError(
        f"runtime_env[{field!r}] names {text!r}, which is {'of no use' if path.exists() else 'not there'} ({path}).",
        hint=f"It takes {'a folder, a .py file, a .whl file' if module else 'a folder, a .zip file'} or the URI of an "
        "archive; a relative path starts from the folder that this process runs in.",
    )


def _check_packages(given: dict[str, Any], version_skew: SkewPolicy) -> None:
    found: list[Finding] = []
    client = describe_environment()
    for field in ("pip", "uv"):
        if field in given:
            value = given[field]
            packages = value["packages"] if isinstance(value, dict) else value
            lines = [line for one in _entries(packages) for line in _expanded(one, field, Path.cwd(), ())]
            given[field] = {**value, "packages": lines} if isinstance(value, dict) else lines
            found += _look_at(field, lines, client)
            if not lines:
                del given[field]
    if isinstance(given.get("conda"), dict):
        described = given["conda"]
        found += requirements.conda_skew(described, client)
        for entry in described.get("dependencies") or ():
            if isinstance(entry, dict):
                found += _look_at("conda", [str(line) for line in entry.get("pip") or ()], client)
    _refuse(found, version_skew)


def _look_at(field: str, lines: list[str], client: Any) -> list[Finding]:
    parsed: list[Requirement] = [one for line in lines if (one := requirements.parse(line, field)) is not None]
    for what, better in requirements.advice(field, parsed):
        warn(f"{what}\n  -> {better}", OverlayWarning, stacklevel=5)
    return requirements.skew(parsed, client)


def _entries(packages: str | list[str]) -> list[str]:
    """A requirements file is taken as a line that includes it."""
    return [f"-r {packages}"] if isinstance(packages, str) else packages


def _expanded(line: str, field: str, folder: Path, within: tuple[Path, ...]) -> Iterable[str]:
    """The logical lines that an entry stands for: nodes have no files of this machine."""
    option = next((name for name in _FILES if line.startswith((f"{name} ", f"{name}="))), None)
    if option is None and line.startswith(("-r", "-c")) and not line.startswith("--"):
        option = line[:2]
    if option is None:
        yield from requirements.logical_lines(line)
        return
    name = line[len(option) :].strip(" =")
    if "$" in name:  # filled in on the node
        yield line
        return
    if option in ("-c", "--constraint"):
        raise ConfigurationError(
            f"runtime_env[{field!r}] has {line!r}, a file of this machine, which nodes do not have.",
            hint="Put it into working_dir and write '-c ${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}/constraints.txt', or pin "
            "the versions in the list itself.",
        )
    path = Path(os.path.normpath(folder / Path(name).expanduser()))
    if path in within:
        raise ConfigurationError(
            f"runtime_env[{field!r}]: the requirements file {path} includes itself.", hint="Take that line out."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"runtime_env[{field!r}]: the requirements file {path} cannot be read: {error}.",
            hint="A text names a requirements file; single requirements stand in a list: ['name==1.2'].",
        ) from error
    for inner in requirements.logical_lines(text):
        yield from _expanded(inner, field, path.parent, (*within, path))


def _refuse(found: list[Finding], policy: SkewPolicy) -> None:
    if not found or policy == "ignore":
        return
    table = masked_text(findings_table(found, worker="runtime_env"))
    message = f"runtime_env would change what client and workers must share:\n{table}"
    if policy == "error" and any(item.level is Level.ERROR for item in found):
        raise VersionSkewError(
            message,
            hint="Nothing has been installed anywhere. Take the lines out, or install the client from the same lock.",
        )
    warn(message, VersionSkewWarning, stacklevel=5)
