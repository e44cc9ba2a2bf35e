"""What the client imports: little of the daemon, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pbmon_client

PACKAGE = Path(pbmon_client.__file__).parent


def imports() -> Iterator[tuple[str, str]]:
    """Yield (file, module) for each import, at whatever place in the file."""
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative import"
                module = node.module or ""
                yield name, module
                yield from ((name, f"{module}.{alias.name}") for alias in node.names)


def test_of_the_daemon_only_the_wire_is_imported() -> None:
    daemons = {module for _name, module in imports() if module.split(".")[0] == "pbmond"}
    assert {".".join(module.split(".")[:2]) for module in daemons} <= {"pbmond", "pbmond.wire"}
    names = {module for module in daemons if module.count(".") == 1}
    assert names == {"pbmond.wire"}


@pytest.mark.parametrize(("module", "owner"), [("zmq", "subscription.py"), ("lark", "filters.py")])
def test_each_outside_dependency_has_one_module(module: str, owner: str) -> None:
    assert {name for name, used in imports() if used.split(".")[0] == module} == {owner}


def loaded(code: str) -> set[str]:
    """Return the modules that an interpreter has loaded after running ``code``."""
    script = f"import sys\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_starting_loads_nothing_that_only_an_option_needs() -> None:
    modules = loaded("from pbmon_client import cli, options, jsonout\noptions.parse(['--json'])")
    heavy = {"lark", "urwid", "numpy", "asyncio", "difflib", "importlib.metadata", "csv"}
    assert not heavy & modules
    assert "zmq" in modules


def test_a_filter_loads_its_parser() -> None:
    assert "lark" in loaded("from pbmon_client import options\noptions.parse(['--filter','pid=1'])")
