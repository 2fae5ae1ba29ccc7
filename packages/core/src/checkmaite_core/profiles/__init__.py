"""Profiles: what a platform team hands out in a ``checkmaite.toml``, so that its users need to know one name."""

from checkmaite_core.profiles._loading import load_profile, load_profiles
from checkmaite_core.profiles._profile import Profile
from checkmaite_core.profiles._resolving import ResolvedProfile, resolve_profile

__all__ = ["Profile", "ResolvedProfile", "load_profile", "load_profiles", "resolve_profile"]
