"""The formats of the files in /proc/PID, from text to values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pbmond.kernel.records import DELETED


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that pbmon uses."""

    name: bytes
    state: bytes
    ppid: int
    children_faults: int  # of the children that it waited for; 0: it has waited for none
    cpu_ticks: int
    threads: int
    start_ticks: int
    rss_pages: int


def parse_stat(text: bytes) -> Stat:
    """Parse /proc/PID/stat; ValueError if malformed. A name may contain any byte, even ``)``."""
    opening, closing = text.index(b"("), text.rindex(b")")
    fields = text[closing + 1 :].split()
    if len(fields) < 22:
        raise ValueError("a stat file with too few fields")
    return Stat(
        name=text[opening + 1 : closing],
        state=fields[0],
        ppid=int(fields[1]),
        children_faults=int(fields[8]) + int(fields[10]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        rss_pages=int(fields[21]),
    )


def parse_io(text: bytes) -> tuple[int, int, int, int]:
    """Return what an io file shows: bytes that calls read and wrote, and from and to storage.

    Writes that were cancelled before they reached storage are not subtracted, as in the kernel's
    own figure. ValueError if the file is malformed.
    """
    names = (b"rchar:", b"wchar:", b"read_bytes:", b"write_bytes:")
    read, write, disk_read, disk_write = (field(text, name) for name in names)
    if read is None or write is None or disk_read is None or disk_write is None:
        raise ValueError("an io file without its byte counts")
    return read, write, disk_read, disk_write


@lru_cache(maxsize=1024)
def parse_cgroup(text: bytes) -> bytes | None:
    """Choose the most telling path: that of cgroup v2, or if it is the root, one of v1.

    Of the v1 hierarchies, systemd's names the unit; containers always have pids and memory.
    """
    paths: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):  # not splitlines: a carriage return may be in a name
        _, found, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if found:
            paths.update(dict.fromkeys(controllers.split(b","), path))
    first = (b"", b"name=systemd", b"pids", b"memory")
    for controller in (*first, *paths):
        if paths.get(controller, b"/") != b"/":
            # The mark of a group that was removed while the process exited.
            return paths[controller].removesuffix(DELETED)
    return b"/" if paths else None


def field(text: bytes, name: bytes) -> int | None:
    """Return the first number after ``name`` at the start of a line; None if there is none."""
    _, found, rest = (b"\n" + text).partition(b"\n" + name)
    words = rest.split(maxsplit=1)
    return int(words[0]) if found and words and words[0].isdigit() else None
