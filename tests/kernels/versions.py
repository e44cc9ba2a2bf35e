"""Which build of Debian's kernel a series means: reads package lists and chooses builds.

Debian splits newer kernels into packages, and keeps old builds of backports without all of their
parts, so a build counts only if each part that it boots with can be had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: The newest build of Debian's sid, and the newest of all releases (backports may be ahead of sid).
SID, NEWEST = "sid", "newest"

_SERIES: Final = re.compile(r"(\d+)\.(\d+)")
#: linux-image-6.1.0-56-amd64 or linux-image-7.3.4+deb13-amd64: no meta packages.
_IMAGE: Final = re.compile(r"linux-image-(\d+\.\d+\.\d+(?:-\d[\w.]*)?(?:\+\w[\w.]*)?-(.+))")
#: linux-base-RELEASE, the third of the split packages, has the configuration only.
_PARTS: Final = ("linux-binary-", "linux-modules-")
_STANZAS: Final = tuple(f"Package: {name}" for name in ("linux-image-", *_PARTS))


class NoBuildError(Exception):
    """There is no build of what was asked for; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package in one suite; ``depends`` has the names before any alternative."""

    name: str
    version: str
    suite: str
    depends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel that can boot: ``release`` as in uname(2); ``packages`` as apt takes them."""

    release: str
    version: str
    suites: frozenset[str]
    packages: tuple[str, ...]

    @property
    def series(self) -> str:
        """Return the first two numbers, such as "6.1"."""
        return "{}.{}".format(*self.number)

    @property
    def number(self) -> tuple[int, int]:
        """Return the first two numbers, to be compared."""
        return series_number(self.release)


def series_number(text: str) -> tuple[int, int]:
    """Return the two numbers that ``text`` begins with; ValueError if it does not."""
    match = _SERIES.match(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]), int(match[2])


def is_series(text: str) -> bool:
    """Tell whether ``text`` names a series: "6.1", "sid" or "newest"."""
    return text in (SID, NEWEST) or _SERIES.fullmatch(text) is not None


def read_index(text: str, suite: str) -> Iterator[Package]:
    """Yield the kernels' packages of a suite's list (the file ``Packages``)."""
    for stanza in text.split("\n\n"):
        if not stanza.startswith(_STANZAS):
            continue
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        relations = fields.get("Depends", "").split(",")
        names = tuple(relation.split("|")[0].split()[0] for relation in relations if relation)
        yield Package(fields["Package"], fields["Version"], suite, names)


def builds(packages: Iterable[Package], flavour: str = "amd64") -> list[Build]:
    """Return every build of a flavour whose parts are all there, the oldest first."""
    suites: dict[tuple[str, str], set[str]] = {}
    depends: dict[tuple[str, str], tuple[str, ...]] = {}
    for package in packages:
        key = package.name, package.version
        suites.setdefault(key, set()).add(package.suite)
        depends[key] = package.depends
    found = []
    for (name, version), where in suites.items():
        image = _IMAGE.fullmatch(name)
        if image is None or image[2] != flavour:
            continue
        parts = [part for part in depends[name, version] if part.startswith(_PARTS)]
        if all((part, version) in suites for part in parts):
            wanted = tuple(f"{each}={version}" for each in (name, *parts))
            found.append(Build(image[1], version, frozenset(where), wanted))
    return sorted(found, key=lambda build: (build.number, version_key(build.version)))


def version_key(version: str) -> tuple[object, ...]:
    """Return what orders versions as Debian does ("1~bpo13" before "1" before "1+deb13")."""
    upstream, _, revision = version.rpartition("-")
    return _part_key(upstream), _part_key(revision)


def _part_key(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    # Letters before other characters, and "~" before the end of the text, which is a 0 here.
    return tuple(
        ((*map(_weight, others), 0), int(digits or 0))
        for others, digits in re.findall(r"(\D*)(\d*)", text)
    )


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def choose(series: str, known: Sequence[Build]) -> Build:
    """Return the newest build of a series, or of the nearest that has one (the newer of two).

    ``known``: as ``builds`` returns them. Raises NoBuildError where there is nothing to choose.
    """
    if series == SID:
        candidates = [build for build in known if SID in build.suites]
    elif series == NEWEST or not known:
        candidates = list(known)
    else:
        major, minor = series_number(series)
        nearest = min(
            (build.number for build in known),
            key=lambda n: (abs(n[0] - major), abs(n[1] - minor), -n[0], -n[1]),
        )
        candidates = [build for build in known if build.number == nearest]
    if not candidates:
        raise NoBuildError(f"{series}: Debian's lists have no kernel of it that can boot")
    return candidates[-1]
