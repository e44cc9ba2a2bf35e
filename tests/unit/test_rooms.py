"""Each room imports exactly what its ``__init__`` says, and offers exactly what others import."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from imported import imports

ROOT = Path(__file__).parents[2]
PACKAGES = ("pbmond", "pbmon_client")
ROOMS = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("__init__.py")
    if path.parent.name != package and "workloads" not in path.parts
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def edges() -> Iterator[tuple[str, str]]:
    """Yield (importing module, imported module) for every import in both packages."""
    for package in PACKAGES:
        for file, name in imports(ROOT / package):
            if name.split(".")[0] not in PACKAGES:
                yield module_of(ROOT / package / file), name.split(".")[0]
            elif is_module(name):
                yield module_of(ROOT / package / file), name


def room_of(module: str) -> str:
    """Return the innermost room that a module is in; a module at the top is its own."""
    inside = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    return max(inside, key=len, default=module)


def said(room: str, word: str) -> set[str]:
    """Return the list behind ``word`` in the docstring of a room's ``__init__``."""
    path = ROOT.joinpath(*room.split("."), "__init__.py")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    found = re.search(rf"^{word}: ([^.]*(?:\.\w[^.]*)*)\.$", text, re.MULTILINE)
    assert found, f"{path}: no line {word}"
    return set(re.split(r",\s+", found[1])) - {"nothing"}


EDGES = sorted({*edges()})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_exactly_what_it_says(room: str) -> None:
    used = {
        target if target.split(".")[0] not in PACKAGES else room_of(target)
        for source, target in EDGES
        if room_of(source) == room and target not in PACKAGES
    }
    assert used - {room} - sys.stdlib_module_names == said(room, "Imports")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_exactly_what_others_import(room: str) -> None:
    used = {
        target.removeprefix(f"{room}.")
        for source, target in EDGES
        if room_of(target) == room and room_of(source) != room and target != room
    }
    assert used == said(room, "Offers")


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for source, target in EDGES:
        if source != target and target not in PACKAGES:
            graph.setdefault(source, set()).add(target)
    TopologicalSorter(graph).prepare()


def test_what_is_presented_or_printed_knows_no_terminal() -> None:
    for room in ("pbmon_client.present", "pbmon_client.data", "pbmon_client.output"):
        assert not {name for name in said(room, "Imports") if "tui" in name}


def defined_types(path: Path) -> Iterator[str]:
    """Yield the names of the classes and type aliases that a module defines, without underscore."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and re.match(r"_?[A-Z]\w*[a-z]", target.id):
                    yield target.id.lstrip("_")


def test_the_name_of_a_type_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in defined_types(path):
                places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 200
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
