"""Drives the terminal interface as a user does: types keys, and reads what urwid draws."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import client_messages
import urwid

from pbmon_client.data import model
from pbmon_client.data.stream import Stream
from pbmon_client.tui.app import App, Effect
from pbmon_client.tui.display import Screen
from pbmon_client.tui.feed.messages import FeedRequest, News, Silent
from pbmon_client.tui.feed.prefetch import prepared
from pbmon_client.tui.session.settings import Settings
from pbmon_client.tui.session.state import ProcessDetail
from pbmon_client.tui.terminal import Terminal
from pbmond import wire

USERS = {0: "root", 33: "www-data", 70: "postgres", 112: "redis", 1000: "mara", 1001: "jonas"}


class Source:
    """A feed that a test fills; ``requests`` holds what was asked for, the newest last."""

    fd = -1  # the loop never runs

    def __init__(self) -> None:
        self.requests: list[FeedRequest] = []
        self._news: list[News] = []

    def put(self, news: News) -> None:
        self._news.append(news)

    def news(self) -> list[News]:
        taken, self._news = self._news, []
        return taken

    def request(self, request: FeedRequest) -> None:
        self.requests.append(request)

    def wake(self) -> None:
        """Nobody sleeps here."""

    def close(self) -> None:
        """Nothing is open."""


class MemoryScreen(Screen):
    """urwid's own screen of a terminal, which writes to memory."""

    def __init__(self, size: tuple[int, int], colours: int) -> None:
        self.written = io.StringIO()
        super().__init__(input=io.StringIO(), output=self.written)
        self._size = size
        self.set_terminal_properties(colors=colours)  # type: ignore[arg-type]  # one of its counts
        self._started = True

    def get_cols_rows(self) -> tuple[int, int]:
        return self._size


