"""The plugin that opens the backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from checkmaite_ray.settings import RayOptions

if TYPE_CHECKING:
    from checkmaite_core.backend import JobBackend
    from checkmaite_core.preflight.site import Site
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

    @contextlib.contextmanager
    def site(self, options: RayOptions, store: AnalyticsStoreConfig) -> Iterator[Site]:
        """The cluster as a preflight sees it, without a backend: no registry is joined or started.

        Raises:
            ClusterError: The cluster cannot be used.
            ConfigurationError: The runtime_env cannot work.
        """
        from checkmaite_ray_simple import environment

        environment.prepare()
        from checkmaite_ray.site import opened_site

        with opened_site(options, store) as opened:
            yield opened


plugin: Any = RayPlugin()
