"""What this process tells Ray through the environment: where workers come from, what to print, the token."""

from __future__ import annotations

import contextlib
import os
import re
import sys

from checkmaite_ray_simple.tokens import make_token_file

__all__ = ["LOCAL_RAY", "mark_local", "prepare", "use_patience", "use_token"]

LOCAL_RAY = "CHECKMAITE_LOCAL_RAY"
"""Holds, in all processes of a local Ray, the number of the process that started it."""
_GROUPS = "RAY_process_group_cleanup_enabled"
_START_WAIT = "RAY_raylet_start_wait_time_s"
_START_WAIT_S = 120
_UV_RUN = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
_SKIP = "RAY_DEDUP_LOGS_SKIP_REGEX"
_HANDLED = "A worker died or was killed while executing a task|There are infinite retries remaining"


def prepare() -> None:
    """Set, before Ray is imported, what it reads then. What the user has set stays.

    - Workers keep their environment. Otherwise Ray rebuilds the driver's on every worker when ``uv run`` started the
      driver; but local workers run from the developer's environment as it is, and a cluster's from its image.
    - The ten lines that Ray prints for every worker that dies are left out, and its complaints about the status
      channel: a job's failure says it, and when a job is cancelled by force it is no error at all.
    """
    loaded = sys.modules
    if os.environ.setdefault(_UV_RUN, "0") == "0" and "ray._private.ray_constants" in loaded:
        # Ray has been imported already, and read the variable once. This is what ray.init looks at.
        loaded["ray._private.ray_constants"].RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # type: ignore[attr-defined]
    if os.environ.setdefault(_SKIP, _HANDLED) == _HANDLED and "ray._private.ray_logging" in loaded:
        loaded["ray._private.ray_logging"].stdout_deduplicator.skip_re = re.compile(_HANDLED)


def _reread_authentication() -> None:
    """Make Ray forget the token it has read, so that one set since then (in a notebook, say) counts."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # In this order, as in Ray's own tests: a thread that is still closing must not miss a token it believes in.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def use_token(*, find: bool, make: bool, file: str = "") -> contextlib.ExitStack:
    """Have Ray read its token anew, and turn token mode on where the user has not decided about it.

    Args:
        find: Where there is a token, turn the mode on.
        make: Where there is none, make one, in a file that only this user can read and that goes when the connection
            ends. Ray itself would write one to ``~/.ray/auth_token``, readable by everyone, and keep it.
        file: Use the token in this file, whatever the environment says: it is the cluster's.

    Returns:
        What puts the variables back; to be closed when the connection has ended.

    Raises:
        ConfigurationError: There is no place for a new token.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    undo = contextlib.ExitStack()
    if file:
        _set(undo, RAY_AUTH_TOKEN=None, RAY_AUTH_TOKEN_PATH=file, RAY_AUTH_MODE="token")
    _reread_authentication()
    if "RAY_AUTH_MODE" not in os.environ:
        found = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
        if not found and make:
            # By its path and not its text: Ray's processes inherit it, and tell it to others that may read the file.
            made = make_token_file()
            undo.callback(made.unlink, missing_ok=True)
            _set(undo, RAY_AUTH_TOKEN_PATH=str(made))
        if find if found else make:
            _set(undo, RAY_AUTH_MODE="token")
            _reread_authentication()
    return undo


def use_patience() -> contextlib.ExitStack:
    """Give the node of a Ray that is started now two minutes to come up, where the user has not said how long.

    Ray's own half minute is too short for a busy machine, or one whose disk is slow.

    Returns:
        What takes it back; to be closed once Ray has started.
    """
    undo = contextlib.ExitStack()
    if _START_WAIT not in os.environ:
        _set(undo, **{_START_WAIT: str(_START_WAIT_S)})
        _reread_authentication()  # with it Ray reads all of its settings anew
    return undo


def mark_local() -> contextlib.ExitStack:
    """Have the processes of a Ray that is started now know that it is this process's own, and ends with it.

    And have its node end what workers have started, when they die: not every version of Ray does that unasked.

    Returns:
        What takes the mark back; to be closed once Ray has started, for other children of this process are not meant.
    """
    undo = contextlib.ExitStack()
    _set(undo, **{LOCAL_RAY: str(os.getpid()), _GROUPS: os.environ.get(_GROUPS, "true")})
    return undo


def _set(undo: contextlib.ExitStack, **variables: str | None) -> None:
    """Set variables, or take them away, and remember what they were."""
    for name, value in variables.items():
        before = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
        undo.callback(_put_back, name, before)


def _put_back(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
