"""What each action of the key table does to the state; pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from pbmon_client.present.views import BUSIEST, BY_NAME, PROCESSES, TREE, VIEWS
from pbmon_client.tui.draw import detail
from pbmon_client.tui.draw.grid import columns_of
from pbmon_client.tui.palette import THEMES
from pbmon_client.tui.state import Place, State
from pbmond.fields import SHOWN

#: Intervals of display; None is every snapshot.
_INTERVALS_S: Final = (None, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


# --- moving ---------------------------------------------------------------------------------------


def move(state: State, by: int) -> None:
    """Select the row that many places further, as far as there are rows."""
    if state.opened:
        state.detail_top = max(0, state.detail_top + by)
        return
    rows = state.settle()
    if rows is None or not rows.order:
        return
    place = state.place
    at = max(0, min(len(rows.order) - 1, place.at + by))
    place.line = max(0, min(state.page - 1, place.line + at - place.at))
    place.at = at
    place.selected = rows.key(at)


def select(state: State, at: int) -> None:
    """Select the row at a place."""
    move(state, at - state.place.at)


def open_row(state: State) -> None:
    """Show a group's members, or a row's details on the whole screen."""
    if state.opened:
        return
    about = detail.subject(state)
    if about is None:
        return
    view = state.place.view
    if view.grouping is None:
        state.opened = True
        state.detail_top = 0
        return
    state.back.append(state.place)
    state.place = Place(BY_NAME[view.members], (*state.place.within, about.within))


def back(state: State) -> None:
    """Undo the last opening; else clear the filter."""
    if state.opened:
        state.opened = False
    elif state.back:
        state.place = state.back.pop()
    elif state.search.text:
        state.search = type(state.search)()


# --- views ----------------------------------------------------------------------------------------


def _turn(state: State, by: int) -> None:
    names = [view.name for view in VIEWS]
    at = (names.index(state.place.view.name) + by) % len(names)
    state.look_at(VIEWS[at])


def _tree(state: State) -> None:
    state.look_at(PROCESSES if state.place.view.tree else TREE)


# --- order ----------------------------------------------------------------------------------------


def sort_by(state: State, name: str) -> None:
    """Sort by a column; once more by the same one reverses."""
    view = state.place.view
    now, reverse = state.sort_of(view)
    state.settings.sort[view.name] = (name, not reverse if name == now else False)


def _sort_turn(state: State, by: int) -> None:
    fields = [field for field, _cells in columns_of(state, state.width)]
    names = [BUSIEST, *(field.name for field in fields if field.sort)]
    now, _reverse = state.sort_of(state.place.view)
    at = names.index(now) if now in names else 0
    state.settings.sort[state.place.view.name] = (names[(at + by) % len(names)], False)


def _reverse(state: State) -> None:
    name, reverse = state.sort_of(state.place.view)
    state.settings.sort[state.place.view.name] = (name, not reverse)


def _pin(state: State) -> None:
    chosen = state.selected()
    if chosen is None:
        return
    rows, row = chosen
    key = rows.listing.key(row)
    view = state.place.view.name
    pinned = state.pinned.get(view, ())
    kept = tuple(each for each in pinned if each != key)
    state.pinned[view] = kept if len(kept) < len(pinned) else (*pinned, key)
    state.place.selected = key


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
    find = rows.listing.window([row])
    view = state.place.view
    names = dict.fromkeys([*(field.name for field in view.fields), *SHOWN[view.table]])
    if view.grouping is None:
        names = dict.fromkeys(SHOWN[view.table])
        if view.table != "processes":
            names["name"] = None
    values: dict[str, Any] = {}
    for name in names:
        found = find(name)
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
        f"view {number}": lambda state, view=view: state.look_at(view)  # type: ignore[misc]
        for number, view in enumerate(VIEWS, 1)
    },  # mypy cannot infer a lambda with a default
    "next view": lambda state: _turn(state, 1),
    "previous view": lambda state: _turn(state, -1),
    "tree": _tree,
    "detail": _switch("detail"),
    "sort next": lambda state: _sort_turn(state, 1),
    "sort previous": lambda state: _sort_turn(state, -1),
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
