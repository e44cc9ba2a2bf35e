"""The client's package has the daemon's modules that the client imports, and no others."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_IMPORT = re.compile(r"^\s*(?:from (pbmond[\w.]*) import (.+)|import (pbmond[\w.]*))", re.MULTILINE)


def imports(file: Path) -> set[str]:
    """The files of pbmond that a file imports, at its top or later."""
    found = set()
    for package, names, module in _IMPORT.findall(file.read_text()):
        first = re.findall(r"\w+", names)
        inner = [f"{package}.{name}" for name in first] if package else [module]
        for dotted in (*inner, package or module):
            path = Path(dotted.replace(".", "/")).with_suffix(".py")
            if (ROOT / path).exists():
                found.add(str(path))
    return found


def needed() -> set[str]:
    """All that the client imports of pbmond, and what that imports."""
    waiting = sorted((ROOT / "pbmon_client").rglob("*.py"))
    found = {"pbmond/__init__.py", "pbmond/py.typed"}
    while waiting:
        new = imports(waiting.pop()) - found
        found |= new
        waiting += [ROOT / path for path in new]
    return found


def test_both_packages_of_the_client_have_what_it_imports_of_the_daemon() -> None:
    listed = (ROOT / "packaging/debian/pbmon-client.install").read_text()
    spec = (ROOT / "packaging/rpm/pbmon.spec").read_text()
    place = r"^{}/pbmon/(pbmond/\S+)$"
    debian = set(re.findall(place.format("usr/share"), listed, re.MULTILINE))
    client = spec.partition("%files -n pbmon-client")[2]
    rpm = set(re.findall(place.format(r"%\{_datadir\}"), client, re.MULTILINE))
    excluded = set(re.findall(r"^%exclude %\{_datadir\}/pbmon/(\S+)$", spec, re.MULTILINE))
    assert "pbmond/bounds.py" in needed()
    assert debian == needed()
    assert rpm == needed()
    assert excluded == needed()
