"""The runner of pages notices what it is there to notice."""

from __future__ import annotations

from collections.abc import Callable

import code_pages
import pytest

Run = Callable[[str], None]


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def run(text: str) -> None:
        folder = tmp_path_factory.mktemp("page")
        path = folder / "page.md"
        path.write_text(text)
        blocks = code_pages.blocks_of("page.md", text)
        result = code_pages.run_page(code_pages.script_of(blocks, path), folder, "page.md")
        assert result.returncode == 0, result.stdout
        code_pages.check_output(blocks, result.stdout)

    return run


def test_blocks_share_a_namespace_and_keep_their_order(run: Run) -> None:
    page = """\
```python
from pathlib import Path
Path("a.txt").write_text("one")
```
```bash
cat a.txt; echo " two" >> a.txt
```
<!-- output -->
```text
one
```
  ```python
  print(Path("a.txt").read_text())
  ```
<!-- output -->
```text
one ...
```
"""
    run(page)


def test_a_failing_block_fails_with_the_line_of_the_page(run: Run) -> None:
    with pytest.raises(AssertionError, match=r"line 5, in <module>"):
        run("# Title\n\nText.\n```python\n1 / 0\n```\n")


def test_a_failing_shell_command_fails_the_page(run: Run) -> None:
    with pytest.raises(AssertionError, match="CalledProcessError"):
        run("```bash\nfalse\ntrue\n```\n")


def test_other_output_than_the_page_shows_fails(run: Run) -> None:
    with pytest.raises(AssertionError, match="prints\n2"):
        run("```python\nprint(2)\n```\n<!-- output -->\n```text\n1\n```\n")


def test_an_announced_error_has_to_come(run: Run) -> None:
    run("<!-- fails here: ValueError: there is no number here -->\n```python\nint('x')\n```\n")
    with pytest.raises(AssertionError, match="was expected"):
        run("<!-- fails here: ValueError: there is no number here -->\n```python\nint('1')\n```\n")


def test_blocks_run_with_an_empty_home_and_folder(run: Run) -> None:
    run("```bash\nls -A ~ . | grep -v page.py\n```\n<!-- output -->\n```text\n.:\n\n/...home:\n```\n")


def test_an_unclosed_fence_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"page\.md, line 2"):
        code_pages.blocks_of("page.md", "text\n```python\n1\n")


def test_a_distribution_that_does_not_exist_is_noticed() -> None:
    code_pages.check_distributions('pip install "checkmaite-cli[demo]"', "page")
    with pytest.raises(AssertionError, match="checkmaite-nothing"):
        code_pages.check_distributions("pip install checkmaite-nothing", "page")
    with pytest.raises(AssertionError, match="extra"):
        code_pages.check_distributions('pip install "checkmaite-core[nothing]"', "page")
