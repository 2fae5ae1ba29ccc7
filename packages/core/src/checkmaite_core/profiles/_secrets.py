"""Tell what is a secret in a profile, as far as it can be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from checkmaite_core.profiles._lines import KeyPath

__all__ = ["secrets_in"]

# The last words of a name that tell of a secret: AWS_SECRET_ACCESS_KEY, clientSecret, PGPASSWORD.
_NAME = re.compile(
    r"(?:password|passwd|passphrase|(?:^|_)(?:secret|signature|sas"
    r"|connection_string|(?:secret|access|account|shared|api|private|storage|encryption)_key))$"
)
# Those after which there may also stand the file that holds it, or the name of a way to get one.
_NAME_OR_REFERENCE = re.compile(r"(?:^|_)(?:token|credential)$")
_REFERENCE = re.compile(r"[/~.]\S*|[A-Za-z]:\\.*|.*\.json|google_default|cloud|cache|anon", re.DOTALL)
# s3fs calls the two halves of a pair key and secret.
_NAME_IN_STORAGE = re.compile(r"^(?:key|username)$")
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

_VALUE = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@|https?://[^/\s@]+@"  # user:password@host, TOKEN@host
    r"|[?&](?:sig|signature|token|x-amz-signature|x-goog-signature)="
    r"|\b(?:accountkey|sharedaccesskey|sharedaccesssignature)="
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?-i:(?:AKIA|ASIA)[A-Z0-9]{16})\b"
    r"|\b(?:ghp_|github_pat_|glpat-|hf_|xox[abp]-)[A-Za-z0-9_-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.",
    re.IGNORECASE,
)


def secrets_in(table: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Where in a table there are secrets.

    Args:
        table: What ``tomllib`` made of it.
    """
    yield from _walk(table, ())


def _walk(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _walk(item, (*path, position))
    elif isinstance(value, str) and (_VALUE.search(value) or _is_named_as_a_secret(value, path)):
        yield path


def _is_named_as_a_secret(value: str, path: KeyPath) -> bool:
    name = "_".join(_WORD_ENDS.split(next((key for key in reversed(path) if isinstance(key, str)), ""))).lower()
    if _NAME_OR_REFERENCE.search(name):
        return bool(value) and not _REFERENCE.fullmatch(value)
    return bool(value and (_NAME.search(name) or ("storage_options" in path and _NAME_IN_STORAGE.search(name))))
