#!/usr/bin/python3
"""What the packages say of a version: its number, and its part of CHANGELOG.md, in their formats.

    changes.py version          the version, from pbmond/__init__.py
    changes.py debian           debian/changelog
    changes.py rpm              the %changelog of the spec
    changes.py notes            the section of the version, as it is
    changes.py check TAG        fails unless TAG is the version's, with a section in CHANGELOG.md

Standard library only: it runs where the packages are built.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final

MAINTAINER: Final = "pbmon maintainers <maintainers@pbmon.example.org>"
_PACKAGING: Final = Path(__file__).resolve().parent
_CHANGELOG: Final = _PACKAGING / "CHANGELOG.md"
_VERSION: Final = _PACKAGING.parent / "pbmond" / "__init__.py"
_UNRELEASED: Final = "Unreleased"


class ChangesError(Exception):
    """The version or the change log is not as it must be; the message is one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """What changed in a version. ``when``: seconds since 1970; ``text``: Markdown."""

    version: str
    when: int
    text: str
    is_released: bool


def version() -> str:
    """Return the version, which is written in one place only."""
    found = re.search(r'^__version__ = "([^"]+)"$', _VERSION.read_text(), re.MULTILINE)
    if found is None:
        raise ChangesError(f"{_VERSION}: no __version__")
    return found[1]


def section(text: str, of: str, now: int) -> Section:
    """Return the section of a version in the text of CHANGELOG.md.

    Its heading is ``## 1.2.3 - 2026-01-31``. Until there is one, ``## Unreleased`` stands for it,
    with the time ``now``.
    """
    parts = re.split(r"^## +(.+)\n", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    for heading, body in found.items():
        if match := re.fullmatch(rf"{re.escape(of)} - (\d{{4}}-\d\d-\d\d)", heading.strip()):
            when = time.strptime(f"{match[1]} 12:00 +0000", "%Y-%m-%d %H:%M %z")
            return Section(of, _seconds(when), body.strip(), is_released=True)
    if _UNRELEASED not in found:
        raise ChangesError(f"CHANGELOG.md: neither {of} - YYYY-MM-DD nor {_UNRELEASED}")
    return Section(of, now, found[_UNRELEASED].strip(), is_released=False)


def _seconds(when: time.struct_time) -> int:
    return int(time.mktime(when)) - time.timezone


def items(text: str) -> list[str]:
    """Return each item of a section as one line without Markdown's links and code marks."""
    kind, found = "", []
    for block in re.split(r"\n(?=- |### )|\n\n+", text):
        if block.startswith("### "):
            kind = block.removeprefix("### ").strip()
        elif block.startswith("- "):
            plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", block[2:]).replace("`", "")
            found.append(f"{kind}: {' '.join(plain.split())}" if kind else " ".join(plain.split()))
    return found


def debian(changed: Section) -> str:
    """Return debian/changelog."""
    wrapped = [
        textwrap.fill(item, 76, initial_indent="  * ", subsequent_indent="    ",
                      break_long_words=False, break_on_hyphens=False)
        for item in items(changed.text)
    ]  # fmt: skip
    return "\n".join(
        [
            f"pbmon ({changed.version}) unstable; urgency=medium\n",
            *wrapped,
            f"\n -- {MAINTAINER}  {formatdate(changed.when)}\n",
        ]
    )


def rpm(changed: Section) -> str:
    """Return the lines below %changelog."""
    day = time.strftime("%a %b %d %Y", time.gmtime(changed.when))
    wrapped = [
        textwrap.fill(item.replace("%", "%%"), 78, initial_indent="- ", subsequent_indent="  ",
                      break_long_words=False, break_on_hyphens=False)
        for item in items(changed.text)
    ]  # fmt: skip
    return "\n".join([f"* {day} {MAINTAINER} - {changed.version}-1", *wrapped, ""])


def check(tag: str, changed: Section) -> None:
    """Raise ChangesError unless the tag is the version's, and the change log has its section."""
    if tag != f"v{changed.version}":
        raise ChangesError(f"the tag is {tag}, but pbmond/__init__.py says {changed.version}")
    if not changed.is_released:
        raise ChangesError(f"CHANGELOG.md has no section {changed.version} - YYYY-MM-DD")


def main(arguments: list[str]) -> int:
    """Print what is asked for; return the exit status: 0, 1 not as it must be, 2 usage."""
    now = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    try:
        changed = section(_CHANGELOG.read_text(encoding="utf-8"), version(), now)
        match arguments:
            case ["version"]:
                sys.stdout.write(f"{changed.version}\n")
            case ["debian"]:
                sys.stdout.write(debian(changed))
            case ["rpm"]:
                sys.stdout.write(rpm(changed))
            case ["notes"]:
                sys.stdout.write(f"{changed.text}\n")
            case ["check", tag]:
                check(tag, changed)
            case _:
                sys.stderr.write("usage: changes.py version|debian|rpm|notes|check TAG\n")
                return 2
    except ChangesError as error:
        sys.stderr.write(f"changes.py: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
