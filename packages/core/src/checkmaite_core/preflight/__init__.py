"""Preflight: everything that a job needs, looked at on the real cluster before a job is started."""

from checkmaite_core.preflight.answering import answer
from checkmaite_core.preflight.checks import Check, CheckLevel, Mender, Section
from checkmaite_core.preflight.report import NodeKind, PreflightReport
from checkmaite_core.preflight.site import Answer, Question, Site, SiteNode

__all__ = [
    "Answer",
    "Check",
    "CheckLevel",
    "Mender",
    "NodeKind",
    "PreflightReport",
    "Question",
    "Section",
    "Site",
    "SiteNode",
    "answer",
]
