"""Numbers for people in the unit they chose: bytes or bits, 1000 or 1024, short or exact."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from pbmon_client.data.text import human

_UNKNOWN = "?"
_NOTHING = "·"


@dataclass(frozen=True, slots=True)
class Units:
    """How traffic is written. ``totals``: bytes since counting began, else bytes per second."""

    totals: bool = False
    bits: bool = False
    binary: bool = False
    exact: bool = False

    @property
    def cells(self) -> int:
        """The width that any number of bytes needs, in cells."""
        return 16 if self.exact else 6

    @property
    def words(self) -> str:
        """Name the unit, for the header."""
        unit = "bits" if self.bits else "bytes"
        power = ", 1024" if self.binary else ""
        return f"{unit} total{power}" if self.totals else f"{unit}/s{power}"

    def write(self, value: float | None) -> str:
        """Write a number of bytes (or bytes/s); zero is a dot."""
        if value is None:
            return _UNKNOWN
        if not value:
            return _NOTHING
        scaled = value * 8 if self.bits else value
        if self.exact:
            return f"{scaled:,.0f}" if scaled >= 0.5 else "<1"
        return human(scaled, 1024 if self.binary else 1000)

    def write_each(self, values: Iterable[float | None]) -> list[str]:
        """Write numbers of bytes, most of which are zero."""
        if self.exact or self.bits:
            return [self.write(value) for value in values]
        kilo = 1024 if self.binary else 1000
        return [_NOTHING if value == 0 else human(value, kilo) for value in values]


def magnitude(value: float | None, *, totals: bool) -> str:
    """Name the role of a number by its size: most are plain, few stand out."""
    return magnitudes((value,), totals=totals)[0]


def magnitudes(values: Iterable[float | None], *, totals: bool) -> list[str]:
    """Name the roles of numbers."""
    big, huge = (1e9, 100e9) if totals else (1e6, 100e6)
    return [
        "dim" if not value else "text" if value < big else "big" if value < huge else "huge"
        for value in values
    ]


def duration(seconds: float) -> str:
    """Write a duration in at most two units: ``12 s``, ``3 m 20 s``, ``2 h 5 m``, ``4 d 1 h``."""
    whole = max(0, int(seconds))
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    for at, (size, name) in enumerate(units):
        if whole >= size:
            count, rest = divmod(whole, size)
            if at + 1 < len(units) and rest >= units[at + 1][0]:
                small, other = units[at + 1]
                return f"{count} {name} {rest // small} {other}"
            return f"{count} {name}"
    return "0 s"


def latency(us: int) -> str:
    """Write microseconds as milliseconds or seconds, to three digits: ``0.085 ms``, ``1.25 s``."""
    value, unit = (us / 1e3, "ms") if us < 1e6 else (us / 1e6, "s")
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def clock(time_ns: int) -> str:
    """Write CLOCK_REALTIME nanoseconds as local wall-clock time."""
    return time.strftime("%H:%M:%S", time.localtime(time_ns // 10**9))


def moment(time_ns: int, now_ns: int) -> str:
    """Write a local time, with its day if that is not today."""
    then, now = time.localtime(time_ns // 10**9), time.localtime(now_ns // 10**9)
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)
