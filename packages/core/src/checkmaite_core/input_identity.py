"""What tells one input from another: the same id is not enough, for a model may be trained again under its name."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from checkmaite_core._describing import Describer, NotStableError, canonical
from checkmaite_core.errors import SubmissionError
from checkmaite_core.inputs import InputRef, Inputs, own_id
from checkmaite_core.versions import NotVersionedError, shown_uri, version_of

__all__ = ["Identifier", "InputIdentity", "covering_uid"]

_SHOWN = 8
"""How many hex digits of a digest people are shown."""


class InputIdentity(BaseModel):
    """What one input was, as far as it can be told.

    Attributes:
        kind: ``model``, ``dataset`` or ``metric``.
        id: Its id.
        how: What it is told by: its ``fingerprint``; its ``content`` and the code of its class, for an object; where it
            lies, in which ``version``, and how it is loaded, for a reference; only where it lies, for a ``reference``
            whose version cannot be told; or ``nothing``, for an object that cannot be compared.
        digest: Equal for equal inputs. Of an input that is told by ``nothing``, a random text: it equals no other.
        where: Where a reference points, without credentials; empty for an object.
        uncertain: Why it cannot be told whether another input is equal to it; None if it can.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["model", "dataset", "metric"]
    id: str
    how: Literal["fingerprint", "content", "version", "reference", "nothing"]
    digest: str
    where: str = ""
    uncertain: str | None = None

    def __str__(self) -> str:
        """For people, such as ``model digits-cnn (object, sha 3c4d5e6f)``."""
        what = f"by reference {self.where}" if self.where else "object"
        by = "fingerprint" if self.how == "fingerprint" else "sha"
        return f"{self.kind} {self.id} ({what}, {by} {self.digest[:_SHOWN]})"


class Identifier:
    """Identifies inputs; one that is met again, as in a group of works, is looked at once.

    Args:
        describer: What is known of classes and modules.
    """

    def __init__(self, describer: Describer | None = None) -> None:
        self.describer = describer or Describer()
        self._known: dict[
            tuple[str, int], tuple[Any, InputIdentity]
        ] = {}  # with the objects, so that no id is used again
        self._versions: dict[tuple[str, str], str | NotVersionedError] = {}

    def identify(self, inputs: Inputs) -> tuple[InputIdentity, ...]:
        """The identity of each input of one work: models, datasets, metrics, each in order.

        Raises:
            SubmissionError: Two different inputs of one kind have one id, so that the rows of a run could not say
                which of them they are about.
        """
        found: list[InputIdentity] = []
        kinds: tuple[tuple[Literal["model", "dataset", "metric"], Sequence[Any]], ...] = (
            ("model", inputs.models),
            ("dataset", inputs.datasets),
            ("metric", inputs.metrics),
        )
        for kind, values in kinds:
            of_kind: dict[str, InputIdentity] = {}
            for value in values:
                if own_id(value) is None and not isinstance(value, InputRef):
                    continue  # a foreign capability's, that needs none
                identity = self._identity(kind, value)
                other = of_kind.setdefault(identity.id, identity)
                if other.digest != identity.digest:
                    raise _ambiguous(other, identity)
                found.append(identity)
        return tuple(found)

    def _identity(self, kind: Literal["model", "dataset", "metric"], value: Any) -> InputIdentity:
        known = self._known.get((kind, id(value)))
        if known is None:
            made = self._of_reference if isinstance(value, InputRef) else self._of_object
            known = self._known[kind, id(value)] = (value, made(kind, value))
        return known[1]

    def _of_object(self, kind: Literal["model", "dataset", "metric"], value: Any) -> InputIdentity:
        own = own_id(value)
        assert own is not None, "it has been looked at"
        try:
            fingerprint = _fingerprint(value)
            if fingerprint is not None:
                return InputIdentity(kind=kind, id=own, how="fingerprint", digest=_of_fingerprint(fingerprint))
            digest = _digest(["content", self.describer.content(value)])
        except NotStableError as error:
            why = f"{kind} {own} cannot be compared with others: it has {error}"
            return InputIdentity(kind=kind, id=own, how="nothing", digest=secrets.token_hex(32), uncertain=why)
        return InputIdentity(kind=kind, id=own, how="content", digest=digest)

    def _of_reference(self, kind: Literal["model", "dataset", "metric"], value: InputRef) -> InputIdentity:
        where = shown_uri(value.uri)
        facts: dict[str, Any] = {"kind": kind, "id": value.id, "where": where}
        if value.fingerprint is not None:
            return InputIdentity(**facts, how="fingerprint", digest=_of_fingerprint(value.fingerprint))
        try:
            loader = self.describer.loader(value.loader)
        except NotStableError as error:
            why = f"{kind} {value.id} cannot be compared with others: its loader uses {error}"
            return InputIdentity(**facts, how="nothing", digest=secrets.token_hex(32), uncertain=why)
        version = self._version(value)
        if isinstance(version, NotVersionedError):
            why = f"it cannot be told whether {kind} {value.id} ({where}) is what it was: {version}"
            digest = _digest(["reference", value.uri, loader])
            return InputIdentity(**facts, how="reference", digest=digest, uncertain=why)
        return InputIdentity(**facts, how="version", digest=_digest(["version", value.uri, loader, version]))

    def _version(self, reference: InputRef) -> str | NotVersionedError:
        key = (str(reference.loader), reference.uri)
        if key not in self._versions:
            try:
                self._versions[key] = version_of(reference)
            except NotVersionedError as error:
                self._versions[key] = error
        return self._versions[key]


def covering_uid(run_uid: str, inputs: Sequence[InputIdentity]) -> str:
    """The ``run_uid`` that is stored of a job: what the run itself says, and which its inputs were in truth.

    Args:
        run_uid: What the run says, from the ids of its inputs.
        inputs: What the job's inputs were; without any it is what the run says.
    """
    if not inputs:
        return run_uid
    return _digest({"run": run_uid, "inputs": [[each.kind, each.id, each.digest] for each in inputs]})


def _fingerprint(value: Any) -> str | None:
    metadata = getattr(value, "metadata", None)
    found = getattr(value, "fingerprint", None)
    if found is None and isinstance(metadata, Mapping):
        found = metadata.get("fingerprint")
    if found is not None and (not isinstance(found, str) or not found):
        raise NotStableError(f"a fingerprint that is no text, but a {type(found).__qualname__}")
    return found


def _of_fingerprint(fingerprint: str) -> str:
    return _digest(["fingerprint", fingerprint])


def _digest(document: Any) -> str:
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def _ambiguous(one: InputIdentity, other: InputIdentity) -> SubmissionError:
    return SubmissionError(
        f"two different {one.kind}s of this work have the id {one.id!r}: {one} and {other}. Its rows could not say "
        "which of them they are about.",
        hint=f"Give each its own id, such as {one.id + '-v2'!r}, or the same fingerprint to both if they are equal.",
    )
