"""The top of the screen: host, clock, scope, health, totals with graphs, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pbmon_client.data import shares
from pbmon_client.data.model import Snapshot
from pbmon_client.present.cells import Line, cell, cells_of, clean, fill, line_cells, spread, wrap
from pbmon_client.present.completeness import Notice, status, warnings
from pbmon_client.present.numbers import clock, duration
from pbmon_client.present.views import BUSIEST
from pbmon_client.tui.draw import timeline
from pbmon_client.tui.draw.graphs import peak, spark_line
from pbmon_client.tui.session.curves import Sample
from pbmon_client.tui.session.past import PastScene, PastShown
from pbmon_client.tui.session.state import State
from pbmond.fields import HISTORY

_CURVES: Final = (
    ("net", (("in", "in", HISTORY[0]), ("out", "out", HISTORY[1]))),
    ("file", (("read", "read", HISTORY[2]), ("write", "write", HISTORY[3]))),
)
_LONGEST_GRAPH: Final = 60
_HOST_CELLS: Final = 24
_JITTERY_S: Final = 0.8
#: From this width on, the line of the past has room for how complete it is.
_WITH_STATUS: Final = 40
_SCOPES: Final = {"all": "every user", "own": "your processes only"}


def header(state: State, width: int, now_s: float, *, graphs: bool) -> list[Line]:
    """Draw the top lines of the present: two, or with ``graphs`` four."""
    lines = [_title(state, width, now_s)]
    snapshot = state.snapshot
    if snapshot is None:
        return [*lines, *[[("text", " " * width)]] * (len(_CURVES) + 1 if graphs else 1)]
    if not graphs:
        return [*lines, _in_a_line(state, snapshot, width)]
    curves = _host_curves(state, snapshot)
    lines += [_totals(state, snapshot, curves, at, width) for at in range(len(_CURVES))]
    return [*lines, _coverage(state, snapshot, width)]


def past_header(
    state: State, past: PastScene, shown: PastShown, width: int, *, graphs: bool, room: int
) -> tuple[list[Line], int | None]:
    """Draw the top lines of the past, at most ``room`` of them; and which is the timeline's."""
    lines = [_past_title(state, past, shown, width)]
    if graphs:
        curves = _host_curves(state, shown.snapshot)
        lines += [_totals(state, shown.snapshot, curves, at, width) for at in range(len(_CURVES))]
    else:
        lines.append(_in_a_line(state, shown.snapshot, width))
    if len(lines) >= room:
        return lines, None
    at = len(lines)
    return lines + timeline.timeline(state, past, width, 2 if graphs else 1), at


def open_warnings(state: State) -> list[Notice]:
    """Return the warnings that were not put away."""
    snapshot = state.snapshot
    if snapshot is None:
        return []
    return [each for each in warnings(snapshot) if each.key not in state.settings.seen]


def warning_lines(state: State, width: int, most: int) -> list[Line]:
    """Draw why nothing arrives, and the warnings, each on a line, at most ``most`` of them."""
    lines = []
    if state.silence and state.frozen is None and state.past_shown is None:
        words = clean(f"{state.silence}; to start it: sudo systemctl start pbmond")
        lines.append(
            fill([("text", " "), ("alert", cell(words, min(cells_of(words), width - 1)))], width)
        )
    for warning in open_warnings(state)[:most]:
        text = clean(warning.text)
        key: Line = [("key", " x"), ("dim", " dismiss ")]
        if cells_of(text) > width - 1 - line_cells(key):
            key = [("key", " H"), ("dim", " all "), *key]
            text = cell(text, width - 1 - line_cells(key))
        lines.append(spread([("text", " "), (warning.role, text)], key, width))
    return lines


def _title(state: State, width: int, now_s: float) -> Line:
    snapshot = state.snapshot
    brand: Line = [("text", " "), ("brand", "pbmon")]
    if snapshot is None:
        return fill(brand, width)
    every_s = state.interval_s or snapshot.message.interval_ns / 1e9
    every = f"every {_steady(every_s):g} s" if every_s else "first snapshot"
    units = state.units.words
    host = clean(snapshot.host)
    right = _right(state, snapshot, now_s)
    # On a narrow screen the parts with the largest numbers go first.
    parts: list[tuple[int, Line]] = [
        (6, brand[1:]),
        (0, [("strong", cell(host, min(cells_of(host), _HOST_CELLS)))]),
        (1, [("text", clock(snapshot.message.time_ns))]),
        (3, [("dim", every)]),
        (4, [("dim" if units == "bytes/s" else "text", units)]),
        (2, [("dim", _sorting(state))]),
    ]
    if state.settings.active:
        parts.append((5, [("text", "active only")]))
    return spread(_as_fits(parts, width - line_cells(right)), right, width)


def _past_title(state: State, past: PastScene, shown: PastShown, width: int) -> Line:
    """Draw the first line all in the colour of the past, so that nobody takes it for now."""
    snapshot = shown.snapshot
    role, word = status(snapshot)
    right: Line = [("past", " reading " if not past.answered else " ")]
    if role != "good" and width >= _WITH_STATUS:
        right += [(role, clean(word)), ("past", " ")]
    time = "nothing recorded " * shown.gap + timeline.when(shown)
    room = width - line_cells(right) - len("  PAST  ")
    if cells_of(time) > room:
        time = timeline.short(shown, room)
    host = clean(snapshot.host)
    parts: list[tuple[int, Line]] = [
        (0, [("past", "PAST")]),
        (1, [("past", time)]),
        (2, [("past", timeline.ago(state, shown))]),
        (3, [("past", cell(host, min(cells_of(host), _HOST_CELLS)))]),
        (4, [("past", state.units.words)]),
        (5, [("past", _sorting(state))]),
    ]
    if state.settings.active:
        parts.append((6, [("past", "active only")]))
    line = _as_fits(parts, width - line_cells(right))
    left = [("past", text) for _role, text in line]
    blank = max(0, width - line_cells(left) - line_cells(right))
    return fill([*left, ("past", " " * blank), *right], width, "past")


