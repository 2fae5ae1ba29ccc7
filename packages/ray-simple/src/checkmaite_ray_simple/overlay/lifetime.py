"""The overlay of a client's jobs, from the options to the end of the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from checkmaite_core.deployment import SkewPolicy
from checkmaite_ray_simple.overlay.keeping import OverlayKeeper
from checkmaite_ray_simple.overlay.masking import secrets_of
from checkmaite_ray_simple.overlay.reading import read_overlay
from checkmaite_ray_simple.overlay.tools import require_tools
from checkmaite_ray_simple.overlay.uploading import upload_overlay

__all__ = ["JobsOverlay"]


class JobsOverlay:
    """Reads an overlay before the cluster is touched, brings it there, and has it kept.

    Args:
        runtime_env: As the user gave it.
        stores: Where results and the history of jobs are kept; left out of what travels.
        policy: What to do about a pin that contradicts this client's environment, and about nodes that cannot make
            the environment that is asked for.

    Attributes:
        secrets: Values in it that must not be shown.

    Raises:
        ConfigurationError: It cannot work.
        VersionSkewError: A pin contradicts what client and workers must share.
    """

    def __init__(self, runtime_env: Mapping[str, Any], *, stores: Iterable[str], policy: SkewPolicy) -> None:
        self._read = read_overlay(runtime_env, stores=stores, version_skew=policy)
        self._policy = policy
        self._keeper = OverlayKeeper()
        self.secrets = secrets_of(runtime_env)

    def open(self) -> str:
        """Bring it to the cluster that this process is connected to.

        Returns:
            What a task's ``options(runtime_env=json.loads(...))`` takes, as JSON.

        Raises:
            ConfigurationError: A file has gone or changed meanwhile, or Ray does not take it.
            DeploymentError: A node lacks what it takes to make its environment.
        """
        require_tools(self._read, policy=self._policy)
        overlay = upload_overlay(self._read)
        self._keeper.keep(overlay)
        return overlay

    def close(self) -> None:
        """Have it kept no longer; jobs of others that need it keep it themselves."""
        self._keeper.close()
