"""One profile: what a platform team hands out, and how it becomes a backend's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One ``[profiles.NAME]`` of a ``checkmaite.toml``, checked.

    Attributes:
        name: Its name.
        file: The file that it stands in.
        kind: The job backend, such as ``ray``.
        options: Keyword arguments for that backend, such as ``address`` and ``runtime_env``.
        analytics_store: Where results go; None if the profile leaves that open.
    """

    name: str
    file: Path
    kind: str
    # runtime_env is shown nowhere: a profile may hold no secrets, but what it is given may.
    options: Mapping[str, Any] = field(repr=False)
    analytics_store: AnalyticsStoreConfig | None
