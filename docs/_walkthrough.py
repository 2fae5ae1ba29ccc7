"""Makes a page of the walkthrough notebook when the site is built, and has links to the notebook lead to the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

NOTEBOOK = "walkthrough.ipynb"
PAGE = "walkthrough.md"
_LINK = re.compile(rf"(\]\((?:\.\./)*){re.escape(NOTEBOOK)}(?=[)#])")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the page beside the notebook, which stays as it is, to be downloaded."""
    source = (Path(config.docs_dir) / NOTEBOOK).read_text(encoding="utf-8")
    files.append(File.generated(config, PAGE, content=as_markdown(json.loads(source))))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """In the repository a link to the notebook shows it; on the site it has to lead to the page."""
    return markdown if page.file.src_uri == PAGE else _LINK.sub(rf"\1{PAGE}", markdown)


def as_markdown(notebook: dict[str, Any]) -> str:
    """The cells of a notebook and what they print, one after the other."""
    parts = [f"*This page is a notebook: [download it]({NOTEBOOK}).*"]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        if "fresh-kernel" in cell["metadata"].get("tags", ()):
            parts.append("*In a fresh kernel:*")
        parts.append(f"```python\n{source}\n```")
        printed = "".join("".join(output["text"]) for output in cell["outputs"])
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
    # The title stays first.
    title = parts.pop(1)
    return "\n\n".join([title, *parts]) + "\n"
