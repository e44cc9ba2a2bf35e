"""What the page asks for: its wish, read from JSON, checked, and made a query."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from pbmon_client.data.nearest import unknown_field
from pbmon_client.data.times import END_S
from pbmon_client.present.arrange import GroupScope, ViewQuery
from pbmon_client.present.listing import RowKey
from pbmon_client.present.numbers import Units
from pbmon_client.present.search import EVERYTHING, Search
from pbmon_client.present.view_columns import CLASSES, ViewColumn
from pbmon_client.present.views import BUSIEST, BY_NAME, PROCESSES, View
from pbmon_client.web import keys
from pbmon_client.web.columns import column_of
from pbmon_client.web.past import When
from pbmon_client.web.patterns import search_of

MOST_ROWS: Final = 500
MOST_FLOWS: Final = 200
_MOST_PINNED: Final = 50
_MOST_WITHIN: Final = 4
_MOST_COLUMNS: Final = 200
_LARGEST: Final = 1 << 53
#: A key that no row has, in place of one that cannot be read.
_NOBODY: Final = -1
Decoded = TypeVar("Decoded")


class NotAWishError(ValueError):
    """The frame is no wish at all; the message says why."""


class WishError(ValueError):
    """The wish asks for what does not exist; the message is for the user."""

    def __init__(self, wish: int, message: str, place: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.wish: Final = wish
        self.place: Final = place


@dataclass(frozen=True, slots=True)
class RowWindow:
    """Which rows of an order to send."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Wish:
    """A checked wish. ``selected`` is the text of a key, ``key`` what it stands for.

    ``detail`` None: no connections and files of the selection. ``when`` None: now.
    """

    number: int = 0
    view: View = PROCESSES
    search: Search = EVERYTHING
    active: bool = False
    sort: str | None = BUSIEST
    reverse: bool = False
    hidden: frozenset[str] = frozenset()
    within: tuple[GroupScope, ...] = ()
    columns: tuple[ViewColumn, ...] = PROCESSES.columns
    units: Units = field(default_factory=Units)
    window: RowWindow = RowWindow(0, 60)
    selected: str | None = None
    key: RowKey | None = None
    pinned: tuple[RowKey, ...] = ()
    paused: bool = False
    detail: RowWindow | None = RowWindow(0, 50)
    when: When | None = None

    @property
    def query(self) -> ViewQuery:
        """What to list. Wishes that differ only in what they show of it have the same one."""
        return ViewQuery(
            view=self.view,
            within=self.within,
            search=self.search,
            active=self.active,
            hidden=self.hidden,
            sort=self.sort,
            reverse=self.reverse,
            totals=self.units.totals,
            pinned=self.pinned,
        )

    @property
    def scope(self) -> GroupScope | None:
        """The selected row, if connections and files belong to it and are wanted."""
        if self.key is None or self.detail is None or not self.view.has_flows:
            return None
        return GroupScope(PROCESSES if self.view.tree else self.view, self.key, "")

    @property
    def pid(self) -> int | None:
        """The process that is selected."""
        if self.view.grouping is None and self.view.has_flows and isinstance(self.key, tuple):
            return int(self.key[0])
        return None

    @property
    def needs_flows(self) -> bool:
        """Whether the connections and files of all processes are needed."""
        scope = self.scope
        return (
            self.view.needs_flows
            or self.search.needs_flows
            or any(each.view.needs_flows for each in self.within)
            or (scope is not None and scope.view.grouping is not None)
        )


def read(frame: str | bytes) -> Wish:
    """Read a frame. NotAWishError unless it is a wish; WishError if it asks for nonsense."""
    try:
        given = json.loads(frame)
    except (ValueError, RecursionError):
        raise NotAWishError("not JSON") from None
    if not isinstance(given, dict):
        raise NotAWishError("not an object")
    wish = _Members(given)
    number = wish.whole("wish", -_LARGEST)
    view = BY_NAME.get(wish.text("view", PROCESSES.name))
    if view is None:
        raise WishError(number, "there is no such view")
    text = wish.text("filter", "")
    search = search_of(text)
    if search.error:
        raise WishError(number, search.error, search.place)
    units = _units(_Members(wish.mapping("units")))
    selected = wish.text("selected", None)
    return Wish(
        number=number,
        view=view,
        search=replace(search, text=""),  # equal expressions in other spaces are equal
        active=wish.flag("active"),
        sort=_sort(number, view, wish.text("sort", BUSIEST), units),
        reverse=wish.flag("reverse"),
        hidden=frozenset(wish.texts("hidden", len(CLASSES))).intersection(CLASSES),
        within=tuple(_scope(_Members(each)) for each in wish.mappings("within", _MOST_WITHIN)),
        columns=_columns(number, view, wish),
        units=units,
        window=_window(wish.mapping("window"), 60, MOST_ROWS),
        selected=selected,
        key=None if selected is None else keys.decode(selected, view),
        pinned=_known(wish.texts("pinned", _MOST_PINNED), lambda text: keys.decode(text, view)),
        paused=wish.flag("paused"),
        detail=_detail(given, wish),
        when=_when(number, wish),
    )


