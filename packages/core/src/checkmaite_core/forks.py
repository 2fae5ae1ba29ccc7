"""Forks: processes that have a backend and its jobs in memory, and neither its threads nor its connection."""

from __future__ import annotations

import os

from checkmaite_core.errors import ConfigurationError

__all__ = ["HomeProcess"]


class HomeProcess:
    """The process that something was made in; in a fork of it nothing is ever heard, so whoever waits waits for ever.

    Takes no lock: one that a thread held at the moment of the fork is never given back in the child.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a fork of it."""
        return os.getpid() != self._pid

    def require(self, what: str) -> None:
        """Refuse to go on in a fork.

        Args:
            what: What cannot be done there, such as ``"job 'nightly' cannot run"``.

        Raises:
            ConfigurationError: This is a fork.
        """
        if self.is_elsewhere:
            raise ConfigurationError(
                f"{what} in process {os.getpid()}, a fork of the process {self._pid} that the backend belongs to.",
                hint="Do it in the process that called configure_job_backend(...), or start the other one with "
                'multiprocessing.get_context("spawn") and configure a backend there.',
            )
