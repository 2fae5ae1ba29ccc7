"""The cluster as a preflight of the ray backend sees it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from checkmaite_core.preflight.checks import Check
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_ray import joining
from checkmaite_ray.control_plane_check import ControlPlaneCheck
from checkmaite_ray.overlay import require_no_overlay
from checkmaite_ray.settings import LedgerConfig, RayOptions
from checkmaite_ray_simple import connection
from checkmaite_ray_simple.connection import Connection
from checkmaite_ray_simple.overlay.lifetime import JobsOverlay
from checkmaite_ray_simple.site import RaySite

__all__ = ["opened_site", "site_of"]


def site_of(connected: Connection, options: RayOptions, overlay: str) -> RaySite:
    """The connected cluster, with the overlay that jobs are given there.

    Args:
        connected: The connection.
        options: Of the backend.
        overlay: As :meth:`checkmaite_ray_simple.overlay.lifetime.JobsOverlay.open` has returned it.
    """

    def control_plane(store: AnalyticsStoreConfig, timeout: float) -> list[Check]:
        ledger = options.ledger or LedgerConfig(uri=store.uri, storage_options=store.storage_options)
        return ControlPlaneCheck(options, ledger).run(timeout)

    return RaySite(
        "ray",
        connected,
        runtime_env=options.runtime_env,
        overlay=json.loads(overlay),
        node_maxima=options.node_maxima,
        control_plane=control_plane,
    )


@contextlib.contextmanager
def opened_site(options: RayOptions, store: AnalyticsStoreConfig) -> Iterator[RaySite]:
    """Connect without becoming a client of the scope's registry: none is started, and nothing is compared.

    Raises:
        ClusterError: The cluster cannot be used.
        ConfigurationError: The runtime_env cannot work.
    """
    ledger = options.ledger or LedgerConfig(uri=store.uri, storage_options=store.storage_options)
    overlay = JobsOverlay(options.runtime_env, stores=[store.uri, ledger.uri], policy=options.version_skew)
    connected = joining.connect(options, ledger)
    try:
        require_no_overlay()
        yield site_of(connected, options, overlay.open())
    finally:
        overlay.close()
        connection.release(connected)
