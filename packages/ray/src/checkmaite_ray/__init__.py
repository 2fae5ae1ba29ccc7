"""Run capabilities on Ray as jobs that outlive their client."""