def _known(texts: list[str], read_one: Callable[[str], Decoded | None]) -> tuple[Decoded, ...]:
    return tuple(found for text in dict.fromkeys(texts) if (found := read_one(text)) is not None)


def _sort(number: int, view: View, name: str | None, units: Units) -> str | None:
    if name is None or name == BUSIEST:
        return name
    column = column_of(view, name)
    if column is None:
        raise WishError(number, f"cannot sort {view.name} by that: {unknown_field(name)}")
    return column.source(units)


def _columns(number: int, view: View, wish: _Members) -> tuple[ViewColumn, ...]:
    names = wish.texts("columns", _MOST_COLUMNS) if wish.has("columns") else None
    if names is None:
        return view.columns
    columns = []
    for name in dict.fromkeys(names):
        column = column_of(view, name)
        if column is None:
            raise WishError(number, f"{view.name} has no such column: {unknown_field(name)}")
        columns.append(column)
    return tuple(columns)


def _units(given: _Members) -> Units:
    return Units(*(given.flag(name) for name in ("totals", "bits", "binary", "exact")))


def _window(given: Mapping[str, Any], count: int, most: int) -> RowWindow:
    reader = _Members({"first": 0, "count": count, **given})
    return RowWindow(reader.whole("first", 0), min(most, reader.whole("count", 0)))


def _detail(given: Mapping[str, Any], wish: _Members) -> RowWindow | None:
    if "detail" in given and given["detail"] is None:
        return None
    return _window(wish.mapping("detail"), 50, MOST_FLOWS)


def _when(number: int, wish: _Members) -> When | None:
    at, since, until = (
        wish.whole(name, 0, END_S) if wish.has(name) else None for name in ("at", "since", "until")
    )
    if since is None and until is None:
        return None if at is None else When(at)
    if at is not None or since is None or until is None or since >= until:
        raise WishError(number, "a time is one moment, or a range with a beginning and an end")
    return When(since, until)


def _scope(given: _Members) -> GroupScope:
    view = BY_NAME.get(given.text("view", "") or "")
    if view is None:
        raise NotAWishError("within: no such view")
    if view.tree:
        view = PROCESSES
    key = keys.decode(given.text("key", "") or "", view)
    if key is None:
        key = (_NOBODY, _NOBODY) if view.grouping is None else (_NOBODY,)
    return GroupScope(view, key, "")


class _Members:
    """The members of an object, each checked for its type."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def has(self, name: str) -> bool:
        """Whether a member is there and is not null."""
        return self._given.get(name) is not None

    def whole(self, name: str, least: int, most: int = _LARGEST) -> int:
        value = self._given.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise NotAWishError(f"{name}: not a whole number")
        if not least <= value <= most:
            raise NotAWishError(f"{name}: out of range")
        return value

    def flag(self, name: str) -> bool:
        value = self._given.get(name, False)
        if not isinstance(value, bool):
            raise NotAWishError(f"{name}: neither true nor false")
        return value

    def text(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - text, or what is otherwise
        """Return a text; null only where there may be none."""
        value = self._given.get(name, otherwise)
        if value is None and name in ("sort", "selected"):
            return None
        return _text(name, value)

    def texts(self, name: str, most: int) -> list[str]:
        value = self._given.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise NotAWishError(f"{name}: not a list of at most {most}")
        return [_text(name, item) for item in value]

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._given.get(name, {})
        if not isinstance(value, dict):
            raise NotAWishError(f"{name}: not an object")
        return value

    def mappings(self, name: str, most: int) -> list[Mapping[str, Any]]:
        value = self._given.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise NotAWishError(f"{name}: not a list of at most {most}")
        if not all(isinstance(item, dict) for item in value):
            raise NotAWishError(f"{name}: not a list of objects")
        return value


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, str):
        raise NotAWishError(f"{name}: not text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise NotAWishError(f"{name}: not valid Unicode") from None
    return value
