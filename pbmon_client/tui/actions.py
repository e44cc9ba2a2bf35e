"""What each action of the key table does to the state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from pbmon_client.present.listing import RowKey
from pbmon_client.present.views import BUSIEST, BY_NAME, PROCESSES, TREE, VIEWS
from pbmon_client.tui.draw import detail
from pbmon_client.tui.draw.grid import columns_of
from pbmon_client.tui.session.palette import THEMES
from pbmon_client.tui.session.state import State, ViewPosition
from pbmond.fields import SHOWN

#: Display intervals; None shows every snapshot.
_INTERVALS_S: Final = (None, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


# --- moving ---------------------------------------------------------------------------------------


def move(state: State, by: int) -> None:
    """Move the selection by that many rows, or scroll the opened row."""
    if state.opened:
        state.detail_top = max(0, state.detail_top + by)
        return
    rows = state.reselect()
    if rows is None or not rows.order:
        return
    position = state.position
    at = max(0, min(len(rows.order) - 1, position.at + by))
    position.line = max(0, min(state.page - 1, position.line + at - position.at))
    position.at = at
    position.selected = rows.key_at(at)


def select(state: State, key: RowKey) -> bool:
    """Select the row with a key; False if it is gone."""
    if state.opened:
        return False
    rows = state.reselect()
    at = None if rows is None else rows.index_of(key)
    if at is None:
        return False
    move(state, at - state.position.at)
    return True


def open_row(state: State) -> None:
    """Show a group's members, or a row's details on the whole screen."""
    if state.opened:
        return
    about = detail.subject(state)
    if about is None:
        return
    view = state.position.view
    if view.grouping is None:
        state.opened = True
        state.detail_top = 0
        return
    state.back.append(state.position)
    state.position = ViewPosition(BY_NAME[view.members], (*state.position.within, about.scope))


def back(state: State) -> None:
    """Go back from what was opened, or else clear the filter."""
    if state.opened:
        state.opened = False
    elif state.back:
        state.position = state.back.pop()
    elif state.search.text:
        state.search = type(state.search)()


# --- views ----------------------------------------------------------------------------------------


def _next_view(state: State, by: int) -> None:
    names = [view.name for view in VIEWS]
    at = (names.index(state.position.view.name) + by) % len(names)
    state.show_view(VIEWS[at])


def _tree(state: State) -> None:
    state.show_view(PROCESSES if state.position.view.tree else TREE)


# --- order ----------------------------------------------------------------------------------------


def sort_by(state: State, name: str) -> None:
    """Sort by a column; doing it again reverses the order."""
    view = state.position.view
    now, reverse = state.sort_of(view)
    state.settings.sort[view.name] = (name, not reverse if name == now else False)


def _sort_next(state: State, by: int) -> None:
    fields = [field for field, _cells in columns_of(state, state.width)]
    names = [BUSIEST, *(field.name for field in fields if field.sort)]
    now, _reverse = state.sort_of(state.position.view)
    at = names.index(now) if now in names else 0
    state.settings.sort[state.position.view.name] = (names[(at + by) % len(names)], False)


def _reverse(state: State) -> None:
    name, reverse = state.sort_of(state.position.view)
    state.settings.sort[state.position.view.name] = (name, not reverse)


def _pin(state: State) -> None:
    chosen = state.selected()
    if chosen is None:
        return
    rows, row = chosen
    key = rows.listing.key(row)
    view = state.position.view.name
    pinned = state.pinned.get(view, ())
    kept = tuple(each for each in pinned if each != key)
    state.pinned[view] = kept if len(kept) < len(pinned) else (*pinned, key)
    state.position.selected = key


def _interval(state: State, by: int) -> None:
    at = _INTERVALS_S.index(state.interval_s) if state.interval_s in _INTERVALS_S else 0
    state.interval_s = _INTERVALS_S[max(0, min(len(_INTERVALS_S) - 1, at + by))]


# --- settings -------------------------------------------------------------------------------------


def _switch(name: str) -> Callable[[State], None]:
    def act(state: State) -> None:
        setattr(state.settings, name, not getattr(state.settings, name))

    return act


def _theme(state: State) -> None:
    names: tuple[str, ...] = THEMES
    at = names.index(state.settings.theme) if state.settings.theme in names else 0
    state.settings.theme = names[(at + 1) % len(names)]


def row_json(state: State) -> str | None:
    """Return the selected row as a JSON object of the contract's fields."""
    chosen = state.selected()
    if chosen is None:
        return None
    rows, row = chosen
    values_of = rows.listing.window([row])
    view = state.position.view
    names = dict.fromkeys([*(column.name for column in view.columns), *SHOWN[view.table]])
    if view.grouping is None:
        names = dict.fromkeys(SHOWN[view.table])
        if view.table != "processes":
            names["name"] = None
    values: dict[str, Any] = {}
    for name in names:
        found = values_of(name)
        if found is not None:
            value = found[0]
            values[name] = None if value != value else value  # noqa: PLR0124 - NaN is unknown
    return json.dumps(values, ensure_ascii=False)


ACTIONS: Final[dict[str, Callable[[State], None]]] = {
    "up": lambda state: move(state, -1),
    "down": lambda state: move(state, 1),
    "page up": lambda state: move(state, -state.page),
    "page down": lambda state: move(state, state.page),
    "home": lambda state: move(state, -(1 << 30)),
    "end": lambda state: move(state, 1 << 30),
    "open": open_row,
    "back": back,
    **{
        f"view {number}": lambda state, view=view: state.show_view(view)  # type: ignore[misc]
        for number, view in enumerate(VIEWS, 1)
    },  # mypy cannot infer a lambda with a default
    "next view": lambda state: _next_view(state, 1),
    "previous view": lambda state: _next_view(state, -1),
    "tree": _tree,
    "detail": _switch("detail"),
    "sort next": lambda state: _sort_next(state, 1),
    "sort previous": lambda state: _sort_next(state, -1),
    "reverse": _reverse,
    "active": _switch("active"),
    "pin": _pin,
    "slower": lambda state: _interval(state, 1),
    "faster": lambda state: _interval(state, -1),
    "totals": _switch("totals"),
    "bits": _switch("bits"),
    "binary": _switch("binary"),
    "exact": _switch("exact"),
    "command": _switch("full_command"),
    "names": _switch("names"),
    "theme": _theme,
}
