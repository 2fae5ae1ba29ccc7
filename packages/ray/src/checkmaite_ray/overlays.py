"""The registry's care for the overlays of its unfinished jobs. On one event loop; the work is done in a thread."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from checkmaite_core.errors import CheckmaiteError
from checkmaite_ray.archive import PackageArchive
from checkmaite_ray_simple.overlay.keeping import OverlayKeeper
from checkmaite_ray_simple.overlay.uploading import packages_of

__all__ = ["Overlays"]


class Overlays:
    """Keeps what overlays need for as long as a job with them has not ended.

    Jobs of one shape have one overlay, so shapes are counted, and an overlay is looked at once for each.

    Args:
        archive: Keeps packages beside the ledger.
        failed: Called with what went wrong, on the loop.
    """

    def __init__(self, archive: PackageArchive, failed: Callable[[Exception], None]) -> None:
        self._archive = archive
        self._failed = failed
        self._keeper = OverlayKeeper()
        # One thread, so that an overlay is kept before it is dropped.
        self._thread = ThreadPoolExecutor(1, "overlays")
        self._jobs: Counter[str] = Counter()
        self._kept: dict[str, str] = {}

    def need(self, shape: str, overlay: str | None, *, archive: bool) -> asyncio.Future[None] | None:
        """One more job has this shape.

        Args:
            shape: The shape.
            overlay: Its overlay, if this is the first (see :meth:`knows`).
            archive: Whether its packages may be kept beside the ledger.

        Returns:
            Done once the cluster has what it needs; None if it needs nothing more.
        """
        self._jobs[shape] += 1
        if overlay is None or shape in self._kept or not packages_of(overlay):
            return None
        self._kept[shape] = overlay
        return self._run(self._keep, overlay, archive)

    def knows(self, shape: str) -> bool:
        """Whether a job of this shape is there already."""
        return self._jobs[shape] > 0

    def done(self, shape: str) -> None:
        """A job of this shape has ended."""
        self._jobs[shape] -= 1
        if not self._jobs[shape]:
            del self._jobs[shape]
            overlay = self._kept.pop(shape, None)
            if overlay is not None:
                self._run(self._drop, overlay, frozenset(self._uris()))

    def sweep(self) -> None:
        """Remove what earlier registries kept, once all that is needed has been looked after."""
        self._run(self._archive.sweep, frozenset(self._uris()))

    def close(self) -> None:
        """Let go; the packages stay for a while."""
        self._keeper.close()
        self._thread.shutdown(wait=False)

    def _uris(self) -> set[str]:
        return {uri for overlay in self._kept.values() for uri in packages_of(overlay)}

    def _run(self, function: Callable[..., None], *arguments: object) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        future.add_done_callback(self._look)
        return future

    def _look(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled():
            error = future.exception()
            if isinstance(error, Exception):
                self._failed(error)

    def _keep(self, overlay: str, archive: bool) -> None:
        for uri in self._keeper.keep(overlay):
            if not self._archive.put_back(uri):
                raise CheckmaiteError(
                    f"the package {uri} of a job's runtime_env is neither in the cluster nor beside the ledger.",
                    hint="Submit the jobs again from a client that has the code.",
                )
        if archive:
            for uri in packages_of(overlay):
                self._archive.save(uri)

    def _drop(self, overlay: str, needed: frozenset[str]) -> None:
        self._keeper.drop(overlay)
        for uri in packages_of(overlay):
            if uri not in needed:
                self._archive.remove(uri)
