"""The whole contract of a capability, checked by running it as a worker would."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkmaite_core.execution import execute
from checkmaite_core.record import Scalar
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import prepare_submission
from checkmaite_core.testing._memory_store import MEMORY_STORE
from checkmaite_core.testing._plugins import FAKES, installed_plugins
from checkmaite_core.work import Work

__all__ = ["CheckedRun", "check_capability"]


@dataclass(frozen=True)
class CheckedRun:
    """What a capability that keeps the contract left behind.

    Attributes:
        reference: The reference that a job of it returns.
        tables: Its rows, by table.
        report: The text of its report; None if it makes none.
    """

    reference: CapabilityRunRef
    tables: Mapping[str, Sequence[Mapping[str, Scalar]]]
    report: str | None


class _NobodyWatches:
    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return False

    def report_waiting(self, reason: str | None) -> None:
        pass


def check_capability(
    capability: Any,
    *,
    models: Sequence[Any] | None = None,
    datasets: Sequence[Any] | None = None,
    metrics: Sequence[Any] | None = None,
    config: Any = None,
    report_threshold: float = 0.5,
    dumps: Callable[[Any], bytes] = pickle.dumps,
) -> CheckedRun:
    """Run a capability twice, as a worker would, and check all that a backend will rely on.

    It can be submitted, travels as bytes, returns a run whose records and report can be stored, and both runs
    have one identity.

    Args:
        capability: The capability.
        models: Models, or references to them.
        datasets: Datasets, or references to them.
        metrics: Metrics.
        config: The config; the capability's own defaults if left out.
        report_threshold: Passed to the run's report.
        dumps: How the work is pickled; pass ``cloudpickle.dumps`` for classes that a notebook or test defines.

    Returns:
        What the second run left, for assertions of your own.

    Raises:
        AssertionError: A run failed, or the two have different identities; the message has the traceback.
        SubmissionError: It cannot be submitted, or not be pickled.
    """
    location = f"memory://{uuid.uuid4()}"
    references = []
    for _ in range(2):
        work = Work(
            capability=capability,
            models=models,
            datasets=datasets,
            metrics=metrics,
            config=config,
            report_threshold=report_threshold,
        )
        store = AnalyticsStoreConfig(backend="memory", uri=location)
        submission = prepare_submission(work, backend="check", store=store)
        payload = submission.pickle(dumps)
        with installed_plugins(FAKES):
            outcome = execute(submission.order, payload, loads=pickle.loads, monitor=_NobodyWatches())
        if outcome.failure is not None:
            raise AssertionError(f"{submission.name} failed: {outcome.failure.traceback}")
        assert outcome.reference is not None, "without a failure, an outcome has a reference"
        references.append(outcome.reference)
    first, second = references
    if first.run_uid != second.run_uid:
        raise AssertionError(
            f"two runs of the same work have the identities {first.run_uid} and {second.run_uid}: "
            "make run_uid from the capability's id, the config and the ids of the inputs alone"
        )
    kept = MEMORY_STORE.open(location, {})
    return CheckedRun(second, {table: kept.rows(table) for table in second.tables}, kept.read_report(second))
