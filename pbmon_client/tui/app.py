"""The interface without its terminal: keys, clicks, snapshots in; screens and effects out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pbmon_client.present.listing import RowKey
from pbmon_client.present.search import named, understand
from pbmon_client.present.view_columns import NameOf, ServiceOf
from pbmon_client.present.views import BY_NAME
from pbmon_client.tui import actions, time_travel
from pbmon_client.tui.draw import popups, screen
from pbmon_client.tui.draw.grid import Hit
from pbmon_client.tui.draw.header import open_warnings
from pbmon_client.tui.feed.messages import (
    Crashed,
    Failed,
    FeedRequest,
    News,
    PastNews,
    SnapshotReady,
)
from pbmon_client.tui.session.keys import ACTIONS, PAST_ACTIONS
from pbmon_client.tui.session.settings import Settings
from pbmon_client.tui.session.state import Frozen, ProcessDetail, State, begin
from pbmon_client.tui.typing_line import edit

_NOTICE_S: Final = 5.0
_WHEEL_ROWS: Final = 3
_DOUBLE_CLICK_S: Final = 0.4


@dataclass(frozen=True, slots=True)
class Copy:
    """Put a text on the clipboard."""

    text: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a signal to a process."""

    pid: int
    start_ns: int
    number: int


@dataclass(frozen=True, slots=True)
class Redraw:
    """Redraw everything, for when another program wrote over the screen."""


@dataclass(frozen=True, slots=True)
class Quit:
    """End; ``failure`` says why, if it is one."""

    failure: str = ""


Effect = Copy | Kill | Redraw | Quit


