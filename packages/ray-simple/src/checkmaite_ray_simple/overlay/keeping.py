"""Packages of overlays are kept in the cluster for as long as they are needed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from checkmaite_ray_simple.overlay import packages
from checkmaite_ray_simple.overlay.uploading import HOLD, packages_of

__all__ = ["OverlayKeeper"]


class OverlayKeeper:
    """Has the cluster keep the packages of overlays for as long as they are needed.

    Ray deletes a package when the last job or pin that names it has gone, and tasks do not count. So each is pinned for
    a while, and again in time, by a thread that there is only while there is something to keep. A client keeps its own
    overlay while it is there; the registry keeps those of unfinished jobs. All calls block for milliseconds.

    Args:
        hold: Seconds for which packages stay when nothing keeps them any more, or when this process has died.
    """

    def __init__(self, *, hold: int = HOLD) -> None:
        self._hold = hold
        self._needed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, overlay: str) -> tuple[str, ...]:
        """Count one more need of an overlay.

        Returns:
            The packages that the cluster does not have any more. They count as needed; put them back.
        """
        uris = packages_of(overlay)
        with self._lock:
            new = [uri for uri in uris if not self._needed[uri]]
            packages.pin(new, self._hold)
            missing = tuple(uri for uri in new if not packages.exists(uri))
            self._needed.update(uris)
            if uris and self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._renew, name="checkmaite-overlays", daemon=True)
                self._thread.start()
        return missing

    def drop(self, overlay: str) -> None:
        """Count one need less; to be called once for each :meth:`keep`."""
        with self._lock:
            self._needed.subtract(packages_of(overlay))
            self._needed = +self._needed
            if not self._needed:
                self._changed.set()

    def restore(self, overlays: Iterable[str]) -> tuple[str, ...]:
        """Keep overlays, one for each job that needs it, after a restart.

        Returns:
            The packages that the cluster does not have any more.
        """
        return tuple(dict.fromkeys(uri for overlay in overlays for uri in self.keep(overlay)))

    def close(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._needed.clear()
            self._changed.set()

    def _renew(self) -> None:
        pause = self._hold / 3
        while True:
            self._changed.wait(pause)
            with self._lock:
                if not self._needed:
                    self._thread = None
                    return
                self._changed.clear()
                uris = list(self._needed)
            try:
                packages.pin(uris, self._hold)
                pause = self._hold / 3
            except Exception:  # the cluster is away for the moment, or for good; the last pin lasts twice as long yet
                pause = self._hold / 12
