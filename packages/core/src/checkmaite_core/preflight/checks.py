"""What preflight finds: one line for each thing it looked at."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Check", "CheckLevel", "Mender", "Section"]

Section = Literal["cluster", "code", "inputs", "store", "resources", "control plane"]
"""What a check is about, in the order in which a report shows them."""

CheckLevel = Literal["ok", "note", "warning", "error"]
"""``error``: jobs would fail or never start. ``warning``: they may. ``note``: worth knowing, or not looked at."""

Mender = Literal["", "client", "image", "cluster", "storage", "checkmaite"]
"""Who mends it: the person who submits (``client``), whoever builds the workers' image (``image``), runs the cluster
(``cluster``), keeps the storage and its permissions (``storage``), or maintains checkmaite, which has a defect
(``checkmaite``); empty where there is nothing to mend."""


class Check(BaseModel):
    """One thing that was looked at, and what was found. Holds no secret: it is printed and sent as JSON.

    Attributes:
        section: What it is about.
        subject: What was looked at, such as a node, a location or a job's name.
        level: Whether it is in order.
        node: Name of the node where it was looked at, ``"client"`` for this process, or empty.
        found: What was found, in a sentence.
        mender: Who mends it. Every warning and error has one.
        remedy: What to do, or to type. Every warning and error has one.
    """

    model_config = ConfigDict(frozen=True)

    section: Section
    subject: str
    level: CheckLevel
    node: str = ""
    found: str
    mender: Mender = ""
    remedy: str = ""