def _steady(seconds: float) -> float:
    """Round an interval so that a daemon's jitter does not make it flicker."""
    return round(seconds * 2) / 2 if seconds > _JITTERY_S else round(seconds, 1)


def _as_fits(parts: Sequence[tuple[int, Line]], cells: int) -> Line:
    """Join those parts that have room, the most important ones first."""
    kept: set[int] = set()
    used = 0
    for rank, part in sorted(parts, key=lambda each: each[0]):
        size = line_cells(part) + (2 if kept else 1)
        if used + size <= cells:
            kept.add(rank)
            used += size
    line: Line = []
    for rank, part in parts:
        if rank in kept:
            line += [("text", "  " if line else " "), *part]
    return line


def _sorting(state: State) -> str:
    """Name the column that sorts, with an arrow for the direction."""
    view = state.position.view
    name, reverse = state.sort_of(view)
    column = next((column for column in view.columns if column.name == name), None)
    words = BUSIEST if column is None else column.title.strip().lower() or name
    rises = column is not None and column.rises
    return f"{'▲' if rises != reverse else '▼'} {words}"


def _right(state: State, snapshot: Snapshot, now_s: float) -> Line:
    right: Line = []
    stale_s = state.stale_s(now_s)
    if state.frozen is not None:
        right = [("paused", f" PAUSED {duration(now_s - state.frozen.since_s)} "), ("text", "  ")]
    elif stale_s is not None:
        right = [("alert", f" {duration(stale_s)} OLD "), ("text", "  ")]
    scope = "warn" if snapshot.scope == "own" else "dim"
    role, word = status(snapshot)
    return [
        *right,
        (scope, _SCOPES.get(snapshot.scope, snapshot.scope)),
        ("text", "  "),
        (role, clean(word)),
        ("text", " "),
    ]


def _host_curves(state: State, snapshot: Snapshot) -> list[Sequence[Sample]]:
    """Return the host's curves: the daemon's, or else those recorded here."""
    history = snapshot.message.history
    theirs = [history.get(name) for name in HISTORY]
    if all(isinstance(curve, list) and curve for curve in theirs) and not state.interval_s:
        return [[_sample(value) for value in curve or ()] for curve in theirs]
    return [list(curve) for curve in state.curves.host()]


def _sample(value: object) -> Sample:
    return float(value) if isinstance(value, (int, float)) else None


def _totals(
    state: State, snapshot: Snapshot, curves: Sequence[Sequence[Sample]], at: int, width: int
) -> Line:
    """Draw the totals of one class: bytes in and bytes out, each with its curve."""
    name, ways = _CURVES[at]
    mine = curves[2 * at : 2 * at + 2]
    top = peak(*mine)
    label = 6 + state.units.cells + 3
    half = min((width - 6) // 2, label + _LONGEST_GRAPH)
    line: Line = [("dim", f" {name:<5}")]
    for (word, role, rate), curve in zip(ways, mine, strict=True):
        number = _total(state, snapshot, rate)
        graph = spark_line(curve, state.curves.centre, max(0, half - label), top, role)
        run: Line = [("dim", f"{word:<6}"), ("strong", number), ("text", " "), *graph]
        line += fill(run, half)
    return fill(line, width)


def _coverage(state: State, snapshot: Snapshot, width: int) -> Line:
    """Draw how much of what the host itself counted belongs to processes."""
    words = shares.line(
        snapshot.coverage,
        snapshot.message.interval_ns,
        width - 1,
        state.units.write,
        totals=state.settings.totals,
    )
    return [("dim", cell(f" {clean(words or 'coverage: too little traffic to compare')}", width))]


def _in_a_line(state: State, snapshot: Snapshot, width: int) -> Line:
    """Draw all totals on one line, without curves."""
    line: Line = []
    for name, ways in _CURVES:
        line.append(("dim", f" {name}"))
        for word, _role, rate in ways:
            line += [("dim", f" {word}"), ("strong", f"{_total(state, snapshot, rate)} ")]
    return fill(line, width)


def _total(state: State, snapshot: Snapshot, rate: str) -> str:
    name = rate.removesuffix("_per_s") if state.settings.totals else rate
    return state.units.write(snapshot.totals.get(name)).rjust(state.units.cells)


def waiting(state: State, width: int, height: int, sources: str) -> list[Line]:
    """Draw the middle of a screen that has no snapshot yet."""
    words = state.silence or "waiting for the first snapshot"
    texts: list[Line] = [[("strong", line)] for line in wrap(clean(words), max(2, width - 2))]
    if state.silence:
        texts += [
            [],
            [("text", "start it:           "), ("key", "sudo systemctl start pbmond")],
            [("text", "or from a checkout: "), ("key", "sudo packaging/quickstart")],
            [("text", "or name its socket: "), ("key", "pbmon-client --socket PATH")],
            [],
            [("dim", f"{sources}; it shows here as soon as it runs")],
        ]
    body: list[Line] = [[("text", " " * width)]] * max(0, (height - len(texts)) // 3)
    widest = max((line_cells(line) for line in texts), default=0)
    left = max(1, (width - widest) // 2)
    body += [fill([("text", " " * left), *line], width) for line in texts]
    body += [[("text", " " * width)]] * (height - len(body))
    return body[:height]


def centre(text: str, width: int, role: str = "dim") -> Line:
    """Draw a text in the middle of a line."""
    return [(role, cell(" " * max(0, (width - len(text)) // 2) + text, width))]
