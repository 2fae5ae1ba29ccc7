"""The plugin that opens the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkmaite_ray.settings import RayOptions

if TYPE_CHECKING:
    from checkmaite_core.backend import JobBackend
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["RayPlugin", "plugin"]


class RayPlugin:
    """What the entry point ``ray`` names."""

    options = RayOptions

    def open(self, options: RayOptions, store: AnalyticsStoreConfig) -> JobBackend:
        """Connect, or start a local Ray, and find or start the scope's registry.

        Raises:
            ClusterError: The cluster cannot be used, or another one serves the scope.
            ConfigurationError: The runtime_env cannot work.
        """
        # Ray reads its environment variables when it is imported, so the environment comes first.
        from checkmaite_ray_simple import environment

        environment.prepare()
        from checkmaite_ray.backend import RayBackend

        return RayBackend(options, store)


plugin: Any = RayPlugin()
