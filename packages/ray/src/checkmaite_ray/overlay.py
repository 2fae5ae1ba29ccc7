"""Overlays: the ``runtime_env`` of a client's jobs, made fit to travel with each job, and its packages kept alive.

An overlay belongs to jobs, not to the connection: registry and controllers start without one and give each job's Ray
task its own. Ray merges a task's ``runtime_env`` into that of whoever launches it, so that only a launcher without
one can launch with exactly this: see :func:`require_no_overlay`.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.path_utils import is_path
from ray.runtime_env import RuntimeEnv

from checkmaite_core.errors import ClusterMismatchError, ConfigurationError
from checkmaite_ray import _packages
from checkmaite_ray._packages import fetch as package_bytes
from checkmaite_ray._packages import put as put_package

__all__ = [
    "OverlayKeeper",
    "package_bytes",
    "packages_of",
    "prepare_overlay",
    "put_package",
    "require_no_overlay",
]

_HOLD = 3600
"""Seconds for which the cluster is told to keep packages, again and again."""
_ADVICE = "See the environment dependencies chapter of Ray's handbook for what runtime_env may hold."


def prepare_overlay(runtime_env: Mapping[str, Any]) -> str:
    """Make a ``runtime_env`` independent of this machine: read the files it names and upload the folders.

    It needs a connection to the cluster, direct or over ``ray://``. The packages stay for an hour; have an
    :class:`OverlayKeeper` keep them.

    Args:
        runtime_env: As the user gave it.

    Returns:
        What a task's ``options(runtime_env=json.loads(...))`` takes, as JSON; equal for equal content.

    Raises:
        ConfigurationError: It cannot work: an unknown field, a file that is missing, a folder that is too large.
    """
    given: dict[str, Any] = {
        key: str(value) if isinstance(value, Path) else value for key, value in runtime_env.items()
    }
    _require_known(given)
    excludes, hook = given.pop("excludes", None) or [], given.pop("worker_process_setup_hook", None)
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
        raise ConfigurationError(f"runtime_env cannot work: {error}", hint=_ADVICE) from error


def packages_of(overlay: str) -> tuple[str, ...]:
    """The URIs of the packages that an overlay needs and that lie in the cluster."""
    found = json.loads(overlay)
    uris = [found.get("working_dir"), *found.get("py_modules", ())]
    return tuple(dict.fromkeys(uri for uri in uris if uri is not None and uri.startswith("gcs://")))


def require_no_overlay() -> None:
    """Make sure that what this process starts inherits no ``runtime_env``, as a registry must not.

    Raises:
        ClusterMismatchError: Its connection has one: made by other code, or by ``ray job submit``.
    """
    found: Mapping[str, Any] = ray.get_runtime_context().runtime_env
    if found:
        advice = "Connect without it (ray.init without runtime_env, `ray job submit` without --runtime-env and "
        advice += "--working-dir) and give it to configure_job_backend(..., runtime_env={...}), or pass reinit=True."
        if "py_executable" in found:
            advice = "Ray makes it for what runs under `uv run`. Set RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 before "
            advice += "`ray start` on the head node (for ray:// addresses), or before this process starts."
        raise ClusterMismatchError(
            f"this process is connected to Ray with a runtime_env of its own ({', '.join(sorted(found))}), which the "
            "registry, its controllers and every job of every client would inherit.",
            hint=advice,
        )


class OverlayKeeper:
    """Has the cluster keep the packages of overlays for as long as they are needed.

    Ray deletes a package when the last job or pin that names it has gone, and tasks do not count. So each is pinned for
    a while, and again in time, by a thread that there is only while there is something to keep. A client keeps its own
    overlay while it is there; the registry keeps those of unfinished jobs. All calls block for milliseconds.

    Args:
        hold: Seconds for which packages stay when nothing keeps them any more, or when this process has died.
    """

    def __init__(self, *, hold: int = _HOLD) -> None:
        self._hold = hold
        self._needed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, overlay: str) -> tuple[str, ...]:
        """Count one more need of an overlay.

        Returns:
            The packages that the cluster does not have any more. They count as needed; :func:`put_package` them.
        """
        uris = packages_of(overlay)
        with self._lock:
            new = [uri for uri in uris if not self._needed[uri]]
            _packages.pin(new, self._hold)
            missing = tuple(uri for uri in new if not _packages.exists(uri))
            self._needed.update(uris)
            if uris and self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._renew, name="checkmaite-overlays", daemon=True)
                self._thread.start()
        return missing

    def drop(self, overlay: str) -> None:
        """Count one need less; to be called once for each :meth:`keep`."""
        with self._lock:
            self._needed.subtract(packages_of(overlay))
            self._needed = +self._needed
            if not self._needed:
                self._changed.set()

    def restore(self, overlays: Iterable[str]) -> tuple[str, ...]:
        """Keep overlays, one for each job that needs it, after a restart.

        Returns:
            The packages that the cluster does not have any more.
        """
        return tuple(dict.fromkeys(uri for overlay in overlays for uri in self.keep(overlay)))

    def close(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._needed.clear()
            self._changed.set()

    def _renew(self) -> None:
        pause = self._hold / 3
        while True:
            self._changed.wait(pause)
            with self._lock:
                if not self._needed:
                    self._thread = None
                    return
                self._changed.clear()
                uris = list(self._needed)
            try:
                _packages.pin(uris, self._hold)
                pause = self._hold / 3
            except Exception:  # the cluster is away for the moment, or for good; the last pin lasts twice as long yet
                pause = self._hold / 12


def _require_known(given: Mapping[str, Any]) -> None:
    known = {*RuntimeEnv.known_fields, "nsight", "rocprof_sys"}
    unknown = sorted(set(given) - known)
    if unknown and not os.environ.get("RAY_RUNTIME_ENV_PLUGINS"):
        raise ConfigurationError(
            f"runtime_env has no field {', '.join(map(repr, unknown))}.",
            hint=f"It has {', '.join(sorted(name for name in known if not name.startswith('_')))}.",
        )
    variables = given.get("env_vars") or {}
    # Before Ray does it, whose message shows the value.
    wrong = [name for name, value in variables.items() if not isinstance(value, str)] if variables else []
    if wrong:
        raise ConfigurationError(
            f"runtime_env: env_vars wants text, and {', '.join(map(repr, wrong))} is none.",
            hint="Put it in quotes, such as {'OMP_NUM_THREADS': '1'}.",
        )


def _uploaded(text: str, excludes: list[str], *, module: bool) -> str:
    """A folder, file or archive as a package in the cluster; a URI as it is."""
    if not is_path(text):
        return text
    path, gitignore = Path(text).absolute(), os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    field = "py_modules" if module else "working_dir"
    if path.is_dir():
        left_out = excludes if module else [*ray_constants.get_runtime_env_default_excludes(), *excludes]
        uri, data = _packages.pack(path, keep_name=module, gitignore=gitignore, excludes=left_out)
    elif module and path.suffix == ".py" and path.is_file():
        uri, data = _packages.pack(path, keep_name=False, gitignore=False, excludes=())
    elif module and path.suffix == ".whl" and path.is_file():
        uri, data = _packages.wheel(path)
    else:
        raise ConfigurationError(
            f"runtime_env: {field} names {text!r}, which is {'of no use' if path.exists() else 'not there'} ({path}).",
            hint=f"It takes {'a folder, a .py file, a .whl file' if module else 'a folder'} or the URI of an archive.",
        )
    _packages.pin([uri], _HOLD)
    if not _packages.exists(uri):
        put_package(uri, data)
    return uri


def _add_hook(found: RuntimeEnv, hook: Any) -> None:
    """Ray knows a hook for a whole job only, and hands it to the workers in a variable; so can we, for a task."""
    if not isinstance(hook, str):
        raise TypeError("worker_process_setup_hook must be the name of a function here, 'module.function'")
    variables: dict[str, str] = dict(found).get("env_vars", {})
    found["env_vars"] = {**variables, ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR: hook}
