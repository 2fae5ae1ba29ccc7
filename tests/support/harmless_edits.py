"""Edits of projects that change nothing of what their work finds."""

from __future__ import annotations

import os
from pathlib import Path

from planted_edits import CAPABILITY, MAKE, Edit

TEXT = '''"""A helper."""

import json
import math
import os


def value():
    """One."""
    return other("a") + math.floor(1.5)


def other(name, more=(1, 2)):  # type: ignore
    total = 0
    for each in more:
        if each:
            total += len(name) * each
        else:
            pass
    return total


class Shape:
    """A shape."""

    sides: int = 4

    def area(self):
        """Its area."""
        return self.sides
'''
TEXT_WORK = "from helper import value\n" + CAPABILITY + MAKE


def _harmless(text: str, **more: str) -> Edit:
    return Edit({"work.py": TEXT_WORK, "helper.py": TEXT, "unrelated.py": "N = 1\n"}, {"helper.py": text, **more})


_OTHER = TEXT[TEXT.index("def other") : TEXT.index("class Shape")]


def _touched(folder: Path, after: bool) -> None:
    if after:
        os.utime(folder / "helper.py")
        (folder / "__pycache__").mkdir(exist_ok=True)
        (folder / "__pycache__" / "more.cpython-311.pyc").write_bytes(b"x")


HARMLESS: dict[str, Edit] = {
    "a comment": _harmless(TEXT.replace("    total = 0\n", "    # From nothing.\n    total = 0  # yes\n")),
    "a docstring of a module": _harmless(TEXT.replace('"""A helper."""', '"""A very good helper."""')),
    "a docstring of a function": _harmless(TEXT.replace('    """One."""\n', "")),
    "a docstring of a class": _harmless(TEXT.replace('"""A shape."""', '"""A shape with sides."""')),
    "blank lines": _harmless(TEXT.replace("\n\n\n", "\n\n\n\n").replace("    for each", "\n    for each")),
    "ends of lines": _harmless(TEXT.replace("\n", "\r\n")),
    "the order of functions": _harmless(TEXT.replace(_OTHER, "").replace("def value", _OTHER + "def value")),
    "the order of imports": _harmless(
        TEXT.replace("import json\nimport math\nimport os", "import os\nimport json\nimport math")
    ),
    "a type comment": _harmless(TEXT.replace("# type: ignore", "# type: (str, tuple) -> int")),
    "formatting": _harmless(
        TEXT.replace('"a"', "'a'")
        .replace("(name, more=(1, 2))", "(\n    name,\n    more=(\n        1,\n        2,\n    ),\n)")
        .replace("        else:\n            pass\n", "        else: pass\n")
        .replace("return total", "return (total)")
    ),
    "an unrelated module": _harmless(TEXT, **{"unrelated.py": "N = 2\n"}),
    "a new file": _harmless(TEXT, **{"new.py": "N = 2\n", "notes.txt": "new"}),
    "times and bytecode": Edit({"work.py": TEXT_WORK, "helper.py": TEXT}, deed=_touched),
    "what an annotation of a local says": _harmless(TEXT.replace("    total = 0\n", "    total: int = 0\n")),
}
