"""The kernel's files of counters: interfaces, disks, TCP and IP, as text and parsed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SECTOR_BYTES: Final = 512  # whatever the disk has: Documentation/admin-guide/iostats.rst
_COUNT_DIGITS: Final = 20  # of the largest number of 64 bits; int() itself refuses 4,301
_CHUNK: Final = 1 << 16


class KernelFile:
    """A file of the kernel that stays open: opening it costs more than reading it."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._path = path
        self._fd: int | None = None

    def read(self) -> bytes | None:
        """Return the whole text. The kernel returns at most a page of a list at a time."""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY)
            text = b""
            while chunk := os.pread(self._fd, _CHUNK, len(text)):
                text += chunk
        except OSError:
            self.close()
            return None
        return text

    def close(self) -> None:
        """Close the file until the next read."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def parse_interfaces(text: bytes) -> dict[bytes, tuple[int, int, int, int]]:
    """Parse /proc/net/dev: bytes in and out, packets in and out, by name; skip odd lines."""
    found = {}
    for line in text.split(b"\n"):
        # The kernel's own names hold no colon, and the numbers after it never do.
        name, colon, numbers = line.rpartition(b":")
        words = numbers.split()
        if colon and len(words) >= 10 and all(map(_is_count, words[:10])):
            rx_bytes, rx_packets, tx_bytes, tx_packets = (int(words[at]) for at in (0, 1, 8, 9))
            found[name.lstrip(b" ")] = rx_bytes, tx_bytes, rx_packets, tx_packets
    return found


def parse_disks(text: bytes) -> dict[bytes, tuple[int, int]]:
    """Parse /proc/diskstats: bytes read and written, by name; skip odd lines."""
    found = {}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) >= 10 and _is_count(words[5]) and _is_count(words[9]):
            found[words[2]] = int(words[5]) * _SECTOR_BYTES, int(words[9]) * _SECTOR_BYTES
    return found


def _is_count(word: bytes) -> bool:
    return word.isdigit() and len(word) <= _COUNT_DIGITS


def parse_retransmitted(snmp: bytes) -> int | None:
    """Return the retransmitted TCP segments from /proc/net/snmp."""
    return _snmp_value(snmp, b"Tcp:", b"RetransSegs")


def parse_forwarded(snmp: bytes, snmp6: bytes) -> int | None:
    """Return the forwarded packets from /proc/net/snmp and snmp6."""
    forwarded = _snmp_value(snmp, b"Ip:", b"ForwDatagrams")
    words = snmp6.split()
    if forwarded is None or b"Ip6OutForwDatagrams" not in words[:-1]:
        return forwarded
    number = words[words.index(b"Ip6OutForwDatagrams") + 1]
    return forwarded + int(number) if _is_count(number) else None


def _snmp_value(text: bytes, protocol: bytes, name: bytes) -> int | None:
    """Find a value below its name: each protocol has a line of names and a line of numbers."""
    lines = [words for line in text.split(b"\n") if (words := line.split())[:1] == [protocol]]
    if len(lines) != 2 or name not in lines[0]:
        return None
    at = lines[0].index(name)
    return int(lines[1][at]) if at < len(lines[1]) and _is_count(lines[1][at]) else None
