"""A view as a table of text that fits a width, for terminals and files; pure."""

from __future__ import annotations

import time
from typing import Final

from pbmon_client.data import shares
from pbmon_client.data.model import Rows, View
from pbmon_client.data.text import fit, human, safe_text
from pbmon_client.present.arrange import table_of
from pbmon_client.present.cells import cell
from pbmon_client.present.completeness import status, warnings
from pbmon_client.present.fields import Look, fitting
from pbmon_client.present.views import CONNECTIONS, FILES, PROCESSES
from pbmon_client.present.views import View as Shown

#: The fields are those of the interface's views; ``once`` prints any view alone.
_SECTIONS: Final = (PROCESSES, CONNECTIONS, FILES)


def render(view: View, width: int, height: int | None = None, notice: str = "") -> str:
    """Write a view as lines of at most ``width`` cells; ``height`` bounds their number.

    ``notice`` is a line that must be seen, such as that the daemon is silent.
    """
    lines = _heading(view, width, notice)
    tables = [
        (shown, rows) for shown in _SECTIONS if (rows := table_of(view, shown.table)) is not None
    ]
    for number, (shown, rows) in enumerate(tables):
        room = None
        if height is not None:
            room = max(2, (height - len(lines)) // (len(tables) - number))
        lines += _section(shown, rows, _look(view), width, room)
    return "\n".join(lines[:height]) + "\n"


def _look(view: View) -> Look:
    now_ns = view.message.time_ns
    return Look(wall_ns=now_ns - view.message.now_ns, now_ns=now_ns)


def heading(view: View, width: int) -> str:
    """Write the lines above the rows: host, time, scope, warnings, totals, coverage."""
    return "\n".join(_heading(view, width, "")) + "\n"


def _heading(view: View, width: int, notice: str) -> list[str]:
    lines = [_title(view, width)]
    words = [notice] if notice else []
    words += [warning.text for warning in warnings(view)]
    lines += [fit(line, width).rstrip() for line in words]
    covered = shares.line(view.coverage, view.message.interval_ns, width)
    return [*lines, _total(view, width), *([covered] if covered else [])]


def _title(view: View, width: int) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.message.time_ns // 10**9))
    every = f"{view.message.interval_ns / 1e9:.1f} s"
    scope = "every user" if view.scope == "all" else "only your processes"
    words = safe_text(status(view)[1].strip())
    return fit(f"pbmon  {view.host}  {stamp}  last {every}  {scope}  {words}", width).rstrip()


def _total(view: View, width: int) -> str:
    def pair(into: str, out: str) -> str:
        rates = (view.totals.get(f"{name}_bytes_per_s") for name in (into, out))
        return "/".join(human(rate) for rate in rates)

    text = (
        f"total/s  net {pair('net_rx', 'net_tx')}  lo {pair('loopback_rx', 'loopback_tx')}"
        f"  unix {pair('unix_rx', 'unix_tx')}  file {pair('file_read', 'file_write')}"
        f"  disk {pair('disk_read', 'disk_write')}"
    )
    return fit(text, width).rstrip()


def _section(shown: Shown, rows: Rows, look: Look, width: int, room: int | None) -> list[str]:
    """Write the titles and the rows that fit, the last line saying how many did not."""
    kept = rows
    rest = 0
    if room is not None and len(rows) > room - 1:
        kept = rows.take(range(max(0, room - 2)))
        rest = len(rows) - len(kept)
    columns = fitting(shown.fields, width, look.units)
    texts = [
        [
            cell(text, cells, right=field.right, keep_end=field.keep_end)
            for text in (field.title, *field.write(kept.find, look, cells))
        ]
        for field, cells in columns
    ]
    lines = [fit(" ".join(row), width).rstrip() for row in zip(*texts, strict=True)]
    if rest:
        lines.append(f"… and {rest} more {shown.name}")
    return lines
