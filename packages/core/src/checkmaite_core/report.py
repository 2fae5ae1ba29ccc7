"""Reports: what a run has to say to a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from checkmaite_core._cells import NotExactError, check_unicode
from checkmaite_core.errors import RunContractError
from checkmaite_core.evolving import Evolving

__all__ = ["INLINE_REPORT_LIMIT", "ArtifactReport", "InlineTextReport", "Report", "as_report"]

INLINE_REPORT_LIMIT = 256 * 1024
"""Bytes (UTF-8) up to which a report travels inside the run's reference; a larger one becomes an artifact."""

_Text = Annotated[str, Field(min_length=1)]


class InlineTextReport(Evolving):
    """A report small enough to travel with the reference.

    Attributes:
        media_type: Such as ``text/markdown``.
        filename: A name to save it under.
        content: The text.
    """

    kind: Literal["inline_text"] = "inline_text"
    media_type: _Text = "text/markdown"
    filename: _Text = "report.md"
    content: str


class ArtifactReport(Evolving):
    """A report kept as an object of its own.

    Attributes:
        media_type: Such as ``text/markdown``.
        filename: A name to save it under.
        uri: Where it lies: a key relative to the analytics store, or a full URI if the capability put it there.
        size: Bytes, where known.
        sha256: Digest of the bytes in hex, where known.
    """

    kind: Literal["artifact"] = "artifact"
    media_type: _Text
    filename: _Text
    uri: _Text
    size: int | None = None
    sha256: str | None = None


Report = InlineTextReport | ArtifactReport

_ADAPTER: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def as_report(value: Any) -> Report | None:
    """Turn what ``collect_md_report`` returned into one of our reports.

    Args:
        value: ``None``, Markdown text, one of our reports, or any object with the fields of one.

    Raises:
        RunContractError: It is none of these.
    """
    if value is None:
        return None
    report = value if isinstance(value, InlineTextReport | ArtifactReport) else _converted(value)
    for name, text in report.model_dump(exclude={"kind", "size"}).items():
        if isinstance(text, str):
            try:
                check_unicode(text)
            except NotExactError as error:
                what = "the text" if name == "content" else name
                raise RunContractError(f"{what} of the report cannot be stored: {error.why}", hint=error.hint) from None
    return report


def _converted(value: Any) -> Report:
    if isinstance(value, str):
        return InlineTextReport(content=value)
    fields = {
        name: getattr(value, name)
        for name in ("kind", "media_type", "filename", "content", "uri")
        if hasattr(value, name)
    }
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        raise RunContractError(
            f"collect_md_report() returned a {type(value).__qualname__}, which is not a report: "
            f"{error.errors()[0]['msg']}.",
            hint="Return Markdown text, an InlineTextReport or an ArtifactReport, or raise NotImplementedError.",
        ) from error
