"""One execution's care for what it has computed: staged as soon as it is there, dropped once it is committed."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any

from checkmaite_core import staging, staging_disk
from checkmaite_core.committing import may_be_cured
from checkmaite_core.errors import CheckmaiteError, PayloadError, StoreError
from checkmaite_core.failure import FailureRecord, StagedOutputs
from checkmaite_core.provenance import utc_now
from checkmaite_core.recovery import Recovery
from checkmaite_core.staging import Header, StagedRun
from checkmaite_core.store import ResultStore
from checkmaite_core.submission import WorkOrder

__all__ = ["Keeper", "note_staged"]

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


class Keeper:
    """Stages the outputs of one execution.

    Args:
        order: The job's.
        payload: What it was started with.
        pickler: Pickles the outputs; None stages nothing.
        loads: Unpickles them.
        node: The node, by the resource that its cluster has for it.
    """

    def __init__(
        self,
        order: WorkOrder,
        payload: bytes,
        pickler: type[pickle.Pickler] | None,
        loads: Callable[[bytes], Any],
        node: str | None,
    ) -> None:
        self._order = order
        self._digest = hashlib.sha256(payload).hexdigest() if pickler is not None else ""
        self._pickler = pickler
        self._loads = loads
        self._node = node
        self._event_id = order.recovers or order.job_id
        self._only_on_disk = False
        self._staged: StagedOutputs | None = None
        self._why_not = ""
        self.away: tuple[datetime, Exception] | None = None
        """Since when the store is known not to answer, and what it said."""

    def keep(self, run: Any, took_s: float, store: ResultStore) -> StagedRun:
        """Stage what the capability has returned, if it took long.

        Never raises: what goes wrong with that is said if the job fails.
        """
        order = self._order
        header = Header(
            job_id=order.job_id,
            capability_id=order.capability_id,
            module=order.environment.module,
            report_threshold=order.report_threshold,
            provenance=order.provenance,
            inputs=order.inputs,
            completed_at=utc_now(),
            took_s=took_s,
            payload=self._digest,
        )
        if self._pickler is not None and order.commit.stage_max_bytes and took_s >= order.commit.stage_after_s:
            self._stage(run, header, self._pickler, store)
        return StagedRun(header, run)

    def _stage(self, run: Any, header: Header, pickler: type[pickle.Pickler], store: ResultStore) -> None:
        limit = self._order.commit.stage_max_bytes
        try:
            data, header = staging.pack(run, header, pickler)
        except Exception as error:  # pickling runs the user's __reduce__: reported, should the job fail
            self._why_not = f"Its outputs were not staged, as they cannot be pickled: {type(error).__name__}: {error}"
            return
        if len(data) > limit:
            self._why_not = (
                f"Its outputs were not staged: {_bytes(len(data))} are more than stage_max_bytes={_bytes(limit)}"
            )
            return
        self._put(data, header, store)

    def _put(self, data: bytes, header: Header, store: ResultStore) -> None:
        path = None
        begun = utc_now()
        try:
            store.stage(self._event_id, data)
        except Exception as error:  # a store is a plugin: reported, should the job fail
            try:
                path = staging_disk.keep(self._order.store.uri, self._event_id, data)
            except StoreError as disk:
                self._why_not = f"Its outputs were not staged: the store says: {error}; the disk says: {disk}"
                return
            self._only_on_disk = may_be_cured(error)
            self.away = (begun, error) if self._only_on_disk else None
        self._staged = self._note(header, len(data), None if path is None else str(path))

    def upload(self, store: ResultStore) -> None:
        """Stage in the store what is only on this node's disk, now that the store may answer.

        Raises:
            StoreError: It does not.
        """
        data = staging_disk.read(self._order.store.uri, self._event_id) if self._only_on_disk else None
        if data is not None and self._staged is not None:
            store.stage(self._event_id, data)
            self._only_on_disk = False
            self._staged = self._staged.model_copy(update={"path": None, "node": None})
            staging_disk.drop(self._order.store.uri, self._event_id)

    def kept_before(self, store: ResultStore) -> StagedRun | None:
        """What an earlier start of the same job has staged; None if nothing, or nothing that can be used.

        Raises:
            StoreError: The store could not be asked.
        """
        if self._pickler is None or not self._order.commit.stage_max_bytes:
            return None
        data, path = self._find(store)
        if data is None:
            return None
        try:
            found = staging.unpack(data, self._where(path), self._loads)
        except Exception:  # whatever is wrong with it, its code can be run again; then that is staged in its place
            found = None
        if found is None or found.header.payload != self._digest:
            self._discard(store)
            return None
        self._staged = self._note(found.header, len(data), path)
        self._only_on_disk = path is not None
        return found

    def recovered(self, store: ResultStore, recovery: Recovery) -> StagedRun:
        """The outputs that this job is to commit.

        Raises:
            StoreError: There are none, they are damaged, or the store could not be asked.
            PayloadError: They cannot be read with the code that is here.
        """
        data, path = self._find(store)
        if data is None:
            raise StoreError(
                f"there are no staged outputs of job {self._event_id} in {store.uri}, nor on this node's disk "
                f"({staging_disk.path_of(self._order.store.uri, self._event_id)}).",
                hint="They are removed once they are committed, and when nobody has come for them for a month. If they "
                "lie on another node's disk, the failure of the job names it.",
            )
        self._staged = self._note(staging.read_header(data, self._where(path)), len(data), path)
        self._only_on_disk = path is not None
        try:
            return staging.unpack(
                data, self._where(path), self._loads, classes=recovery.classes, run_class=recovery.run_class
            )
        except CheckmaiteError:
            raise
        except Exception as error:  # unpickling imports and runs the user's code
            raise PayloadError(
                f"the staged outputs of job {self._event_id} cannot be read with the code that is here: "
                f"{type(error).__name__}: {error}",
                hint="Make the classes importable again under their names, or pass the run's class of today: "
                "recommit(run_class=...).",
            ) from error

    def committed(self, store: ResultStore) -> None:
        """The outputs are of no more use. Never raises: what stays is removed by the store's housekeeping."""
        if self._staged is not None:
            with contextlib.suppress(Exception):  # the commit counts; nothing after it may fail the job
                self._discard(store)

    def noted(self, failure: FailureRecord) -> FailureRecord:
        """The failure, and what is kept of the work."""
        if self._staged is not None:
            place = f": on {self._node or 'the node'}, {self._staged.path}" if self._staged.path else " in the store"
            note = f"What it had computed is kept{place}. job.recommit() stores it without running it again."
            return failure.with_staged(self._staged).with_note(note)
        return failure.with_note(f"{self._why_not}.") if self._why_not else failure

    def _find(self, store: ResultStore) -> tuple[bytes | None, str | None]:
        """Staged outputs, and the file that has them where the store does not."""
        data = store.staged(self._event_id)
        if data is not None:
            return data, None
        data = staging_disk.read(self._order.store.uri, self._event_id)
        return data, None if data is None else str(staging_disk.path_of(self._order.store.uri, self._event_id))

    def _discard(self, store: ResultStore) -> None:
        staging_disk.drop(self._order.store.uri, self._event_id)
        store.discard_staged(self._event_id)

    def _where(self, path: str | None) -> str:
        return path or f"of job {self._event_id} in {self._order.store.uri}"

    def _note(self, header: Header, size: int, path: str | None) -> StagedOutputs:
        return StagedOutputs(
            event_id=self._event_id,
            capability_id=header.capability_id,
            store_uri=self._order.store.uri,
            module=header.module,
            run_class=header.run_class,
            classes=tuple(name for name, _ in header.classes),
            size=size,
            node=self._node if path is not None else None,
            path=path,
        )


def note_staged(failure: FailureRecord, order: WorkOrder, store: ResultStore) -> FailureRecord:
    """The failure of a job whose worker cannot tell any more, and whether outputs of it are kept.

    Raises:
        StoreError: The store could not be asked.
    """
    event_id = order.recovers or order.job_id
    if failure.recoverable or not order.commit.stage_max_bytes or not store.has_staged(event_id):
        return failure
    staged = StagedOutputs(
        event_id=event_id,
        capability_id=order.capability_id,
        store_uri=order.store.uri,
        module=order.environment.module,
    )
    note = "What it had computed is kept in the store. job.recommit() stores it without running it again."
    return failure.with_staged(staged).with_note(note)


def _bytes(count: int) -> str:
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"
