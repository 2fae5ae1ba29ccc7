"""What a client sends to have staged outputs committed: no inputs, only which they are, and today's classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkmaite_core.capability import Capability
from checkmaite_core.errors import SubmissionError
from checkmaite_core.failure import StagedOutputs
from checkmaite_core.run import CapabilityRun
from checkmaite_core.staging import class_name, find_class

__all__ = ["Recovery"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is pickled in place of a payload. The client unpickles nothing of what was staged.

    Attributes:
        event_id: The job whose outputs are to be committed.
        classes: Classes of today by name, of those that travel because nobody can import them.
        run_class: Takes the place of the run's class, whatever that is called.
        report_threshold: What the report is made with; what it was to be made with if None.
    """

    event_id: str
    classes: Mapping[str, type] = field(default_factory=dict)
    run_class: type | None = None
    report_threshold: float | None = None

    @classmethod
    def of(
        cls, staged: StagedOutputs, *, capability: Any, run_class: type | None, report_threshold: float | None
    ) -> Recovery:
        """Collect the classes as this process has them now.

        Raises:
            SubmissionError: ``run_class`` is no class.
        """
        if run_class is not None and not isinstance(run_class, type):
            raise SubmissionError(
                f"run_class is {run_class!r:.200}, not a class.",
                hint="Pass the class of the run, the one that has extract().",
            )
        known = isinstance(capability, Capability) and type(capability).run_class is not CapabilityRun
        if run_class is None and known:
            run_class = type(capability).run_class
        found = {name: find_class(name, main=True) for name in staged.classes}
        classes = {name: one for name, one in found.items() if one is not None}
        if run_class is not None:
            # Should it go by the old name, it must not be sent a second time.
            classes.pop(class_name(run_class), None)
        return cls(staged.event_id, classes, run_class, report_threshold)
