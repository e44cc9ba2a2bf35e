"""Starts the terminal interface from a command line: settings, source, and only then urwid."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Final

from pbmon_client.options import Options
from pbmon_client.present.fields import Field
from pbmon_client.present.search import understand
from pbmon_client.present.views import BY_NAME, View
from pbmon_client.tui.app import App
from pbmon_client.tui.feed.receiver import Feed, Source
from pbmon_client.tui.feed.render_priority import Turn
from pbmon_client.tui.names import Names
from pbmon_client.tui.settings import Settings, SettingsError, default_path, load


def run(chosen: Options) -> str:
    """Run until the user quits; return why it failed, or ""."""
    # It would stop a key press for up to half a second at a hundred thousand rows. Neither
    # snapshots nor keys leave cycles behind, as the tests claim; the terminal collects when idle.
    gc.disable()
    _load_filters_soon()
    # The daemon answers while urwid, which takes longest to load, is still being imported.
    turn = Turn()
    source = _source(chosen, turn)
    path: Path | None = default_path(os.environ)
    problem = ""
    try:
        settings = load(path) if path is not None else Settings()
    except SettingsError as error:
        # What cannot be read is left alone: it may be a slip in something worth keeping.
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
    return terminal.Terminal(app, source, path, turn=turn).run()


def _source(chosen: Options, turn: Turn) -> Source:
    if chosen.demo is None:
        return Feed(chosen.socket, chosen.selection, turn)
    from pbmon_client.tui.feed.demo import Demo  # noqa: PLC0415 - only this option needs it

    return Demo(chosen.demo, chosen.selection, turn)


def _load_filters_soon() -> None:
    """Load the filter's parser before its first key is typed, and after the first screen."""
    timer = threading.Timer(_FILTERS_S, understand, ["pid = 0"])
    timer.daemon = True
    timer.start()


_FILTERS_S: Final = 1.5


def apply(app: App, chosen: Options) -> None:
    """Let the options of the command line win over what was remembered."""
    state = app.state
    if chosen.view is not None:
        state.place.view = BY_NAME[chosen.view]
    state.search = understand(chosen.filter_text or "")
    state.interval_s = chosen.interval_s
    selection = chosen.selection
    if selection.active:
        state.settings.active = True
    if selection.sort is not None or selection.reverse:
        view = state.place.view
        field = None if selection.sort is None else field_of(view, selection.sort)
        name = state.sort_of(view)[0] if field is None else field.name
        state.settings.sort[view.name] = (name, selection.reverse)


def field_of(view: View, name: str) -> Field | None:
    """Find the field of a view that shows a column of the contract."""
    counter = name.removesuffix("_per_s")
    return next((f for f in view.fields if counter in (f.counter, f.name, f.sort)), None)
