"""One view as plain text, for a mail or a terminal without cursor; pure."""

from __future__ import annotations

from dataclasses import replace

from pbmon_client.data.model import Selection
from pbmon_client.data.model import View as Snapshot
from pbmon_client.output import table
from pbmon_client.present.cells import plain
from pbmon_client.present.search import Search
from pbmon_client.present.views import BY_NAME, PROCESSES, View
from pbmon_client.tui.actions import sort_by
from pbmon_client.tui.draw import grid
from pbmon_client.tui.settings import Settings
from pbmon_client.tui.start import field_of
from pbmon_client.tui.state import begin


def render(snapshot: Snapshot, name: str | None, selection: Selection, width: int) -> str:
    """Write a heading, the titles, and every row (or the ``top`` ones) of a view."""
    view = view_of(name)
    state = begin(Settings(view=view.name, active=selection.active))
    state.newest = snapshot
    state.search = Search(filter=selection.filter)
    if selection.sort is not None and (field := field_of(view, selection.sort)) is not None:
        state.settings.totals = selection.sort == field.counter
        sort_by(state, field.name)
    if selection.reverse:
        name, reverse = state.sort_of(view)
        state.settings.sort[view.name] = (name, not reverse)
    rows = state.arranged()
    if rows is None:
        raise ValueError(f"no {view.table} in this snapshot")
    room = len(rows.order) if selection.top is None else min(selection.top, len(rows.order))
    state.place.at = -1  # no row is selected on paper
    columns = grid.columns_of(state, width)
    lines = [grid.titles(state, columns, width, 0)[0]]
    lines += grid.body(state, rows, columns, width, room)[0] if room else []
    if room < len(rows.order):
        lines.append([("dim", f" … and {len(rows.order) - room} more")])
    body = "\n".join(map(plain, lines))
    return f"{table.heading(snapshot, width)}{body}\n"


def view_of(name: str | None) -> View:
    """Return a view by its name; without one, processes."""
    return PROCESSES if name is None else BY_NAME[name]


def wide(name: str | None, selection: Selection) -> Selection:
    """Return what to take from the daemon: everything that the view narrows by itself."""
    wide = replace(selection, filter=None, active=False, sort=None, reverse=False, top=None)
    needs = view_of(name).needs_flows or selection.needs_flows
    return replace(wide, flows=needs, busiest_first=False)
