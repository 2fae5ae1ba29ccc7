"""Run capabilities as direct Ray tasks from one driver: no registry, nothing that outlives the process.

The entry point ``ray-simple`` names :data:`plugin`. Ray itself is imported when a backend is opened, not before.
"""

from checkmaite_ray_simple.opening import RaySimplePlugin, plugin
from checkmaite_ray_simple.settings import RaySimpleOptions

__all__ = ["RaySimpleOptions", "RaySimplePlugin", "plugin"]
