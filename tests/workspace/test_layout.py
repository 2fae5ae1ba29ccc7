"""What lies where, and that it stays small and free of this machine."""

from __future__ import annotations

import io
import re
import tokenize
import tomllib
from pathlib import Path

TOP_LEVEL = {
    "packages",
    "tests",
    "docs",
    "noxfile.py",
    "pyproject.toml",
    "uv.lock",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
}
PACKAGES = {"core", "storage", "ledger", "analytics-store", "ray-simple", "ray", "capabilities", "cli"}
MAX_LINES = 500
PUBLIC_INDEX = {"pypi.org", "files.pythonhosted.org"}

# Any way of naming a package index, in the words of uv, pip, poetry and the environment.
INDEX = re.compile(
    r"\[\[tool\.uv\.index\]\]|\[\[tool\.poetry\.source\]\]|\b(?:UV|PIP)_[A-Z_]*(?:INDEX|FIND_LINKS)[A-Z_]*\s*[=:]"
    r"|--(?:extra-|default-)?index(?:-url)?[ =]|^\s*(?:extra-|default-)?index-url\s*="
    r"|^\s*find-links\s*=|/simple/?[\"'\s]",
    re.MULTILINE,
)


def test_the_top_level_holds_what_the_layout_names(repository_files: list[Path]) -> None:
    top = {path.parts[0] for path in repository_files}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def test_the_workspace_holds_these_packages(root: Path) -> None:
    assert {path.parent.name for path in root.glob("packages/*/pyproject.toml")} == PACKAGES


def test_the_licence_is_apache_2(root: Path) -> None:
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_lock_names_the_public_index_only(root: Path) -> None:
    text = (root / "uv.lock").read_text()
    assert set(re.findall(r"https?://([^/\"\s]+)", text)) == PUBLIC_INDEX
    sources = {tuple(package["source"]) for package in tomllib.loads(text)["package"]}
    assert sources == {("registry",), ("editable",), ("virtual",)}


def test_no_other_file_names_an_index(root: Path, repository_files: list[Path]) -> None:
    named = [
        f"{path}: {match.group().strip()}"
        for path in repository_files
        if path.name != "uv.lock" and path != Path(__file__).relative_to(root)
        for match in INDEX.finditer((root / path).read_text(errors="replace"))
    ]
    assert named == []


def test_the_index_pattern_recognises_each_way_of_naming_one() -> None:
    for text in (
        "[[tool.uv.index]]",
        "UV_INDEX_URL=x",
        "export PIP_FIND_LINKS=/opt/wheels",
        "uv pip install --index-url x",
        "pip install --extra-index-url=x",
        "extra-index-url = x",
        "find-links = ['/opt/wheels']",
        'url = "https://pypi.example/simple"',
    ):
        assert INDEX.search(text), text


def test_files_of_code_and_prose_stay_readable(root: Path, repository_files: list[Path]) -> None:
    long = {
        str(path): lines
        for path in repository_files
        if path.suffix in {".py", ".md", ".toml"}
        if (lines := len((root / path).read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_a_blind_except_says_why_on_its_line(root: Path, repository_files: list[Path]) -> None:
    unexplained = [
        f"{path}:{line}"
        for path in repository_files
        if path.suffix == ".py"
        for line in _unexplained_excepts((root / path).read_text())
    ]
    assert unexplained == []


def test_an_unexplained_except_is_found() -> None:
    source = """\
try:
    pass
except (ValueError, Exception) as error:
    pass
except BaseException:  # why
    pass
except:
    pass
"""
    assert _unexplained_excepts(source) == [3, 7]


def _unexplained_excepts(source: str) -> list[int]:
    """Lines with ``except Exception``, ``except BaseException`` or a bare ``except``, and no comment."""
    blind: set[int] = set()
    commented: set[int] = set()
    in_clause: list[tokenize.TokenInfo] | None = None
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            commented.add(token.start[0])
        elif token.type == tokenize.NAME and token.string == "except":
            in_clause, depth = [token], 0
        elif in_clause is not None:
            depth += {"(": 1, ")": -1}.get(token.string, 0)
            if token.string == ":" and depth == 0:
                names = {part.string for part in in_clause[1:]}
                if not names or names & {"Exception", "BaseException"}:
                    blind.add(in_clause[0].start[0])
                in_clause = None
            else:
                in_clause.append(token)
    return sorted(blind - commented)
