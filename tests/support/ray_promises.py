"""What the ray backend promises, wherever its Ray is."""

from __future__ import annotations

from checkmaite_core.testing import BackendPromises

PROMISES = BackendPromises(
    has_reattach=True,
    jobs_outlive_client=True,
    has_dedupe=True,
    has_live_status=True,
    has_live_progress=True,
    stops_running_code=True,
    isolates_jobs=True,
    checks_resources=True,
    slots=2,
    bounds_queue=True,
    retries_exceptions=True,
    restores_processes=True,
)
