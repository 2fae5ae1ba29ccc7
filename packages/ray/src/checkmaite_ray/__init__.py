"""Run capabilities on Ray as jobs that outlive their client, are shared, and are found again.

The entry point ``ray`` names :data:`plugin`. Ray itself is imported when a backend is opened, not before.
"""

from checkmaite_ray.opening import RayPlugin, plugin
from checkmaite_ray.settings import LedgerConfig, RayOptions, RegistrySettings

__all__ = ["LedgerConfig", "RayOptions", "RayPlugin", "RegistrySettings", "plugin"]
