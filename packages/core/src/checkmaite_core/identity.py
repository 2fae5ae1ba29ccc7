"""Which submissions are equal work: the run key.

Two submissions with one key do the same thing to the same inputs and put it in the same place, so one job can serve
both. It is made from the capability with the code behind it, its config, its inputs, the store, the report's
threshold and the overlay. It is the same in every process, whatever its hash seed, and on every machine with the same
code.

Where something cannot be told for certain, such as an open file in the capability, or what is behind a URI without a
version, there is no key, and the work is never shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkmaite_core._describing import Describer, NotStableError, canonical
from checkmaite_core.inputs import InputRef, Inputs, own_id
from checkmaite_core.submission import Submission

__all__ = ["RunKey", "run_key", "run_keys"]

_VERSION = 2
"""Changed with what a key is made from: keys of two versions are never equal."""
_SHOWN = 8
"""How many hex digits of a digest people are shown."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """What is said of the equality of one submission with others.

    Attributes:
        digest: Equal for equal work, and only for that; None if it cannot be told what equal work would be.
        summary: What another submission of this digest has in common with this one, for people.
        uncertain: Why there is no digest, for people; None if there is one.
    """

    digest: str | None
    summary: str
    uncertain: str | None = None


def run_key(submission: Submission, *, overlay: str) -> RunKey:
    """The key of a submission.

    Args:
        submission: The work.
        overlay: The code and variables that the backend's workers get beside their image, as canonical text.

    What counts of its parts:

    - *capability*: its id, its class, its own attributes, and the code of its class and their classes, with all
      first-party code and data files that this can reach (see :mod:`checkmaite_core.code.graph`). Of installed
      distributions that is the hashes in their ``RECORD``, and what is in those files that are not as it says; of
      scripts and notebooks, the functions, classes and values that it uses, whatever else stands there.
    - *config*: its class and its values, without those that are excluded from its identity, such as ``resources``.
    - *inputs*: the id, the code of its class, and its ``fingerprint`` (an attribute, or an entry of ``metadata``) or,
      without one, all that travels of it. Of a reference the fingerprint or, without one, where it lies, by what it is
      loaded, and the version of what is there (see :mod:`checkmaite_core.versions`); the code of the loader.
    - *not*: the name, the resources, and where it comes from.
    """
    return run_keys([submission], overlay=overlay)[0]


def run_keys(submissions: Sequence[Submission], *, overlay: str) -> list[RunKey]:
    """The keys of submissions that were made together; looks at each piece of code once."""
    return [_key(submission, overlay) for submission in submissions]


def _key(submission: Submission, overlay: str) -> RunKey:
    order, payload, describer = submission.order, submission.payload, submission.describer
    uncertain = next((each.uncertain for each in order.inputs if each.uncertain is not None), None)
    if uncertain is not None:
        return RunKey(None, "", uncertain)
    try:
        capability = [order.capability_id, describer.value(payload.capability)]
        document = {
            "version": _VERSION,
            "capability": capability,
            "config": describer.value(payload.config),
            "inputs": [each.model_dump(include={"kind", "id", "digest"}) for each in order.inputs],
            "code_of_inputs": _code(payload.inputs, describer),
            "store": [order.store.backend, order.store.uri],
            "report_threshold": float(order.report_threshold),
            "overlay": overlay,
        }
    except NotStableError as error:
        return RunKey(None, "", f"it cannot be told what equal work would be: {error}")
    summary = [f"same code (sha {_digest(capability)[:_SHOWN]})", "same config", *map(str, order.inputs)]
    return RunKey(_digest(document), ", ".join(summary))


def _digest(document: Any) -> str:
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def _code(inputs: Inputs, describer: Describer) -> list[Any]:
    """The code that the inputs come with: a fingerprint says all of their data, but runs on the worker's code."""
    return [_code_of(value, describer) for value in (*inputs.models, *inputs.datasets, *inputs.metrics)]


def _code_of(value: Any, describer: Describer) -> Any:
    if isinstance(value, InputRef):
        return describer.loader(value.loader)
    if own_id(value) is None:
        raise NotStableError(f"an input of class {type(value).__qualname__} has no id")
    return describer.class_of(type(value))
