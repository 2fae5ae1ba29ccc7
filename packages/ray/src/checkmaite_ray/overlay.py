"""Overlays belong to jobs, not to the connection: registry and controllers start without one.

They give each job's Ray task its own. Ray merges a task's ``runtime_env`` into that of whoever launches it, so that
only a launcher without one can launch with exactly this: see :func:`require_no_overlay`. How an overlay is checked,
packed and kept is the same as for ``ray-simple``, and is found in its package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from checkmaite_core.errors import ClusterMismatchError

__all__ = ["require_no_overlay"]


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
