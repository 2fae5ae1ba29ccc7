"""How a ledger is kept; readers need none of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LedgerSettings"]


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """How a ledger's writer keeps it.

    Attributes:
        inline_limit: Bytes up to which a submission lies in the log, beside the event that accepts it.
        batch_limit: Bytes of submissions in one object of the log; further ones become objects of their own, which
            takes a request for each. Ten thousand small jobs are some 25 MB.
        snapshot_events: Events after which a snapshot is due at the earliest.
        snapshot_ratio: A snapshot is due when there are more new events than this times the jobs; so the cost of all
            snapshots stays proportional to that of the events.
        snapshot_bytes: Bytes of log after which a snapshot is due at the earliest, however few events they hold.
        grace_seconds: How long what a snapshot stands in for stays for those who are reading it.
    """

    inline_limit: int = 256 * 1024
    batch_limit: int = 32 * 1024 * 1024
    snapshot_events: int = 2_000
    snapshot_ratio: float = 0.25
    snapshot_bytes: int = 64 * 1024 * 1024
    grace_seconds: float = 600.0
