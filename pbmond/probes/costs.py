"""What hooks cost, computed from two readings, as a table for people or JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pbmond.loader.bpf import Runs

SCHEMA: Final = "pbmond-probes/1"
_TITLES: Final = ("HOOK", "CALLS", "CALLS/S", "NS/CALL", "CORE %")
_SHARED: Final = "+ "
_LEGEND: Final = "+: shares the program of the hook above it; they are measured together"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A tracepoint, by its kernel name, and the id of the program that runs there."""

    hook: str
    program: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Two readings of the programs' runs, by program id, ``elapsed_ns`` apart."""

    attached: Sequence[Attachment]
    before: Mapping[int, Runs]
    after: Mapping[int, Runs]
    elapsed_ns: int

    def rows(self) -> list[ProgramCost]:
        """Return a row for each program, the most expensive first."""
        hooks: dict[int, list[str]] = {}
        for each in self.attached:
            hooks.setdefault(each.program, []).append(each.hook)
        rows = [
            ProgramCost(
                tuple(dict.fromkeys(names)),
                self.after[program].calls - self.before[program].calls,
                self.after[program].time_ns - self.before[program].time_ns,
                self.elapsed_ns,
            )
            for program, names in hooks.items()
        ]
        return sorted(rows, key=lambda row: (-row.time_ns, -row.calls, row.hooks))

    def total(self) -> ProgramCost:
        """Return the sum of all rows."""
        rows = self.rows()
        hooks = tuple(hook for row in rows for hook in row.hooks)
        calls, time_ns = sum(row.calls for row in rows), sum(row.time_ns for row in rows)
        return ProgramCost(hooks, calls, time_ns, self.elapsed_ns)


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """The runs of one program in ``elapsed_ns``, at all its hooks together."""

    hooks: tuple[str, ...]
    calls: int
    time_ns: int
    elapsed_ns: int

    @property
    def calls_per_s(self) -> float:
        """Calls per second."""
        return 1e9 * self.calls / self.elapsed_ns

    @property
    def ns_per_call(self) -> float | None:
        """The mean time of a call, or None if there was no call."""
        return self.time_ns / self.calls if self.calls else None

    @property
    def core_percent(self) -> float:
        """The share of one core."""
        return 100 * self.time_ns / self.elapsed_ns


def table(measured: Measured) -> Iterator[str]:
    """Yield the lines of the table, then the total."""
    rows, shared = [_TITLES], False
    for row in measured.rows():
        first, *others = row.hooks
        rows.append(_cells(first, row))
        rows += [(_SHARED + hook, "", "", "", "") for hook in others]
        shared = shared or bool(others)
    rows.append(_cells("total", measured.total()))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    yield from lines
    if shared:
        yield _LEGEND


def _cells(name: str, row: ProgramCost) -> tuple[str, str, str, str, str]:
    ns_per_call = "-" if row.ns_per_call is None else f"{row.ns_per_call:,.0f}"
    return (
        name,
        f"{row.calls:,}",
        f"{row.calls_per_s:,.0f}",
        ns_per_call,
        f"{row.core_percent:.3f}",
    )


def as_json(measured: Measured) -> dict[str, Any]:
    """Return the figures that ``--json`` prints."""
    return {
        "seconds": measured.elapsed_ns / 1e9,
        "probes": [{"hooks": list(row.hooks), **_figures(row)} for row in measured.rows()],
        "total": _figures(measured.total()),
    }


def _figures(row: ProgramCost) -> dict[str, Any]:
    return {
        "calls": row.calls,
        "calls_per_s": row.calls_per_s,
        "ns_per_call": row.ns_per_call,
        "core_percent": row.core_percent,
    }
