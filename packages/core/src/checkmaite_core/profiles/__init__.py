"""Profiles: what a platform team hands out in a ``checkmaite.toml``, so that users need to know a name only."""

from checkmaite_core.profiles._loading import load_profile
from checkmaite_core.profiles._profile import Profile

__all__ = ["Profile", "load_profile"]
