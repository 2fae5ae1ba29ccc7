"""The history of jobs: what was submitted, what became of it; durable, and readable with no cluster."""

from checkmaite_ledger.events import Policy
from checkmaite_ledger.records import JobRecord

__all__ = ["JobRecord", "Policy"]