class App:
    """Reacts to events; the owner of the terminal draws, and carries out the effects."""

    def __init__(
        self,
        settings: Settings,
        *,
        name_of: NameOf | None = None,
        service_of: ServiceOf | None = None,
        ascii_only: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.state: Final[State] = begin(settings)
        self.state.name_of = name_of
        self.state.service_of = service_of
        self.state.ascii_only = ascii_only
        self.state.wall = wall
        self._popup: popups.Popup | None = None
        self._hits: list[Hit] = []
        self._clicked: tuple[float, RowKey] | None = None
        self._before_typing = ""
        self._typed_unread = False  # typed text that was not parsed yet
        self._dragging = False  # the button was pressed on the timeline

    # --- events -----------------------------------------------------------------------------------

    def receive(self, news: News, now_s: float) -> list[Effect]:
        """Take a piece of news."""
        state = self.state
        if isinstance(news, Crashed):
            raise news.error
        if isinstance(news, Failed):
            return [Quit(news.words)]
        if isinstance(news, ProcessDetail):
            state.newest_detail = news
            if state.frozen is not None and state.frozen.detail is None:
                state.frozen = replace(state.frozen, detail=news)
        elif isinstance(news, SnapshotReady):
            self._show(news, now_s)
        elif isinstance(news, PastNews):
            self._say(time_travel.receive(state, news), now_s)
        else:
            state.silence = news.words
        return []

    def _show(self, news: SnapshotReady, now_s: float) -> None:
        state = self.state
        restarted = state.newest and state.newest.message.epoch != news.snapshot.message.epoch
        if restarted and state.past is None:
            self.notify("the daemon restarted: its counters start from zero", now_s)
        state.newest = news.snapshot
        state.received_s = now_s
        state.silence = ""
        state.newest_curves.record(news.points)
        if news.query is not None:
            state.keep(news.snapshot, news.query, news.rows)

    def key(self, key: str, now_s: float) -> list[Effect]:
        """Take a key, by urwid's name for it."""
        if self._popup is not None:
            return self._popup_key(key)
        if self.state.typed is not None and self._typing_key(key):
            return []
        if self.state.asked is not None and time_travel.typing_key(self.state, key):
            return []
        self._read_typed()  # keys typed together act on the result of those before them
        action = ACTIONS.get(key)
        if self.state.past is not None:
            action = PAST_ACTIONS.get(key, action)
        return [] if action is None else self._act(action, now_s)

    def click(self, x: int, y: int, now_s: float) -> None:
        """Take a click of the left button."""
        self._read_typed()
        if self._popup is not None:
            self._popup = None
            return
        hit = next((h for h in self._hits if h.line == y and h.start <= x < h.end), None)
        if hit is None:
            return
        if hit.what == "view":
            self.state.show_view(BY_NAME[str(hit.value)])
        elif hit.what == "time":
            self._dragging = True
            time_travel.click(self.state, x)
        elif hit.what == "sort":
            actions.sort_by(self.state, str(hit.value))
        elif actions.select(self.state, hit.value):
            before, self._clicked = self._clicked, (now_s, hit.value)
            if before and before[1] == hit.value and now_s - before[0] <= _DOUBLE_CLICK_S:
                actions.open_row(self.state)

    def drag(self, x: int) -> None:
        """Take a move of the mouse with its button pressed, which scrubs the timeline."""
        if self._dragging and self._popup is None:
            time_travel.click(self.state, x)

    def release(self) -> None:
        """Take the end of a drag."""
        self._dragging = False

    def wheel(self, direction: int) -> None:
        """Take one step of the wheel: -1 is up."""
        self._read_typed()
        if self._popup is not None:
            self._popup.key("up" if direction < 0 else "down")
        else:
            actions.move(self.state, direction * _WHEEL_ROWS)

    def notify(self, text: str, now_s: float) -> None:
        """Show a line at the bottom for a while."""
        self.state.notice = text
        self.state.notice_until_s = now_s + _NOTICE_S

    def _say(self, words: str, now_s: float) -> None:
        if words:
            self.notify(words, now_s)

    # --- drawing ----------------------------------------------------------------------------------

    def draw(self, width: int, height: int, now_s: float) -> screen.DrawnScreen:
        """Draw the screen."""
        self._read_typed()
        frame = screen.draw(self.state, self._popup, width, height, now_s)
        self._hits = frame.hits
        return frame

    def ages(self, now_s: float) -> bool:
        """Whether the screen changes with time alone: a pause, an age, the end of a notice."""
        state = self.state
        if state.notice and now_s >= state.notice_until_s:
            state.notice = ""
            return True
        if state.past is not None:  # how long ago it is
            return True
        return state.frozen is not None or state.stale_s(now_s) is not None

    def request(self) -> FeedRequest:
        """Say what the screen needs from the feed."""
        self._read_typed()
        state = self.state
        process = None
        if state.past_shown is None and (state.opened or state.settings.detail):
            process = state.selected_process()
        grouped = state.position.view.grouping is not None and state.settings.detail
        flows = state.needs_flows or grouped
        return FeedRequest(
            flows=flows,
            pid=None if process is None else process[0],
            interval_s=state.interval_s,
            query=state.query(),
            typed=None if state.typed is None else named(state.typed),
            past=time_travel.request(state, flows=flows or state.opened or state.settings.detail),
        )

    # --- keys -------------------------------------------------------------------------------------

    def _act(self, action: str, now_s: float) -> list[Effect]:
        change = actions.ACTIONS.get(action)
        if change is not None:
            change(self.state)
            return []
        words = time_travel.act(self.state, action)
        if words is not None:
            self._say(words, now_s)
            return []
        if action == "quit":
            return [Quit()]
        if action == "redraw":
            return [Redraw()]
        if action == "copy":
            return self._copy(now_s)
        self._act_on_screen(action, now_s)
        return []

    def _act_on_screen(self, action: str, now_s: float) -> None:
        state = self.state
        if action == "pause":
            self._pause(now_s)
        elif action == "filter":
            self._before_typing = state.search.text
            state.typed = state.search.text
            state.cursor = len(state.typed)
        elif action == "help":
            self._popup = popups.HelpPage()
        elif action == "health":
            self._popup = popups.HealthPage(lambda: state.snapshot)
        elif action == "columns":
            view = state.position.view
            self._popup = popups.ColumnChooser(view.name, view.columns, state.settings.hidden)
        elif action == "signal":
            self._ask_signal(now_s)
        elif action == "acknowledge":
            state.settings.put_away(warning.key for warning in open_warnings(state))

    def _pause(self, now_s: float) -> None:
        state = self.state
        if state.frozen is not None:
            state.frozen = None
        elif state.newest is not None:
            curves = state.newest_curves.copy()
            state.frozen = Frozen(state.newest, state.newest_detail, curves, now_s)

    def _copy(self, now_s: float) -> list[Effect]:
        text = actions.row_json(self.state)
        if text is None:
            return []
        self.notify("copied the row as JSON (if the terminal allows it)", now_s)
        return [Copy(text)]

    def _ask_signal(self, now_s: float) -> None:
        """Ask which signal to send, if the process is the user's own."""
        chosen = self.state.selected()
        process = self.state.selected_process()
        if chosen is None or process is None:
            self.notify("select a process to send it a signal", now_s)
            return
        rows, row = chosen
        values_of = rows.listing.window([row])
        uid, name, state = ((values_of(each) or [None])[0] for each in ("uid", "name", "state"))
        if state == "exited":
            self.notify(f"{name} has exited already", now_s)
        elif os.geteuid() not in (0, uid):
            self.notify(f"{name} is not your process", now_s)
        else:
            self._popup = popups.SignalQuestion(*process, name or "?")

    def _popup_key(self, key: str) -> list[Effect]:
        popup = self._popup
        if popup is None or popup.key(key):
            return []
        self._popup = None
        if isinstance(popup, popups.SignalQuestion) and popup.answer is not None:
            return [Kill(popup.pid, popup.start_ns, popup.answer)]
        return []

    def _typing_key(self, key: str) -> bool:
        """Take a key for the filter line; False if it is not for it."""
        state = self.state
        if key in ("enter", "esc", "ctrl c"):
            self._read_typed()
            if key != "enter":
                state.search = understand("")
            elif state.search.error:
                state.search = understand(self._before_typing)
            state.typed = None
            return True
        done = edit(state.typed or "", state.cursor, key)
        if done is None:
            return False
        text, state.cursor = done
        if text != state.typed:
            state.typed = text
            self._typed_unread = True
        return True

    def _read_typed(self) -> None:
        """Filter while typing; an unfinished expression keeps the previous matches.

        Keys that arrive together, as in a paste, are read once.
        """
        text = self.state.typed
        if not self._typed_unread or text is None:
            return
        self._typed_unread = False
        found = understand(text)
        if found.error:
            now = self.state.search
            found = type(found)(now.text, now.words, now.filter, found.error)
        self.state.search = found
