"""urwid: shows the drawn lines in a terminal, and brings keys, clicks and news to the interface."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import urwid

from pbmon_client.present.cells import Line, in_ascii, reads_unicode
from pbmon_client.tui import clipboard, kill
from pbmon_client.tui.app import App, Copy, Effect, Kill, Quit, Redraw
from pbmon_client.tui.display import Screen, TerminalScreen
from pbmon_client.tui.feed.messages import SnapshotSource
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmon_client.tui.session import palette, settings

_TICK_S: Final = 1.0
#: The cycle collector runs at most this often, and only while nobody types.
_COLLECT_S: Final = 300.0
#: How long a lone Esc may still become the start of a longer sequence.
_ESCAPE_S: Final = 0.015
_WHEEL: Final = {4: -1, 5: 1}


class LinesCanvas(urwid.Canvas):
    """Drawn lines as urwid wants them: runs of bytes in the terminal's encoding."""

    cacheable = False

    def __init__(
        self, lines: list[Line], size: tuple[int, int], cursor: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self._size = size
        ascii_only = urwid.util.get_encoding_mode() != "utf8"  # as follow_locale chose
        code = "ascii" if ascii_only else "utf-8"
        self._rows = [
            [
                (role, None, (in_ascii(text) if ascii_only else text).encode(code, "replace"))
                for role, text in line
            ]
            for line in lines
        ]
        if cursor is not None:
            self.cursor = cursor

    def rows(self) -> int:
        """Return the height."""
        return self._size[1]

    def cols(self) -> int:
        """Return the width."""
        return self._size[0]

    def content(
        self,
        trim_left: int = 0,
        trim_top: int = 0,
        cols: int = 0,
        rows: int = 0,  # noqa: ARG002 - urwid's signature
        attr: Mapping[Any, Any] | None = None,
    ) -> Iterator[list[tuple[Any, Any, bytes]]]:
        """Yield the lines; this canvas is the whole screen, and is never trimmed."""
        if trim_left or trim_top or attr or cols not in (0, self._size[0]):
            raise urwid.CanvasError("the screen is drawn as a whole")
        yield from self._rows


class Window(urwid.Widget):
    """The one widget: draws the interface, and hands it the input."""

    _sizing = frozenset([urwid.BOX])
    _selectable = True
    no_cache: Final = ["render"]

    def __init__(
        self,
        app: App,
        carry_out: Callable[[list[Effect]], None],
        clock: Callable[[], float],
        priority: RenderPriority,
    ) -> None:
        super().__init__()
        self._priority = priority
        self._clock = clock
        self._app = app
        self._carry_out = carry_out

    # The signatures below are urwid's; a box widget's size is (columns, rows).

    def render(self, size: Any, focus: bool = False) -> LinesCanvas:  # noqa: ANN401, ARG002, FBT001, FBT002
        """Draw the screen."""
        width, height = size
        with self._priority.drawing():
            frame = self._app.draw(width, height, self._clock())
            return LinesCanvas(frame.lines, size, frame.cursor)

    def keypress(self, size: Any, key: str) -> str | None:  # noqa: ANN401, ARG002
        """Hand over a key."""
        self._carry_out(self._app.key(key, self._clock()))
        self._invalidate()
        return None

    def mouse_event(  # noqa: PLR0917
        self,
        size: Any,  # noqa: ANN401, ARG002
        event: str,
        button: int,
        col: int,
        row: int,
        focus: bool,  # noqa: ARG002, FBT001
    ) -> bool:
        """Hand over a click, a drag, or a step of the wheel."""
        if event == "mouse drag":
            self._app.drag(col)
        elif event == "mouse release":
            self._app.release()
        elif event != "mouse press":
            return False
        elif button in _WHEEL:
            self._app.wheel(_WHEEL[button])
        elif button == 1:
            self._app.click(col, row, self._clock())
        self._carry_out([])
        self._invalidate()
        return True


class _Loop(urwid.MainLoop):
    """urwid's loop, with a callback after each drawing."""

    on_drawn: Callable[[], None]
    still = False  # nothing changed since the last drawing

    def draw_screen(self) -> None:
        """Draw, unless nothing changed."""
        if self.still and self.screen_size is not None:
            return
        self.still = True
        super().draw_screen()
        self.on_drawn()


def follow_locale(environment: Mapping[str, str]) -> bool:
    """Make urwid write what the locale's terminal can read; return whether that is Unicode."""
    if reads_unicode(environment):
        return True
    urwid.set_encoding("ascii")
    return False


class Terminal:
    """Runs the interface until the user quits; always restores the terminal."""

    def __init__(
        self,
        app: App,
        source: SnapshotSource,
        path: Path | None,
        *,
        screen: Screen | None = None,
        clock: Callable[[], float] = time.monotonic,
        priority: RenderPriority | None = None,
    ) -> None:
        self._app = app
        self._source = source
        self._path = path
        self._saved = settings.write(app.state.settings)
        self._failure = ""
        self._clock = clock
        self._theme: str | None = None
        self._collected_s = clock()
        self._priority: Final = priority or RenderPriority()
        self.window: Final = Window(app, self._carry_out, clock, self._priority)
        self._screen: Final = screen or TerminalScreen(self._priority.key_pressed)
        self._screen.set_input_timeouts(complete_wait=_ESCAPE_S)
        self.loop: Final = _Loop(
            self.window, screen=self._screen, handle_mouse=True, input_filter=self._on_input
        )
        self.loop.on_drawn = self.on_drawn
        self._paint()

    def run(self) -> str:
        """Show the interface; return why it failed, or "" if the user quit."""
        loop = self.loop
        loop.event_loop.watch_file(self._source.fd, self.on_news)
        loop.set_alarm_in(_TICK_S, self._on_tick)
        before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            loop.run()
        except KeyboardInterrupt:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._save()
            self._source.close()
        return self._failure

    def on_news(self) -> None:
        """Hand the feed's news to the interface."""
        self.loop.still = False
        now_s = self._clock()
        for news in self._source.news():
            self._carry_out(self._app.receive(news, now_s))
        self._carry_out([])
        self.window._invalidate()

    def _on_input(self, keys: list[Any], _raw: list[int]) -> list[Any]:
        self._priority.key_pressed()
        # A terminal may report its cursor position without being asked.
        keys = [key for key in keys if isinstance(key, str) or urwid.util.is_mouse_event(key)]
        if keys:  # a lone Esc may be the start of a sequence, and is no key until that is decided
            self.loop.still = False
        return keys

    def _on_tick(self, loop: urwid.MainLoop, _data: object) -> None:
        if self._app.ages(self._clock()):
            self.loop.still = False
            self.window._invalidate()
        self._collect_when_idle()
        loop.set_alarm_in(_TICK_S, self._on_tick)

    def _collect_when_idle(self) -> None:
        """Run the cycle collector, which ``start`` switched off, while nobody types."""
        now_s = self._clock()
        if not self._priority.user_active and now_s - self._collected_s >= _COLLECT_S:
            self._collected_s = now_s
            gc.collect()

    def _carry_out(self, effects: list[Effect]) -> None:
        now_s = self._clock()
        for effect in effects:
            if isinstance(effect, Quit):
                self._failure = effect.failure
                raise urwid.ExitMainLoop
            if isinstance(effect, Copy):
                self._screen.write(clipboard.sequence(effect.text, self._screen.term))
                self._screen.flush()
            elif isinstance(effect, Kill):
                problem = kill.send(effect.pid, effect.start_ns, effect.number)
                name = signal.Signals(effect.number).name
                self._app.notify(problem or f"sent {name} to {effect.pid}", now_s)
            elif isinstance(effect, Redraw):
                self._screen.clear()
        if self._app.state.settings.theme != self._theme:
            self._paint()

    def on_drawn(self) -> None:
        """Request what the screen needs: after it was drawn, because that wakes the feed."""
        self._source.request(self._app.request())

    def _paint(self) -> None:
        chosen = self._app.state.settings.theme
        self._theme = chosen
        theme = chosen if chosen in palette.THEMES else palette.guess(os.environ)
        screen = self._screen
        grey = palette.has_grey(screen.term, bold_brightens=screen.fg_bright_is_bold)
        screen.register_palette(palette.entries(theme, screen.colors, grey=grey))
        self._screen.clear()

    def _save(self) -> None:
        state = self._app.state
        state.settings.view = (
            state.position.view.name if not state.back else state.back[0].view.name
        )
        if self._path is None or settings.write(state.settings) == self._saved:
            return
        with suppress(settings.SettingsError):  # nobody is left to read the message
            settings.save(self._path, state.settings)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End on a signal as on the quit key, so that the terminal is restored."""
    raise urwid.ExitMainLoop
