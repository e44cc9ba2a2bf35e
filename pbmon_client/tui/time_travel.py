"""Keys, clicks and news of the scene of the past."""

from __future__ import annotations

from typing import Final

from pbmon_client.data import times
from pbmon_client.tui.feed.messages import (
    PastCurvesReady,
    PastFailed,
    PastNews,
    PastReady,
    TimelineReady,
)
from pbmon_client.tui.session.past import PastRequest, PastScene, row_past
from pbmon_client.tui.session.state import State
from pbmon_client.tui.typing_line import edit

_TO: Final = " to "
#: Steps by action: intervals, and cells of the timeline.
_STEPS: Final = {"step back": -1, "step forth": 1, "steps back": -10, "steps forth": 10}
_SCRUBS: Final = {"scrub back": -1, "scrub forth": 1, "scrubs back": -10, "scrubs forth": 10}
_ZOOMS: Final = {"zoom in": -1, "zoom out": 1}
#: What has no meaning in the past, and why.
_SENSELESS: Final = {
    "signal": "this is the past: L returns to the present, where signals can be sent",
    "pause": "the past stands still: [ and ] step, L returns to the present",
}


def go(state: State, at: int, until: int | None = None) -> None:
    """Show the past at a time, or the sum from ``at`` to ``until``."""
    now = int(state.wall())
    last = at if until is None else until - 1
    if state.past is None:
        state.past = PastScene(last, now)
    state.frozen = None
    state.past.now = now
    state.past.mark = None
    state.past.go(last)
    if until is not None:
        state.past.mark = (at, min(at + 1, until))
        state.past.width = 1
        state.past.show_range()


def act(state: State, action: str) -> str | None:
    """Do what a key does in the past; return words for the user. None if it is no such key."""
    past = state.past
    if action == "time":
        state.asked, state.asked_problem, state.cursor = "", "", 0
        return ""
    if action == "live":
        state.past = None
        return "this is the present already" if past is None else ""
    if past is None:
        return _enter(state, _STEPS[action]) if action in _STEPS else None
    past.now = int(state.wall())
    if action in _STEPS:
        past.step(_STEPS[action])
    elif action in _SCRUBS:
        past.scrub(_SCRUBS[action], cells(state))
    elif action in _ZOOMS:
        past.zoom(_ZOOMS[action])
    elif action == "mark":
        past.switch_mark()
    else:
        return _SENSELESS.get(action)
    return ""


def _enter(state: State, steps: int) -> str:
    if steps > 0:
        return "this is the present: [ steps back"
    shown = state.newest
    now = state.wall() if shown is None else shown.message.time_ns / 1e9
    go(state, int(now) + steps)
    return ""


def cells(state: State) -> int:
    """Return how many cells the timeline has."""
    return max(1, state.width - 2)


def click(state: State, x: int) -> None:
    """Move the cursor to a cell of the screen that is on the timeline."""
    past = state.past
    if past is not None:
        place = max(0, min(cells(state) - 1, x - 1))
        past.now = int(state.wall())
        past.go(past.left + int((place + 0.5) * past.span / cells(state)))


# --- the time that is typed -----------------------------------------------------------------------


def typing_key(state: State, key: str) -> bool:
    """Take a key for the line in which a time is typed; False if it is not for it."""
    text = state.asked or ""
    if key in ("esc", "ctrl c"):
        state.asked = None
    elif key == "enter":
        _answer(state, text)
    else:
        done = edit(text, state.cursor, key)
        if done is None:
            return False
        state.asked, state.cursor = done
        state.asked_problem = ""
    return True


def _answer(state: State, text: str) -> None:
    if not text.strip():
        state.asked = None
        return
    try:
        at, until = understand(text, state.wall())
    except ValueError as error:
        state.asked_problem = str(error)
        return
    state.asked = None
    go(state, at, until)


def understand(text: str, now_s: float) -> tuple[int, int | None]:
    """Read a time, or two of them: ``03:10 to 03:15``. ValueError with words for the user."""
    first, to, second = text.partition(_TO)
    at = times.read(first, now_s)
    if at.seconds > now_s:
        raise ValueError("that is in the future")
    if not to:
        return at.seconds, None
    until = times.read(second, now_s, after=at.after)
    if until.seconds <= at.seconds:
        raise ValueError(times.with_remarks("the range ends before it begins", at, until))
    return at.seconds, until.seconds


# --- news -----------------------------------------------------------------------------------------


def receive(state: State, news: PastNews) -> str:
    """Take what was read of the past; return words for the user."""
    past = state.past
    if past is None:
        return ""  # it was left meanwhile
    if isinstance(news, PastFailed):
        if past.shown is None:
            state.past = None
        return news.words
    if isinstance(news, TimelineReady):
        past.timeline = news.timeline
    elif isinstance(news, PastCurvesReady):
        past.curves = news.curves
    elif isinstance(news, PastReady):
        return _show(state, past, news)
    return ""


def _show(state: State, past: PastScene, news: PastReady) -> str:
    past.take(news.request, news.shown)
    if news.query is not None:
        state.keep(news.shown.snapshot, news.query, news.rows)
    if not news.moved:
        return ""
    asked = news.request
    older = asked.before is not None or (asked.after is None and asked.at < news.shown.begin)
    end = "the oldest that is kept" if older else "the newest that was recorded; L is now"
    return f"this is {end}"


def request(state: State, *, flows: bool) -> PastRequest | None:
    """Say what the screen needs of the past."""
    past = state.past
    if past is None:
        return None
    row = None
    chosen = state.selected() if past.shown is not None else None
    if chosen is not None and (state.opened or state.settings.detail):
        rows, at = chosen
        row = row_past(state.position.view, rows.listing.key(at))
    return past.request(interval_s=state.interval_s, flows=flows, cells=cells(state), row=row)
