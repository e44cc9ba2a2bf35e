"""Formats verdicts for people and programs: the table, the summary line and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pbmond.selftest.verdicts import EXACT, NOT_OFFERED, OFF, UNSEEN, VERDICTS, ResultLine

SCHEMA: Final = "pbmon-selftest/1"
_WORDS: Final = {
    EXACT: "exact",
    OFF: "off",
    UNSEEN: "unseen as documented",
    NOT_OFFERED: "not offered by this kernel",
}
_TITLES: Final = ("PATH", "OPENED", "WAY", "EXPECTED", "COUNTED", "CALLS", "VERDICT")
_NUMBERS: Final = frozenset(("EXPECTED", "COUNTED", "CALLS"))


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the self-test. ``health`` is that of the daemon's last snapshot."""

    kernel: str
    machine: str
    version: str
    seed: int
    seconds: float
    health: Mapping[str, Any]
    lines: Sequence[ResultLine]

    def counts(self) -> dict[str, int]:
        """Return how many lines have each verdict, in the order of the summary."""
        found = Counter(line.verdict for line in self.lines)
        return {verdict: found[verdict] for verdict in VERDICTS}

    def passed(self) -> bool:
        """Return whether nothing is off."""
        return self.counts()[OFF] == 0


def table(report: Report) -> Iterator[str]:
    """Yield the lines of the table: a heading, then one for each verdict."""
    rows = [_TITLES, *map(_cells, report.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(_TITLES, row, widths, strict=True)
        yield "  ".join(
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in cells
        ).rstrip()


def _cells(line: ResultLine) -> tuple[str, ...]:
    start = (line.path, line.opened, line.way)
    if line.way == "-":
        return (*start, "-", "-", "-", _verdict(line))
    numbers = (line.expected_bytes, line.counted_bytes, line.counted_calls)
    return (*start, *(f"{number:,}" for number in numbers), _verdict(line))


def _verdict(line: ResultLine) -> str:
    words = _WORDS[line.verdict]
    if line.verdict == OFF and line.counted_bytes != line.expected_bytes:
        words += f" by {line.counted_bytes - line.expected_bytes:+,}"
    return words if line.reason is None else f"{words}: {line.reason}"


def summary(report: Report) -> str:
    """Return the one line that follows the table."""
    counts = ", ".join(f"{count} {_WORDS[verdict]}" for verdict, count in report.counts().items())
    modes = report.health["modes"]
    return (
        f"{len(report.lines)} rows: {counts}; Linux {report.kernel} {report.machine}, "
        f"sockets by {modes['sockets']}, files by {modes['files']}, {modes['reads']} reads; "
        f"seed {report.seed}, {report.seconds:.1f} s"
    )


def as_json(report: Report) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    return {
        "schema": SCHEMA,
        "version": report.version,
        "kernel": report.kernel,
        "machine": report.machine,
        "seed": report.seed,
        "seconds": round(report.seconds, 3),
        "passed": report.passed(),
        "summary": {name.replace(" ", "_"): count for name, count in report.counts().items()},
        "modes": dict(report.health["modes"]),
        "unseen": list(report.health["unseen"]),
        "lost": dict(report.health["lost"]),
        # In the largest program. Kernels before 5.16 do not say.
        "verified_instructions": report.health["cost"]["verified_instructions"] or None,
        "rows": [
            asdict(line) | {"off_bytes": line.counted_bytes - line.expected_bytes}
            for line in report.lines
        ],
    }


class Bar:
    """A progress bar in one terminal line. ``draw`` returns what to write, if it changed."""

    def __init__(self, steps: int, width: int) -> None:
        """``width`` is the number of columns of the terminal."""
        self._steps = steps
        self._width = width
        self._done = 0
        self._shown = ""

    def draw(self, name: str) -> str | None:
        """Advance by one step, to ``name``."""
        self._done = min(self._done + 1, self._steps)
        cells = max(self._width // 3, 1)
        full = cells * self._done // self._steps
        line = f"[{'#' * full}{'.' * (cells - full)}] {100 * self._done // self._steps:3d}% {name}"
        line = line[: self._width - 1]
        if line == self._shown:
            return None
        # Overwrite the line in one go and erase the rest of the old one, so that nothing flickers.
        self._shown = line
        return f"\r{line}\x1b[K"

    @staticmethod
    def clear() -> str:
        """Return what erases the bar."""
        return "\r\x1b[K"
