"""Client and worker are one deployment unit: describe an environment, compare two, say what to do.

    python -m checkmaite_core.deployment stamp --lock uv.lock
    python -m checkmaite_core.deployment show --json
    python -m checkmaite_core.deployment diff client.json worker.json

The same commands as ``checkmaite deployment``, for places such as a worker's image where that is not installed.
"""

from __future__ import annotations

from checkmaite_core.deployment.comparison import (
    SkewPolicy,
    VersionSkewWarning,
    compare_environments,
    require_match,
)
from checkmaite_core.deployment.environment import (
    Environment,
    NodeEnvironment,
    describe_alike,
    describe_environment,
)
from checkmaite_core.deployment.finding import Finding, Level
from checkmaite_core.deployment.needs import needed_for
from checkmaite_core.deployment.origin import distribution_of
from checkmaite_core.deployment.stamp import Stamp, read_stamp, write_stamp
from checkmaite_core.deployment.table import findings_table
from checkmaite_core.deployment.unreadable import why_unreadable

__all__ = [
    "Environment",
    "Finding",
    "Level",
    "NodeEnvironment",
    "SkewPolicy",
    "Stamp",
    "VersionSkewWarning",
    "compare_environments",
    "describe_alike",
    "describe_environment",
    "distribution_of",
    "findings_table",
    "needed_for",
    "read_stamp",
    "require_match",
    "why_unreadable",
    "write_stamp",
]
