"""Results as people read them: a table for the terminal, and the README's part as Markdown; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from tests.kernels.results import COUNTS, Result, Run

BEGIN: Final = "<!-- kernels: made by `packaging/check --kernels`, not by hand -->"
END: Final = "<!-- kernels: end -->"
_UNKNOWN: Final = "–"
_RUNGS: Final = ("sockets", "files", "reads")
_TITLES: Final = ("kernel", "with", *_RUNGS, "exact", "off", "unseen", "not offered", "largest")


def text(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the table and of what it cannot hold."""
    rows = [[title.upper() for title in _TITLES]]
    rows += [_cells(result, run) for result in results for run in result.runs if run.rungs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = len(_TITLES) - len(COUNTS) - 1  # the rest are numbers
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:words], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[words:], widths[words:], strict=True)]
        yield "  ".join(cells).rstrip()
    yield from _remarks(results)


def _cells(result: Result, run: Run) -> list[str]:
    largest = run.verified_instructions
    return [
        result.release,
        result.userland,
        *(run.rungs.get(rung, _UNKNOWN) for rung in _RUNGS),
        *(str(run.counts[name]) for name in COUNTS),
        _UNKNOWN if largest is None else f"{largest:,}",
    ]


def _remarks(results: Iterable[Result]) -> Iterator[str]:
    for result in results:
        where = f"{result.release}, {result.userland}" if result.userland else result.release
        if result.failed is not None:
            yield f"{where}: {result.failed}"
        for run in result.runs:
            if run.refused is not None:
                yield f"{where}: {run.forced} does not load: {run.refused}"
            elif run.failed is not None:
                yield f"{where}: {run.forced}: no result: {run.failed}"
            elif run.off:
                yield f"{where}: {run.forced}: off: {' '.join(run.off)}"
            if run.lost:
                yield f"{where}: {run.forced}: lost: {dict(run.lost)}"


def markdown(results: Sequence[Result]) -> str:
    """Return the README's part, without the comments around it."""
    lines = [
        "| kernel | with | sockets | files | reads | exact | off | unseen | not offered | largest |",
        "|---|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        for run in result.runs:
            if run.rungs:
                lines.append(f"| {' | '.join(_cells(result, run))} |")
    lines += ["", *_reasons("Unseen", results, "unseen")]
    lines += ["", *_reasons("Not offered", results, "not_offered")]
    return "\n".join(lines) + "\n"
