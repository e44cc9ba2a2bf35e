"""What the interface remembers from one key press or snapshot to the next."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pbmon_client.data.model import Snapshot
from pbmon_client.present.arrange import Arranged, GroupScope, ViewQuery, arrange
from pbmon_client.present.listing import RowKey
from pbmon_client.present.numbers import Units
from pbmon_client.present.search import EVERYTHING, Search
from pbmon_client.present.view_columns import NameOf, ServiceOf, Style
from pbmon_client.present.views import BUSIEST, BY_NAME, TREE, View
from pbmon_client.tui.session.curves import Curves, Sample
from pbmon_client.tui.session.past import PastCurves, PastScene, PastShown
from pbmon_client.tui.session.settings import Settings
from pbmond.fields import HISTORY

#: A snapshot older than this many intervals is out of date.
STALE_INTERVALS: Final = 3
_ARRANGEMENTS: Final = 6


@dataclass(slots=True)
class ViewPosition:
    """The view on the screen, within which groups, and which of its rows is selected.

    ``selected`` None is whichever row is first. ``at`` is the selected row's index in
    the order, ``line`` its line on the screen.
    """

    view: View
    within: tuple[GroupScope, ...] = ()
    selected: RowKey | None = None
    at: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class ProcessDetail:
    """The snapshot of one process's own topic: its connections, files and history."""

    pid: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a paused screen shows; ``since_s`` is when it began."""

    snapshot: Snapshot
    detail: ProcessDetail | None
    curves: Curves
    since_s: float


@dataclass(slots=True)
class State:
    """All of it. Times in seconds are of a monotonic clock, and are passed in."""

    settings: Settings
    position: ViewPosition
    back: list[ViewPosition] = field(default_factory=list)
    search: Search = EVERYTHING
    typed: str | None = None  # the filter line while it is being typed
    asked: str | None = None  # a time while it is being typed
    asked_problem: str = ""
    cursor: int = 0  # in the line that is being typed
    pinned: dict[str, tuple[RowKey, ...]] = field(default_factory=dict)
    interval_s: float | None = None
    newest: Snapshot | None = None
    newest_detail: ProcessDetail | None = None
    frozen: Frozen | None = None
    past: PastScene | None = None
    wall: Callable[[], float] = time.time
    received_s: float | None = None
    silence: str = ""
    notice: str = ""
    notice_until_s: float = 0.0
    opened: bool = False  # the details fill the screen
    detail_top: int = 0
    newest_curves: Curves = field(default_factory=Curves)
    name_of: NameOf | None = None
    service_of: ServiceOf | None = None
    ascii_only: bool = False
    page: int = 10  # rows of the table when it was last drawn
    width: int = 80  # of the screen then
    _arranged: OrderedDict[tuple[int, ViewQuery], tuple[Snapshot, Arranged | None]] = field(
        default_factory=OrderedDict
    )

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot on the screen."""
        if self.past_shown is not None:
            return self.past_shown.snapshot
        return self.newest if self.frozen is None else self.frozen.snapshot

    @property
    def past_shown(self) -> PastShown | None:
        """What the screen shows of the past; None while it shows the present."""
        return None if self.past is None else self.past.shown

    @property
    def curves(self) -> Curves | PastCurves:
        """The curves on the screen."""
        if self.past is not None and self.past.shown is not None:
            return self.past.curves
        return self.newest_curves if self.frozen is None else self.frozen.curves

    @property
    def units(self) -> Units:
        """How traffic is written."""
        chosen = self.settings
        return Units(chosen.totals, chosen.bits, chosen.binary, chosen.exact)

    @property
    def style(self) -> Style:
        """How values are written."""
        snapshot = self.snapshot
        now_ns = 0 if snapshot is None else snapshot.message.time_ns
        style = Style(
            units=self.units,
            wall_ns=0 if snapshot is None else now_ns - snapshot.message.now_ns,
            now_ns=now_ns,
            full_command=self.settings.full_command,
            ascii_only=self.ascii_only,
        )
        if not self.settings.names or self.name_of is None or self.service_of is None:
            return style
        return replace(style, name_of=self.name_of, service_of=self.service_of)

    @property
    def hidden_classes(self) -> frozenset[str]:
        """The classes that are hidden."""
        return frozenset(self.settings.hidden.get("", ()))

    def sort_of(self, view: View) -> tuple[str, bool]:
        """Return the field that a view is sorted by, and whether in reverse."""
        return self.settings.sort.get(view.name, (BUSIEST, False))

    def query(self) -> ViewQuery:
        """Return what the screen lists."""
        view = self.position.view
        name, reverse = self.sort_of(view)
        chosen = next((column for column in view.columns if column.name == name), None)
        return ViewQuery(
            view=view,
            within=self.position.within,
            search=self.search,
            active=self.settings.active,
            hidden=self.hidden_classes,
            sort=BUSIEST if chosen is None else chosen.source(self.units),
            reverse=reverse,
            totals=self.settings.totals,
            pinned=self.pinned.get(view.name, ()),
        )

    def rows(self) -> Arranged | None:
        """Return the rows of the view on the screen; None while there are none to show."""
        snapshot = self.snapshot
        return None if snapshot is None else self.rows_of(snapshot, self.query())

    def rows_of(self, snapshot: Snapshot, query: ViewQuery) -> Arranged | None:
        """Return the rows of a query, arranged only if they are not cached."""
        held = self._arranged.get((id(snapshot), query))
        if held is not None and held[0] is snapshot:
            return held[1]
        rows = arrange(snapshot, query)
        self.keep(snapshot, query, rows)
        return rows

    def keep(self, snapshot: Snapshot, query: ViewQuery, rows: Arranged | None) -> None:
        """Remember rows that were arranged."""
        detail = None if self.newest_detail is None else self.newest_detail.snapshot
        kept = (self.newest, detail, self.snapshot, snapshot)
        for key, (old, _rows) in list(self._arranged.items()):
            if not any(old is each for each in kept):
                del self._arranged[key]
        # The snapshot is kept with the rows, so that its id cannot be reused.
        self._arranged[id(snapshot), query] = (snapshot, rows)
        while len(self._arranged) > _ARRANGEMENTS:
            self._arranged.popitem(last=False)

    def reselect(self) -> Arranged | None:
        """Find the selected row by its identity; if it is gone, select what took its place."""
        rows = self.rows()
        position = self.position
        if rows is None or not rows.order:
            return rows
        if position.selected is None:
            position.at = min(rows.pinned, len(rows.order) - 1) if rows.pinned else 0
            return rows
        at = rows.index_of(position.selected)
        if at is None:
            at = min(position.at, len(rows.order) - 1)
            # In the past, a row is there only when it moves: it is selected when it does again.
            if self.past_shown is None:
                position.selected = rows.key_at(at)
        position.at = at
        return rows

    def selected(self) -> tuple[Arranged, int] | None:
        """Return the rows and the index of the selected one in their listing."""
        rows = self.reselect()
        if rows is None or not rows.order:
            return None
        return rows, rows.order[self.position.at]

    def selected_process(self) -> tuple[int, int] | None:
        """Return (pid, start_ns) of the process selected, or of the row's process."""
        chosen = self.selected()
        if chosen is None or self.position.view.grouping is not None:
            return None
        rows, row = chosen
        columns = [rows.listing.raw(name) for name in ("pid", "start_ns")]
        if columns[0] is None or columns[1] is None:
            return None
        return columns[0][row], columns[1][row]

    @property
    def needs_flows(self) -> bool:
        """Whether all connections and files are needed."""
        within = any(each.view.needs_flows for each in self.position.within)
        return self.position.view.needs_flows or self.search.needs_flows or within

    def detail_of(self, pid: int) -> Snapshot | None:
        """Return the snapshot that has a process's connections and files."""
        shown = self.snapshot
        if shown is not None and shown.connections is not None:
            return shown
        return self._detail_of(pid)

    def history_of(self, pid: int, start_ns: int) -> list[Sequence[Sample]] | None:
        """Return the daemon's curves of a process, None until they have arrived.

        The daemon sends those of the newest process with that pid.
        """
        found = self._detail_of(pid)
        if found is None or self.interval_s:
            return None
        newest_ns = max(
            (start for owner, start in found.processes.index() if owner == pid), default=0
        )
        if newest_ns != start_ns:
            return None
        history = found.message.history
        curves = [history.get(name) or [] for name in HISTORY]
        return curves if any(curves) else None

    def _detail_of(self, pid: int) -> Snapshot | None:
        if self.past_shown is not None:
            return None
        detail = self.newest_detail if self.frozen is None else self.frozen.detail
        return None if detail is None or detail.pid != pid else detail.snapshot

    def stale_s(self, now_s: float) -> float | None:
        """Return the age of the screen in seconds if it is out of date, else None."""
        still = self.frozen is not None or self.past_shown is not None
        if self.newest is None or self.received_s is None or still:
            return None
        interval_s = max((self.newest.message.interval_ns or 10**9) / 1e9, self.interval_s or 0)
        age_s = now_s - self.received_s
        return age_s if age_s > STALE_INTERVALS * interval_s else None

    def show_view(self, view: View) -> None:
        """Change to a view of everything."""
        if view is not self.position.view or self.position.within:
            selected = self._carried(view)
            self.back.clear()
            self.position = ViewPosition(view, selected=selected)
        self.opened = False

    def _carried(self, view: View) -> RowKey | None:
        """Return the selection to keep when switching between processes and their tree."""
        pair = {view.name, self.position.view.name}
        return self.position.selected if pair == {"processes", TREE.name} else None


def begin(settings: Settings) -> State:
    """Make the state at the start."""
    return State(settings=settings, position=ViewPosition(BY_NAME[settings.view]))
