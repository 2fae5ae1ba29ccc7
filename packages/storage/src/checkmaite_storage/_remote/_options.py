"""``storage_options``: which are known, and which values must not be shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from checkmaite_core.errors import UnknownOptionError

__all__ = ["OptionTable", "check_option_names", "scrub", "secret_values"]

_HIDDEN = "***"
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_SIGNED = re.compile(
    r"(?i)\b(sig|se|sv|skoid|token|signature|accountkey|sharedaccesssignature|x-(?:amz|goog)-(?:signature|credential|"
    r"security-token)|access_token)=[^&;\s\"'<>]+"
)


@dataclass(frozen=True, slots=True)
class OptionTable:
    """All options that people may try: each takes effect on every request that it concerns, or is refused by name.

    A test has one case for each accepted option, and sees its effect in what is sent.

    Attributes:
        accepted: What each does.
        refused: Of options that the library below has and that would change nothing here: what to do instead.
        ways: Options of which one alone counts, such as kinds of credentials: those of one set go together.
    """

    accepted: Mapping[str, str]
    refused: Mapping[str, str]
    ways: Sequence[frozenset[str]] = ()

    def check(self, given: Mapping[str, object], where: str = "storage_options") -> None:
        """Refuse what would not take effect.

        Args:
            given: The options; whether one is set is looked at, and no value shown.
            where: What they are called in the message, such as ``storage_options['client_kwargs']``.

        Raises:
            UnknownOptionError: It names the option, and says what to do.
        """
        for name in given:
            if name in self.refused:
                raise UnknownOptionError(f"{where} has no option {name!r}.", hint=self.refused[name])
        check_option_names(given, self.accepted, where)
        set_here = {name for name, value in given.items() if value not in (None, False, "")}
        chosen = [sorted(set_here & way) for way in self.ways if set_here & way]
        if len(chosen) > 1:
            first, second = chosen[0][0], chosen[1][0]
            raise UnknownOptionError(
                f"{where} has {first!r} and {second!r}, of which one would be ignored.",
                hint="Leave one of them out.",
            )


def check_option_names(names: Collection[str], known: Collection[str], where: str = "storage_options") -> None:
    """Refuse an option that the connector does not have; values are not looked at.

    Args:
        names: What was given.
        known: What there is.
        where: What they are called in the message, such as ``storage_options['client_kwargs']``.

    Raises:
        UnknownOptionError: It names the first unknown one and those that are known.
    """
    unknown = sorted(str(name) for name in names if name not in known)
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], known, n=1)
    raise UnknownOptionError(
        f"{where} has no option {unknown[0]!r}.",
        hint=(f"Did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(sorted(known))}.",
    )


def secret_values(options: Mapping[str, object], public: Collection[str] = ()) -> frozenset[str]:
    """All texts in ``options``, at any depth, but those of the names in ``public``.

    Texts of fewer than four characters are left out: to hide them would spoil every message and they are no secret.
    """
    return frozenset(text for text in _texts(options, public) if len(text) >= 4)


def _texts(value: object, public: Collection[str]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, Mapping):
        for name, below in value.items():
            if name not in public:
                yield from _texts(below, public)
    elif isinstance(value, list | tuple | set | frozenset):
        for below in value:
            yield from _texts(below, public)


def scrub(text: str, secrets: Collection[str]) -> str:
    """``text`` in one line of at most 400 characters, without the secrets or what looks like one in a URL."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _CREDENTIALS_IN_URL.sub(f"{_HIDDEN}@", text)
    text = _SIGNED.sub(rf"\1={_HIDDEN}", text)
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:399] + "…"
