"""Addresses: what the option ``address`` leads to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from checkmaite_core.errors import ClusterUnreachableError, ConfigurationError

__all__ = ["Kind", "Target", "resolve"]


class Kind(StrEnum):
    """How a Ray is reached."""

    LOCAL = "local"
    """Started here; it ends with this process."""
    CLUSTER = "cluster"
    """A running one, directly, through its GCS port."""
    CLIENT = "client"
    """A running one through its client port, ``ray://``."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect.

    Attributes:
        kind: How.
        host: Name or number of the machine; empty for a local Ray.
        port: TCP port; 0 for a local Ray.
        origin: What the user gave, for messages.
    """

    kind: Kind
    host: str
    port: int
    origin: str

    @property
    def address(self) -> str:
        """What Ray is given."""
        if self.kind is Kind.LOCAL:
            return "local"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ray://' if self.kind is Kind.CLIENT else ''}{host}:{self.port}"

    def __str__(self) -> str:
        return self.address if self.origin == self.address else f"{self.address} ({self.origin})"


def resolve(address: str) -> Target:
    """Find out what an address leads to.

    Raises:
        ClusterUnreachableError: ``auto`` found no Ray.
        ConfigurationError: It is not an address.
    """
    if address != "auto":
        return _parse(address, address)
    variable = os.environ.get("RAY_ADDRESS", "")
    if variable:
        return _parse(variable, "from RAY_ADDRESS")
    from ray._private.services import get_ray_address_from_environment

    try:
        # Ray's own search, so that we mean the same Ray as `ray status`: its file of the latest cluster, then
        # the processes of this machine.
        found = get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise ClusterUnreachableError(
            "address='auto' found no running Ray: RAY_ADDRESS is not set, and none runs on this machine.",
            hint="Start one with `ray start --head`, give its address='host:6379', or use address='local'.",
        ) from error
    return _parse(found, "the latest Ray of this machine")


def _parse(text: str, origin: str) -> Target:
    if text == "local":
        return Target(Kind.LOCAL, "", 0, origin)
    scheme, separator, rest = text.rpartition("://")
    host, _, port = rest.rpartition(":")
    if not separator or scheme == "ray":
        kind = Kind.CLIENT if separator else Kind.CLUSTER
        if kind is Kind.CLIENT and not host and rest:
            host, port = rest, "10001"
        if host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return Target(kind, host.strip("[]"), int(port), origin)
    raise ConfigurationError(
        f"{text!r} ({origin}) is not the address of a Ray."
        if origin != text
        else f"{text!r} is not an address of Ray.",
        hint="Use 'local', 'auto', 'host:6379' (the cluster's GCS port) or 'ray://host:10001' (its client port).",
    )
