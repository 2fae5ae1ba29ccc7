"""The plugin that opens the backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from checkmaite_ray_simple.settings import RaySimpleOptions

if TYPE_CHECKING:
    from checkmaite_core.backend import JobBackend
    from checkmaite_core.preflight.site import Site
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["RaySimplePlugin", "plugin"]


class RaySimplePlugin:
    """What the entry point ``ray-simple`` names."""

    options = RaySimpleOptions

    def open(self, options: RaySimpleOptions, store: AnalyticsStoreConfig) -> JobBackend:
        """Connect, or start a local Ray.

        Raises:
            ClusterError: The cluster cannot be used.
            ConfigurationError: The runtime_env cannot work.
        """
        # Ray reads its environment variables when it is imported, so the environment comes first.
        from checkmaite_ray_simple import environment

        environment.prepare()
        from checkmaite_ray_simple.backend import RaySimpleBackend

        return RaySimpleBackend(options, store)

    @contextlib.contextmanager
    def site(self, options: RaySimpleOptions, store: AnalyticsStoreConfig) -> Iterator[Site]:
        """The cluster as a preflight sees it, without a backend: nothing is compared, and no actor started.

        Raises:
            ClusterError: The cluster cannot be used.
            ConfigurationError: The runtime_env cannot work.
        """
        from checkmaite_ray_simple import environment

        environment.prepare()
        from checkmaite_ray_simple import connection
        from checkmaite_ray_simple.overlay.lifetime import JobsOverlay
        from checkmaite_ray_simple.site import RaySite

        overlay = JobsOverlay(options.runtime_env, stores=[store.uri], policy=options.version_skew)
        connected = connection.acquire(options)
        try:
            yield RaySite.of_simple(connected, options, overlay.open())
        finally:
            overlay.close()
            connection.release(connected)


plugin: Any = RaySimplePlugin()
