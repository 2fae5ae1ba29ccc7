"""What this process's environment tells Ray: where workers' environments come from, and the token."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys

__all__ = ["keep_workers_in_their_environment", "private_token", "reread_authentication"]

_UV_RUN = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


def keep_workers_in_their_environment() -> None:
    """Stop Ray from rebuilding the driver's environment on every worker when ``uv run`` started it.

    Local workers run from the developer's environment as it is, and a cluster's from its image. Somebody who has
    set the variable has decided otherwise.
    """
    if _UV_RUN in os.environ:
        return
    os.environ[_UV_RUN] = "0"
    # The variable is read once, when Ray is imported; ray.init then looks at this constant.
    constants = sys.modules.get("ray._private.ray_constants")
    if constants is not None:
        constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # type: ignore[attr-defined]


def reread_authentication() -> None:
    """Make Ray forget the token it has read, so that one set since then (in a notebook, say) counts."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # In this order, as in Ray's own tests: a thread that is still closing must not miss a token it believes in.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def private_token() -> contextlib.ExitStack:
    """Guard a local Ray that is about to start by a token of its own, where the user has configured none.

    Ray would otherwise write one to ``~/.ray/auth_token``, readable by everyone, and keep it.

    Returns:
        What puts the variables back; to be closed when that Ray has ended.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    undo = contextlib.ExitStack()
    if "RAY_AUTH_MODE" not in os.environ:
        if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            undo.callback(os.environ.pop, "RAY_AUTH_TOKEN", None)
        os.environ["RAY_AUTH_MODE"] = "token"
        undo.callback(os.environ.pop, "RAY_AUTH_MODE", None)
        reread_authentication()
    return undo
