"""Run by the worker: whether what the inputs name can be read from here, with the credentials that are here."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from checkmaite_core.errors import CheckmaiteError, PluginNotFoundError
from checkmaite_core.location import scheme_of
from checkmaite_core.plugins import STORAGE, available_plugins, load_plugin
from checkmaite_core.preflight.checks import Check, CheckLevel, Mender
from checkmaite_core.preflight.inquiry import LocationFacts
from checkmaite_core.preflight.storage import explain_storage, is_local, path_of, shown, size_text
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["check_location"]

_PATIENCE = 8.0


def check_location(facts: LocationFacts, store: AnalyticsStoreConfig | None = None) -> Check:
    """Read the beginning of what lies at a location.

    Args:
        facts: The location.
        store: The analytics store: where the workers' own credentials do not do, and its options would, it is said.
    """
    location = facts.location
    if is_local(location):
        return _path(location, facts.on_client)
    scheme = location.partition(":")[0].lower()
    if scheme in ("http", "https"):
        return _http(location)
    if "://" in location and (scheme in available_plugins(STORAGE) or scheme in dict(STORAGE.known)):
        same = store is not None and scheme_of(store.uri) == scheme_of(location)
        return _objects(location, scheme, store.storage_options if store is not None and same else None)
    found = f"not looked at: what {scheme}: stands for is known only to its loader"
    return _check(location, "note", found)


def _path(location: str, on_client: bool | None) -> Check:
    path = path_of(location)
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            with os.scandir(path) as entries:
                empty = next(entries, None) is None
            return _check(location, "ok", "an empty folder" if empty else "a folder that can be read")
        if stat.S_ISREG(kind):
            with open(path, "rb") as file:
                file.read(1)
    except (FileNotFoundError, NotADirectoryError):
        return _absent(location, path, on_client)
    except PermissionError:
        remedy = "let the user that the workers run as read it"
        return _check(location, "error", "it is there, but the workers may not read it", "storage", remedy)
    except OSError as error:
        remedy = "look at the file system on that node"
        return _check(location, "error", f"it cannot be read there: {error.strerror}", "cluster", remedy)
    return _check(location, "ok", "can be read")


def _absent(location: str, path: str, on_client: bool | None) -> Check:
    found = "it is not there"
    if on_client:
        found = "it is on the client's disk, and not on the worker's"
        remedy = "put it where every node can read it (object storage, or a folder that all nodes mount), and give that"
        if not os.path.isabs(path):
            remedy += "; or send its folder along: runtime_env={'working_dir': ...}"
    else:
        remedy = "check the location" if on_client is None else "check the location: the client does not have it either"
        if not os.path.isabs(path):
            remedy += f"; a relative one is taken from the worker's own folder, {os.getcwd()}"
    return _check(location, "error", found, "client", remedy)


def _http(location: str) -> Check:
    import urllib.error  # on demand: a worker that reads no web pages does not pay for it
    import urllib.request

    status: int | None = None
    problem = ""
    for method in ("HEAD", "GET"):  # some servers have no HEAD, and refuse it in various ways
        headers = {"Range": "bytes=0-0"} if method == "GET" else {}
        request = urllib.request.Request(location, method=method, headers=headers)  # noqa: S310 - http, as checked
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
                return _check(location, "ok", "answers")
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        except (OSError, ValueError) as error:
            problem = str(getattr(error, "reason", error))
    if status is None:
        remedy = "let the workers reach it (network policy, DNS, proxy variables), or give a location that they can"
        return _check(location, "error", f"it does not answer there: {problem}", "cluster", remedy)
    if status in (401, 403):
        found, remedy = f"it refuses the workers: HTTP {status}", "let the workers read it, or give them credentials"
        return _check(location, "error", found, "storage", remedy)
    return _check(location, "error", f"it cannot be read: HTTP {status}", "client", "check the location")


def _objects(location: str, scheme: str, store_options: Mapping[str, Any] | None) -> Check:
    try:
        return _object(location, scheme, {})
    except PluginNotFoundError as error:
        # The loader may have its own way to it.
        found = f"not looked at: {error.message}"
        return _check(location, "warning", found, "image", error.hint)
    except CheckmaiteError as error:
        first = explain_storage(error)
    except Exception as error:  # of any library under the connector: reported
        first = explain_storage(error)
    if store_options:
        try:
            _object(location, scheme, store_options)
        except Exception:  # no better: what was found first is reported
            return _check(location, "error", first.found, first.mender, first.remedy)
        found = "can be read with the analytics store's storage_options only, which a loader does not get"
        remedy = "give the workers the same by variables (runtime_env, or in the image), or let the loader bring it"
        return _check(location, "warning", found, "client", remedy)
    return _check(location, "error", first.found, first.mender, first.remedy)


def _object(location: str, scheme: str, options: Mapping[str, Any]) -> Check:
    """Look for an object of this name, or for objects below it.

    Raises:
        CheckmaiteError: It cannot be asked.
    """
    connector = load_plugin(STORAGE, scheme)
    above, _, name = location.rstrip("/").rpartition("/")
    if above.endswith("/"):  # a whole bucket
        entry = next(iter(connector(location, dict(options)).list()), None)
        return _check(location, "ok", "can be listed" if entry else "can be listed, and is empty")
    store = connector(above, dict(options))
    path = store.path(name)
    try:
        # One or two requests, where a listing of what lies below may take thousands.
        info = store.filesystem.info(path)
        if info["type"] == "directory":
            return _check(location, "ok", "objects lie below it, and can be listed")
        store.filesystem.cat_file(path, start=0, end=1)
    except Exception:  # the connector's own way says the same in its own errors, without secrets
        return _by_connector(store, location, name)
    return _check(location, "ok", f"can be read ({size_text(info['size'])})")


def _by_connector(store: Any, location: str, name: str) -> Check:
    if any(info.key == name for info in store.list(name)):
        store.get(name)
    elif next(iter(store.list(f"{name}/")), None) is None:
        return _check(location, "error", "nothing is there", "client", "check the location")
    return _check(location, "ok", "can be read")


def _check(location: str, level: CheckLevel, found: str, mender: Mender = "", remedy: str = "") -> Check:
    return Check(section="inputs", subject=shown(location), level=level, found=found, mender=mender, remedy=remedy)
