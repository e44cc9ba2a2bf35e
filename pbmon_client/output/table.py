"""A snapshot as a table of text that fits a width, for terminals and files."""

from __future__ import annotations

import time
from typing import Final

from pbmon_client.data import shares
from pbmon_client.data.model import Snapshot
from pbmon_client.data.text import fit, human, safe_text
from pbmon_client.present import row_lines
from pbmon_client.present.arrange import ViewQuery, arrange
from pbmon_client.present.cells import plain
from pbmon_client.present.completeness import status, warnings
from pbmon_client.present.numbers import Units, duration
from pbmon_client.present.view_columns import Style
from pbmon_client.present.views import CONNECTIONS, FILES, PROCESSES, View

_STAMP: Final = "%Y-%m-%d %H:%M:%S"
#: The columns are those of the interface's views. ``once`` prints one view alone.
_SECTIONS: Final = (PROCESSES, CONNECTIONS, FILES)


def render(snapshot: Snapshot, width: int, height: int | None = None, notice: str = "") -> str:
    """Write a snapshot as lines of at most ``width`` cells; ``height`` bounds their number.

    ``notice`` is an extra line at the top, such as one saying that the daemon is silent.
    """
    lines = _heading(snapshot, width, notice)
    views = [view for view in _SECTIONS if getattr(snapshot, view.table) is not None]
    for number, view in enumerate(views):
        room = None
        if height is not None:
            room = max(2, (height - len(lines)) // (len(views) - number))
        lines += _section(snapshot, view, width, room)
    return "\n".join(lines[:height]) + "\n"


def style_of(snapshot: Snapshot, units: Units) -> Style:
    """Return how the values of a snapshot are written."""
    now_ns = snapshot.message.time_ns
    return Style(units=units, wall_ns=now_ns - snapshot.message.now_ns, now_ns=now_ns)


def heading(snapshot: Snapshot, width: int) -> str:
    """Write the lines above the rows: host, time, scope, warnings, totals, coverage."""
    return "\n".join(_heading(snapshot, width, "")) + "\n"


def _heading(snapshot: Snapshot, width: int, notice: str) -> list[str]:
    lines = [_title(snapshot, width)]
    words = [notice] if notice else []
    if snapshot.past:
        until_ns = snapshot.message.time_ns
        words.append(f"moved {_range(until_ns - snapshot.message.interval_ns, until_ns)}")
    words += [warning.text for warning in warnings(snapshot)]
    lines += [fit(line, width).rstrip() for line in words]
    covered = shares.line(snapshot.coverage, snapshot.message.interval_ns, width)
    return [*lines, _total(snapshot, width), *([covered] if covered else [])]


def _title(snapshot: Snapshot, width: int) -> str:
    message = snapshot.message
    stamp = time.strftime(_STAMP, time.localtime(message.time_ns // 10**9))
    every = f"{message.interval_ns / 1e9:.1f} s"
    when = "THE PAST" if snapshot.past else f"{stamp}  last {every}"
    scope = "every user" if snapshot.scope == "all" else "only your processes"
    words = safe_text(status(snapshot)[1].strip())
    return fit(f"pbmon  {snapshot.host}  {when}  {scope}  {words}", width).rstrip()


def _range(since_ns: int, until_ns: int) -> str:
    """Write a range in local time: ``from 2026-11-25 03:10:00 to 03:15:00 CET, 5 m``."""
    since, until = (time.localtime(ns // 10**9) for ns in (since_ns, until_ns))
    same_day = since[:3] == until[:3] and since.tm_zone == until.tm_zone
    before = "" if since.tm_zone == until.tm_zone else f" {since.tm_zone}"
    end = time.strftime("%H:%M:%S" if same_day else _STAMP, until)
    passed = duration((until_ns - since_ns) / 1e9)
    return f"from {time.strftime(_STAMP, since)}{before} to {end} {until.tm_zone}, {passed}"


def _total(snapshot: Snapshot, width: int) -> str:
    """Write the rates of the host, of the past what it moved."""
    past = snapshot.past

    def pair(into: str, out: str) -> str:
        names = (f"{name}_bytes" if past else f"{name}_bytes_per_s" for name in (into, out))
        return "/".join(human(snapshot.totals.get(name)) for name in names)

    text = (
        f"{'total' if past else 'total/s'}  net {pair('net_rx', 'net_tx')}"
        f"  lo {pair('loopback_rx', 'loopback_tx')}"
        f"  unix {pair('unix_rx', 'unix_tx')}  file {pair('file_read', 'file_write')}"
        f"  disk {pair('disk_read', 'disk_write')}"
    )
    return fit(text, width).rstrip()


def _section(snapshot: Snapshot, view: View, width: int, room: int | None) -> list[str]:
    """Write the titles and the rows that fit; the last line says how many did not."""
    units = Units(totals=snapshot.past)
    rows = arrange(snapshot, ViewQuery(view, sort=None))
    count = 0 if rows is None else len(rows.order)
    shown = range(count)
    if room is not None and count > room - 1:
        shown = range(max(0, room - 2))
    columns = row_lines.columns_of(view, width + 1, units)
    lines = [row_lines.title_line(columns, width + 1)]
    if rows is not None:
        lines += row_lines.row_lines(rows, shown, columns, style_of(snapshot, units), width + 1)
    texts = [plain(line)[1:] for line in lines]  # without the cell for the mark of a pinned row
    if len(shown) < count:
        texts.append(f"… and {count - len(shown)} more {view.name}")
    return texts