class Driver:
    """A running interface of ``width`` by ``height``, on a clock that tests set."""

    def __init__(
        self,
        width: int = 80,
        height: int = 24,
        *,
        settings: Settings | None = None,
        colours: int = 1,
        **options: Any,
    ) -> None:
        self.size = (width, height)
        self.now_s = 1000.0
        self.source = Source()
        self.app = App(settings or Settings(), **options)
        self.screen = MemoryScreen(self.size, colours)
        self.terminal = Terminal(self.app, self.source, None, screen=self.screen, clock=self.clock)
        self.effects: list[Effect] = []
        self._stream = Stream(model.Selection(), 1000, self._user)

    def clock(self) -> float:
        return self.now_s

    @staticmethod
    def _user(uid: int) -> str:
        return USERS.get(uid, str(uid))

    # --- what happens ---------------------------------------------------------------------------

    def receive(self, message: wire.Message, *, scope: str = "all") -> None:
        """Let a snapshot come."""
        self.take(client_messages.received(message), scope)

    def take(self, decoded: wire.Message, scope: str = "all") -> None:
        """Take a message as it comes from the wire."""
        snapshot = self._stream.take(decoded, scope, None)
        assert snapshot is not None, "not newer than the one before"
        self.source.put(prepared(snapshot, self.app.request()))
        self.terminal.on_news()

    def detail(self, message: wire.Message, pid: int | None = None, *, scope: str = "all") -> None:
        """Let a snapshot of one process come: of ``pid``, or of the one asked for."""
        self.take_detail(client_messages.received(message), pid, scope)

    def take_detail(
        self, decoded: wire.Message, pid: int | None = None, scope: str = "all"
    ) -> None:
        """Take a message of one process's topic as it comes from the wire."""
        pid = self.app.request().pid if pid is None else pid
        assert pid is not None, "nobody asked for a process"
        everybody = model.Selection(flows=True)
        snapshot = model.snapshot_of(decoded, everybody, 1000, scope, self._user)
        self.source.put(ProcessDetail(pid, snapshot))
        self.terminal.on_news()

    def silence(self, words: str) -> None:
        self.source.put(Silent(words))
        self.terminal.on_news()

    def type(self, *keys: str) -> None:
        """Press keys, by urwid's names for them."""
        self.terminal.loop.process_input(keys)
        self.terminal.on_drawn()

    def write(self, text: str) -> None:
        """Press a key for each character."""
        self.type(*text)

    def click(self, x: int, y: int, button: int = 1) -> None:
        self.draw()
        self.press_button(x, y, button)

    def press_button(self, x: int, y: int, button: int = 1) -> None:
        """Click on what was drawn last."""
        self.terminal.loop.process_input([("mouse press", button, x, y)])

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def tick(self) -> None:
        """Let the loop's clock strike."""
        self.terminal._on_tick(self.terminal.loop, None)

    # --- what shows -----------------------------------------------------------------------------

    def draw(self) -> urwid.Canvas:
        self.terminal.loop.screen_size = None
        canvas = self.terminal.window.render(self.size, True)
        assert len(canvas.text) == self.size[1]
        self.screen.draw_screen(self.size, canvas)
        return canvas

    def lines(self) -> list[str]:
        """Return the screen's lines, without spaces at their ends."""
        return [line.decode().rstrip() for line in self.draw().text]

    def text(self) -> str:
        return "\n".join(self.lines())

    def roles(self, line: int) -> list[tuple[str, str]]:
        """Return the runs of a line as (role, text)."""
        row = list(self.draw().content())[line]
        return [(str(role), text.decode()) for role, _charset, text in row]

    def role_of(self, text: str) -> str:
        """Return the role in which a text shows, the first time it does."""
        for row in self.draw().content():
            for role, _charset, raw in row:
                if text in raw.decode():
                    return str(role)
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text()}")

    def rows(self) -> list[str]:
        """Return the lines of the table's rows."""
        lines = self.lines()
        top = next(at for at, hit in self._row_lines())
        count = len(self._row_lines())
        return lines[top : top + count]

    def _row_lines(self) -> list[tuple[int, Any]]:
        frame = self.app.draw(*self.size, self.now_s)
        return [(hit.line, hit.value) for hit in frame.hits if hit.what == "row"]

    def selected(self) -> str:
        """Return the selected row's line."""
        for row in self.draw().content():
            if row[0][0] == "selected":
                return str(row[0][2].decode()).rstrip()
        raise AssertionError(f"nothing is selected:\n{self.text()}")

    def names(self) -> list[str]:
        """Return the third column: of processes their names."""
        return [line[1:].split()[2] for line in self.rows()]

    def cursor(self) -> tuple[int, int] | None:
        at: tuple[int, int] | None = self.draw().cursor
        return at

    def ansi(self) -> str:
        """Return the screen with the escape sequences of its colours, a line each."""
        lines = []
        for row in self.draw().content():
            runs = [self.screen._pal_escape[role] + text.decode() for role, _charset, text in row]
            lines.append("".join(runs) + "\x1b[0m\n")
        return "".join(lines)


def processes(rows: Sequence[dict[str, Any]], seq: int = 2, **fields: Any) -> wire.Message:
    """Make a message of processes alone."""
    return client_messages.message(rows, seq=seq, **fields)


def started(messages: Iterable[wire.Message], **options: Any) -> Driver:
    """Return an interface that has seen some snapshots."""
    driver = Driver(**options)
    for message in messages:
        driver.receive(message)
        driver.wait(message.interval_ns / 1e9)
    return driver


def rate(pid: int, name: bytes, bytes_per_s: float, **fields: Any) -> dict[str, Any]:
    """Make a process that sends."""
    return client_messages.process(
        pid, name, net_tx_bytes_per_s=bytes_per_s, net_tx_bytes=int(bytes_per_s * 10), **fields
    )


THREE = [rate(1, b"one", 100.0), rate(2, b"two", 300.0), rate(3, b"three", 200.0)]


def three(**options: Any) -> Driver:
    """Return an interface that shows three processes."""
    return started([client_messages.message(THREE, seq=2)], **options)
