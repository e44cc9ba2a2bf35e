"""Starts the terminal interface from a command line: settings, source, and only then urwid."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbmon_client.options import Options
from pbmon_client.present.row_lines import column_for
from pbmon_client.present.search import understand
from pbmon_client.present.views import BY_NAME
from pbmon_client.tui import time_travel
from pbmon_client.tui.app import App
from pbmon_client.tui.feed.messages import SnapshotSource
from pbmon_client.tui.feed.past import PastFeed
from pbmon_client.tui.feed.receiver import DaemonFeed
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmon_client.tui.names import Names
from pbmon_client.tui.session.settings import Settings, SettingsError, default_path, load

if TYPE_CHECKING:
    from pbmon_client.history.source import PastSource


def run(chosen: Options) -> str:
    """Run until the user quits; return why it failed, or ""."""
    # The cycle collector would delay a key press by up to half a second at 100,000 rows. Snapshots
    # and keys leave no cycles behind, as tests check, and the terminal collects when idle.
    gc.disable()
    _load_filters_soon()
    # The daemon answers while urwid, which takes longest to load, is still being imported.
    priority = RenderPriority()
    source = _source(chosen, priority)
    path: Path | None = default_path(os.environ)
    problem = ""
    try:
        settings = load(path) if path is not None else Settings()
    except SettingsError as error:
        # A broken file is left alone: it may be a typo in something worth keeping.
        settings, path, problem = Settings(), None, str(error)
    names = Names(source.wake)
    from pbmon_client.tui import terminal  # noqa: PLC0415 - see above

    app = App(
        settings,
        name_of=names.host,
        service_of=names.service,
        ascii_only=not terminal.follow_locale(os.environ),
    )
    apply(app, chosen)
    if problem:
        app.notify(problem, time.monotonic())
    return terminal.Terminal(app, source, path, priority=priority).run()


def _source(chosen: Options, priority: RenderPriority) -> SnapshotSource:
    def opened() -> PastSource:
        from pbmon_client.history.source import PastError, open_past  # noqa: PLC0415 - loads numpy

        if chosen.demo is not None:
            raise PastError("what --demo plays has no past")
        return open_past(None if chosen.past is None else chosen.past.history)

    return PastFeed(_live(chosen, priority), opened, chosen.selection, priority)


def _live(chosen: Options, priority: RenderPriority) -> SnapshotSource:
    if chosen.demo is None:
        return DaemonFeed(chosen.socket, chosen.selection, priority)
    from pbmon_client.tui.feed.demo import Demo  # noqa: PLC0415 - only this option needs it

    return Demo(chosen.demo, chosen.selection, priority)


def _load_filters_soon() -> None:
    """Load the filter parser after the first screen, before somebody types a filter."""
    timer = threading.Timer(_FILTERS_S, understand, ["pid = 0"])
    timer.daemon = True
    timer.start()


_FILTERS_S: Final = 1.5


def apply(app: App, chosen: Options) -> None:
    """Let the options of the command line override the remembered settings."""
    state = app.state
    if chosen.view is not None:
        state.position.view = BY_NAME[chosen.view]
    state.search = understand(chosen.filter_text or "")
    state.interval_s = chosen.interval_s
    past = chosen.past
    if past is not None and past.since is not None:
        time_travel.go(state, past.since, past.now if past.until is None else past.until)
    elif past is not None:
        time_travel.go(state, past.now if past.at is None else past.at)
    selection = chosen.selection
    if selection.active:
        state.settings.active = True
    if selection.sort is not None or selection.reverse:
        view = state.position.view
        column = None if selection.sort is None else column_for(view, selection.sort)
        name = state.sort_of(view)[0] if column is None else column.name
        state.settings.sort[view.name] = (name, selection.reverse)
