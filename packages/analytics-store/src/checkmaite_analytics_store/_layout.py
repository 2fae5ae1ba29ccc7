"""Where everything lies: the keys below the store's location."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from checkmaite_core.errors import RunContractError
from checkmaite_core.naming import check_event_id, check_probe_token

__all__ = [
    "FORMAT_KEY",
    "FORMAT_VERSION",
    "INBOX",
    "INDEX",
    "LEDGERS",
    "MANIFESTS",
    "PROBES",
    "REFERENCES",
    "REPORTS",
    "RUNS",
    "SCHEMAS",
    "STAGED",
    "TABLES",
    "column_of_key",
    "event_of_key",
    "event_of_staged",
    "inbox_key",
    "index_key",
    "is_fold_file",
    "is_probe",
    "manifest_key",
    "manifest_number",
    "probe_key",
    "schema_key",
    "staged_key",
    "table_key",
]

FORMAT_VERSION = 1
FORMAT_KEY = "store.json"
INBOX = "inbox/"
TABLES = "tables/"
MANIFESTS = "manifests/"
INDEX = "index/"
SCHEMAS = "schemas/"
REPORTS = "reports/"
STAGED = "staged/"
"""Outputs of runs that are not committed yet, to be committed without running them again."""
LEDGERS = "jobs/"
"""The ledgers of job backends, which may be there before the first result is. Not the store's; it leaves them alone."""
PROBES = "probes/"
"""Left by those who made sure that the location can hold a store, and may not delete or went away."""

RUNS = "runs"
"""The table with one row per event."""
REFERENCES = "_references"
"""Not a table for queries: the reference of every folded event, as JSON. No record's table can have this name."""

_MANIFEST = re.compile(r"manifests/v([0-9]{10,15})\.json\Z")


_FOLD_FILE = re.compile(
    r"(tables/[a-z_][a-z0-9_]*/[0-9]{10,15}-[0-9a-f]{32}-[0-9]+\.parquet|index/[0-9]{10,15}-[0-9a-f]{32}\.txt)\Z"
)
_PROBE = re.compile(r"probes/[0-9a-f]{32}\Z")


def inbox_key(event_id: str) -> str:
    """Key of an event's bundle or marker."""
    return f"{INBOX}{check_event_id(event_id)}.run"


def event_of_key(key: str) -> str | None:
    """The event of an inbox object, or None if the object is not one of ours."""
    name = key.removeprefix(INBOX)
    if name == key or not name.endswith(".run"):
        return None
    try:
        return check_event_id(name.removesuffix(".run"))
    except RunContractError:
        return None


def staged_key(event_id: str) -> str:
    """Key of an event's staged outputs."""
    return f"{STAGED}{check_event_id(event_id)}.bin"


def event_of_staged(key: str) -> str | None:
    """The event of staged outputs, or None if the object is not one of ours."""
    name = key.removeprefix(STAGED)
    if name == key or not name.endswith(".bin"):
        return None
    try:
        return check_event_id(name.removesuffix(".bin"))
    except RunContractError:
        return None


def manifest_key(number: int) -> str:
    """Key of a manifest."""
    return f"{MANIFESTS}v{number:010d}.json"


def manifest_number(key: str) -> int | None:
    """The number in a manifest's key, or None if the object is not one of ours."""
    match = _MANIFEST.match(key)
    return int(match[1]) if match else None


def table_key(table: str, fold: str) -> str:
    """Key of the file that a fold writes for a table."""
    return f"{TABLES}{table}/{fold}.parquet"


def index_key(fold: str) -> str:
    """Key of the index segment that a fold writes."""
    return f"{INDEX}{fold}.txt"


def is_fold_file(key: str) -> bool:
    """Whether it is the key of a file or an index segment that a fold has written."""
    return _FOLD_FILE.match(key) is not None


def probe_key(token: str) -> str:
    """Key of the probe that is left under a token."""
    return f"{PROBES}{check_probe_token(token)}"


def is_probe(key: str) -> bool:
    """Whether it is the key of a probe object."""
    return _PROBE.match(key) is not None


def schema_key(table: str, column: str) -> str:
    """Key of a column's registration; the column is percent-encoded, as it may be any Python identifier."""
    return f"{SCHEMAS}{table}/{quote(column, safe='')}.json"


def column_of_key(key: str) -> tuple[str, str] | None:
    """Table and column of a registration's key, or None if the object is not one of ours."""
    parts = key.split("/")
    if len(parts) != 3 or not parts[2].endswith(".json"):
        return None
    return parts[1], unquote(parts[2].removesuffix(".json"))
