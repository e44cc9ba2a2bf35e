"""Whose a uid is: the subordinate uids of a user (subuid(5)), often 65,536, count as one user's.

Anybody may become each of theirs in a user namespace (newuidmap(1)), and would have as many shares.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Final

_FILE: Final = Path("/etc/subuid")
_MOST_BYTES: Final = 1 << 20


class Subordinates:
    """The ranges of uids in a file of lines ``NAME:FIRST:COUNT``; none if it cannot be read."""

    def __init__(self, file: Path = _FILE) -> None:
        self._ranges: list[tuple[int, int, int]] = []  # first, last, account
        accounts: dict[bytes, int] = {}
        for line in _read(file).splitlines():
            name, *numbers = line.split(b":")
            if len(numbers) == 2 and all(map(bytes.isdigit, numbers)):
                first, count = map(int, numbers)
                account = accounts.setdefault(name, first)
                self._ranges.append((first, first + count - 1, account))
        self._ranges.sort()

    def account(self, uid: int) -> int:
        """Return the number under which a uid is counted: its own, or one of its user's range."""
        place = bisect_right(self._ranges, uid, key=lambda each: each[0])
        if place:
            _, last, account = self._ranges[place - 1]
            if uid <= last:
                return account
        return uid


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError:
        return b""
