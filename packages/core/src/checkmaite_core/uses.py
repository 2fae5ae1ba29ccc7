"""What a job uses, compared with what its run key covers, and told in its outcome."""

from __future__ import annotations

from contextlib import AbstractContextManager
from urllib.parse import unquote, urlsplit

from checkmaite_core.code.recording import UseRecorder
from checkmaite_core.deployment.reached import unpack
from checkmaite_core.inputs import InputRef, Inputs
from checkmaite_core.outcome import Outcome
from checkmaite_core.submission import WorkOrder

__all__ = ["RECORD_LOST", "Uses"]

RECORD_LOST = "it had committed when its worker was lost, and the record of what it imported and read with that"
_MOST_TOLD = 32


class Uses:
    """What one start of a job uses.

    Args:
        order: The job.
    """

    def __init__(self, order: WorkOrder) -> None:
        reached = unpack(order.environment.reach)
        modules = {} if reached is None else reached.modules
        files = {} if reached is None else reached.files
        self._recorder = UseRecorder(modules, files.values(), left_out=filter(None, [_local(order.store.uri)]))
        self._has_run = False

    def recorded(self) -> AbstractContextManager[None]:
        """Code of the user's runs within the block."""
        return self._recorder.during()

    def of_run(self, inputs: Inputs) -> AbstractContextManager[None]:
        """The capability's run is in the block. Inputs by reference count by what their references say."""
        values = (*inputs.models, *inputs.datasets, *inputs.metrics)
        self._recorder.leave_out(filter(None, [_local(each.uri) for each in values if isinstance(each, InputRef)]))
        self._has_run = True
        return self._recorder.during()

    def told_in(self, outcome: Outcome) -> Outcome:
        """The outcome of a job that has committed, with what it used."""
        if not self._has_run:
            return outcome.model_copy(update={"key_uncertain": RECORD_LOST})
        try:
            used = self._recorder.used()
        except Exception as error:  # the job has committed: nothing after that may fail it
            why = f"it imported and read what could not be told: {type(error).__name__}: {error}"
            return outcome.model_copy(update={"key_uncertain": why})
        told = {"imported": used.modules[:_MOST_TOLD], "read": used.files[:_MOST_TOLD]}
        return outcome.model_copy(update={**told, "key_uncertain": used.uncertain})


def _local(uri: str) -> str | None:
    """The path of a place on this machine; None for another."""
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return uri.removeprefix("file:") or None
    return unquote(urlsplit(uri).path) if scheme == "file" else None
