"""Functions under 40 lines, files of 400 at most, so that each can be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for package in ("pbmond", "pbmon_client") for path in (ROOT / package).rglob("*.py")]
OTHERS = [
    *(ROOT / "bpf").glob("*.[ch]"),
    *(ROOT / "pbmon_client" / "web" / "page" / "src").rglob("*.ts*"),
]


def lengths(text: str) -> dict[str, int]:
    """Return the number of lines of each function in a module's text."""
    return {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    assert {name: lines for name, lines in lengths(text).items() if lines >= 40} == {}


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_in_other_languages_are_short(path: Path) -> None:
    assert path.read_text().count("\n") <= 400


def test_the_lines_of_a_function_are_counted() -> None:
    assert lengths("def one():\n    pass\n\n\nclass A:\n    def two(self):\n        return (\n"
                   "            1\n        )\n") == {"one": 2, "two": 4}  # fmt: skip
