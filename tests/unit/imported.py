"""Which modules a package's files import, and which an interpreter has loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def imports(package: Path) -> tuple[tuple[str, str], ...]:
    """Return (file, module) for each import below ``package``, at whatever place in the file."""
    return tuple(_imports(package))


def _imports(package: Path) -> Iterator[tuple[str, str]]:
    for path in package.rglob("*.py"):
        name = str(path.relative_to(package))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative import"
                module = node.module or ""
                yield name, module
                yield from ((name, f"{module}.{alias.name}") for alias in node.names)


def loaded(package: Path, code: str) -> set[str]:
    """Return the modules that an interpreter has loaded after running ``code`` beside a package."""
    script = f"import sys\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())
