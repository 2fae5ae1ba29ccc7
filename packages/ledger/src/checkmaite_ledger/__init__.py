"""The history of jobs: what was submitted, what became of it; durable, and readable with no cluster."""

from checkmaite_ledger._layout import check_scope, prefix_of
from checkmaite_ledger.events import Policy
from checkmaite_ledger.listing import LedgerPage, page_of
from checkmaite_ledger.reader import JobLedger, scopes
from checkmaite_ledger.records import JobRecord
from checkmaite_ledger.settings import LedgerSettings
from checkmaite_ledger.writer import LedgerWriter, latest_epoch

__all__ = [
    "JobLedger",
    "JobRecord",
    "LedgerPage",
    "LedgerSettings",
    "LedgerWriter",
    "Policy",
    "check_scope",
    "latest_epoch",
    "page_of",
    "prefix_of",
    "scopes",
]
