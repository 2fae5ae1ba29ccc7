"""An overlay made independent of this machine: its folders as packages in the cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray._private import ray_constants
from ray._private.path_utils import is_path
from ray.runtime_env import RuntimeEnv

from checkmaite_core.errors import ConfigurationError
from checkmaite_ray_simple.overlay import folders, packages
from checkmaite_ray_simple.overlay.masking import masked_text, secrets_of

__all__ = ["HOLD", "in_fresh_process", "in_overlay", "is_fresh", "packages_of", "upload_overlay"]

HOLD = 3600
"""Seconds for which the cluster is told to keep packages, again and again."""
_FRESH = "CHECKMAITE_FRESH_PROCESS"
"""A variable of such a process; Ray has a process of its own for each set of variables."""
_ADVICE = "See the environment dependencies chapter of Ray's handbook for what runtime_env may hold."


def upload_overlay(read: Mapping[str, Any]) -> str:
    """Upload what an overlay names. It needs a connection to the cluster, direct or over ``ray://``.

    The packages stay for an hour; have an :class:`~checkmaite_ray_simple.overlay.keeping.OverlayKeeper` keep them.

    Args:
        read: As :func:`~checkmaite_ray_simple.overlay.reading.read_overlay` returns it.

    Returns:
        What a task's ``options(runtime_env=json.loads(...))`` takes, as JSON; equal for equal content.

    Raises:
        ConfigurationError: A file has gone or changed meanwhile, or Ray does not take it.
    """
    given = dict(read)
    excludes: Mapping[str, list[str]] = given.pop("excludes", {})
    hook = given.pop("worker_process_setup_hook", None)
    try:
        found = RuntimeEnv(**given)
        if "working_dir" in found:
            found["working_dir"] = _uploaded(found["working_dir"], excludes, module=False)
        if "py_modules" in found:
            found["py_modules"] = [_uploaded(module, excludes, module=True) for module in found["py_modules"]]
        if hook is not None:
            _add_hook(found, hook)
        return json.dumps(json.loads(found.serialize()), sort_keys=True, separators=(",", ":"))
    except (OSError, TypeError, ValueError) as error:  # what Ray's own checks raise, and reading files
        said = masked_text(str(error), secrets_of(given))
        raise ConfigurationError(f"runtime_env cannot work: {said}", hint=_ADVICE) from None


def packages_of(overlay: str) -> tuple[str, ...]:
    """The URIs of the packages that an overlay needs and that lie in the cluster."""
    found = json.loads(overlay)
    uris = [found.get("working_dir"), *found.get("py_modules", ())]
    return tuple(dict.fromkeys(uri for uri in uris if uri is not None and uri.startswith("gcs://")))


def in_fresh_process(overlay: str, name: str = "always") -> str:
    """An overlay (JSON) whose jobs have a process each: what others left in theirs does not reach them.

    With a name of its own no worker process has it yet: a task then finds the code as it lies on the disk now.

    Args:
        overlay: The one that it is otherwise equal to.
        name: What tells it from others.
    """
    found = json.loads(overlay)
    found["env_vars"] = {**found.get("env_vars", {}), _FRESH: name}
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def is_fresh(overlay: str) -> bool:
    """Whether :func:`in_fresh_process` has made an overlay (JSON)."""
    return _FRESH in json.loads(overlay).get("env_vars", {})


def in_overlay(function: Any, overlay: str, **options: Any) -> Any:
    """A Ray function whose tasks run with an overlay (JSON), and with other options of Ray's."""
    return function.options(runtime_env=json.loads(overlay), **options)


def _uploaded(text: str, excludes: Mapping[str, list[str]], *, module: bool) -> str:
    if not is_path(text):
        return text
    path = Path(text)
    if path.is_dir():
        left_out = excludes.get(text, ())
        uri, data = packages.pack(path, keep_name=module, gitignore=folders.heed_gitignore(), excludes=left_out)
    elif path.suffix == ".whl":
        uri, data = packages.wheel(path)
    elif path.suffix == ".py":
        uri, data = packages.pack(path, keep_name=False, gitignore=False, excludes=())
    else:
        uri, data = packages.archive(path)
    packages.pin([uri], HOLD)
    if not packages.exists(uri):
        packages.put(uri, data)
    return uri


def _add_hook(found: RuntimeEnv, hook: str) -> None:
    """Ray knows a hook for a whole job only, and hands it to the workers in a variable; so can we, for a task."""
    variables: dict[str, str] = dict(found).get("env_vars", {})
    found["env_vars"] = {**variables, ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR: hook}
