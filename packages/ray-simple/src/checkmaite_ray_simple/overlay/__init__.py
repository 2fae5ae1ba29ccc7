"""Overlays: the ``runtime_env`` of a client's jobs, checked before Ray sees it, and made fit to travel with each job.

What is here needs no Ray and looks at no file, so that options can be read without either.
"""

from checkmaite_ray_simple.overlay.fields import OverlayFields, OverlayWarning, check_fields
from checkmaite_ray_simple.overlay.masking import masked, masked_text

__all__ = ["OverlayFields", "OverlayWarning", "check_fields", "masked", "masked_text"]
