"""Results as people read them: in the terminal, in packaging/doc, in the README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.kernels.results import COUNTS, MOST_INSTRUCTIONS, Result, Run

_UNKNOWN: Final = "\N{EN DASH}"
_MODES: Final = ("sockets", "files", "reads")
_WORDS: Final = ("kernel", "userland", *_MODES)
_NUMBERS: Final = ("exact", "off", "unseen", "not offered", "largest program")


def text(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the table and of what it cannot hold."""
    rows = [[title.upper() for title in (*_WORDS, *_NUMBERS)], *_rows(results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if number < len(_WORDS) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    for result in results:
        for run in result.runs:
            if run.refused is not None:
                yield f"{_place(result)}: {run.forced}: does not load: {run.refused}"
            if run.lost:
                yield f"{_place(result)}: {run.forced}: lost: {dict(run.lost)}"
    yield from _failures(results)


def markdown(results: Sequence[Result]) -> str:
    """Return the whole table, in Markdown; every row and every reason comes from ``results``."""
    lines = [
        f"| {' | '.join((*_WORDS, *_NUMBERS))} |",
        f"|{'---|' * len(_WORDS)}{'---:|' * len(_NUMBERS)}",
        *(f"| {' | '.join(row)} |" for row in _rows(results)),
        *("", "What is unseen there, with the reason that `health.unseen` gives:", ""),
        *_unseen(results),
    ]
    failures = [f"- {line}" for line in _failures(results)]
    if failures:
        lines += ["", "What is wrong:", "", *failures]
    return "\n".join(lines) + "\n"


def summary(results: Sequence[Result]) -> str:
    """Return one sentence: on which kernels, under how many ways to count, and what came of it."""
    kernels: dict[str, set[str]] = {}
    for result in results:
        kernels.setdefault(result.series, set()).add(result.release.rpartition("-")[2])
    runs = [run for result in results for run in result.runs if run.modes]
    exact, off = (sum(run.counts[name] for run in runs) for name in ("exact", "off"))
    names = [
        f"{series} (also {' '.join(sorted(also))})" if (also := machines - {"amd64"}) else series
        for series, machines in kernels.items()
    ]
    listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + "".join(names[-1:])
    return (
        f"The last run, on Linux {listed}: {len(runs)} self-tests,\n"
        f"{exact:,} rows exact, {off} off.\n"
    )


def _place(result: Result) -> str:
    return f"{result.release}, {result.userland}" if result.userland else result.release


def _rows(results: Sequence[Result]) -> Iterator[list[str]]:
    for result in results:
        for run in result.runs:
            if run.modes:
                yield [
                    result.release,
                    result.userland,
                    *(run.modes.get(mode, _UNKNOWN) for mode in _MODES),
                    *(str(run.counts[name]) for name in COUNTS),
                    _instructions(run),
                ]


def _instructions(run: Run) -> str:
    largest = run.verified_instructions
    return _UNKNOWN if largest is None else f"{largest:,}"


def _unseen(results: Sequence[Result]) -> Iterator[str]:
    """Yield an item for each reason: on which kernels, and the self-test's paths that meet it."""
    kernels: dict[str, list[str]] = {}
    paths: dict[str, set[str]] = {}
    for result in results:
        for run in result.runs:
            for said, those in run.unseen.items():
                reason = said.partition("; ")[0]  # how many bytes follows
                where = kernels.setdefault(reason, [])
                if result.series not in where:
                    where.append(result.series)
                paths.setdefault(reason, set()).update(those)
    every = {result.series for result in results}
    for reason, where in kernels.items():
        on = "every kernel" if set(where) == every else ", ".join(where)
        yield f"- {reason}, on {on}: {', '.join(f'`{path}`' for path in sorted(paths[reason]))}"


def _failures(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        if result.failed is not None:
            yield f"{_place(result)}: {result.failed}"
        for run in result.runs:
            if run.failed is not None:
                yield f"{_place(result)}: {run.forced}: no result: {run.failed}"
            elif run.off:
                yield f"{_place(result)}: {run.forced}: off: {', '.join(run.off)}"
            if run.too_large:
                yield (
                    f"{_place(result)}: {run.forced}: a program of {_instructions(run)} verified "
                    f"instructions; {MOST_INSTRUCTIONS:,} are the most"
                )
