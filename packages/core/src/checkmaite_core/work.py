"""One run to be submitted, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from checkmaite_core.errors import SubmissionError
from checkmaite_core.resources import Resources

__all__ = ["Work"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One run of a capability, to be submitted together with others (see :func:`checkmaite_core.submit_capabilities`).

    Attributes:
        capability: Anything with an ``id`` and ``run(models=, datasets=, metrics=, config=, use_cache=False)``.
        models: Models, or ``ModelRef`` to load them on the worker.
        datasets: Datasets, or ``DatasetRef`` to load them on the worker.
        metrics: Metrics.
        config: The capability's config; its own defaults if left out.
        name: A name for people; made from the capability and its inputs if left out.
        resources: What it asks for (see :func:`checkmaite_core.submit_capability`).
        report_threshold: Scores below it deserve a second look; passed to the run's report.
    """

    capability: Any
    models: Sequence[Any] | None = None
    datasets: Sequence[Any] | None = None
    metrics: Sequence[Any] | None = None
    config: Any = None
    name: str | None = None
    resources: Resources | Mapping[str, Any] | None = None
    report_threshold: float = 0.5

    @classmethod
    def of(cls, value: Self | Mapping[str, Any]) -> Self:
        """Read work that may be given as a mapping of the same names.

        Raises:
            SubmissionError: It is neither, or has a name that work does not have.
        """
        if isinstance(value, cls):
            return value
        known = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or "capability" not in value:
            raise SubmissionError(
                f"it is a {type(value).__qualname__} without a capability, not work.",
                hint="Pass Work(capability=..., datasets=[...]), or a mapping of the same names.",
            )
        unknown = sorted(str(name) for name in value if name not in known)
        if unknown:
            raise SubmissionError(f"work has no {', '.join(unknown)}.", hint=f"It has {', '.join(known)}.")
        return cls(**value)
