"""One page: a WebSocket that carries its wishes in and its screen out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from anyio import create_task_group
from starlette.websockets import WebSocket

from pbmon_client.data.model import Snapshot
from pbmon_client.data.text import safe_text
from pbmon_client.history.errors import PastError
from pbmon_client.web import connections, screen
from pbmon_client.web.desk import BusyError, WithdrawnError
from pbmon_client.web.feed import FeedDemand
from pbmon_client.web.house import House
from pbmon_client.web.json_text import written
from pbmon_client.web.past import When
from pbmon_client.web.receiver import Silence
from pbmon_client.web.wishes import NotAWishError, Wish, WishError, read

MOST_BYTES: Final = 65_536
#: Answers per second, after a burst; wishes in between are skipped, as only the newest counts.
_RATE: Final = 20.0
_BURST: Final = 40.0
_NOT_A_WISH: Final = 1008
#: Before the past is asked again, if too much waited there.
_BUSY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which messages are due."""

    view: bool
    selected: bool


class PageViewer:
    """Answers the newest wish at once, and again for each snapshot that arrives.

    A page that reads slowly gets fewer messages, always of the newest snapshot.
    """

    def __init__(self, socket: WebSocket, house: House) -> None:
        self._socket = socket
        self._feed = house.feed
        self._desk = house.desk
        self._past = house.past
        self._pauses = house.pauses
        self._changed = asyncio.Event()
        self._wish: Wish | None = None
        self._answered: Wish | None = None
        self._mistake: WishError | None = None
        self._refusal: str | None = None
        self._demand = FeedDemand()
        self._sent: dict[str, Any] = {}  # columns, which are sent when they change
        self._histories: dict[str, object] = {}
        self._shown: Snapshot | None = None
        self._detail: Snapshot | None = None
        self._away: Silence | None = None
        self._frozen: int | None = None
        self._tokens, self._refilled_s = _BURST, time.monotonic()

    async def run(self) -> None:
        """Serve the page until it goes away."""
        await self._socket.accept()
        self._feed.want(self._demand)
        try:
            with self._feed.listening(self._changed.set):
                async with create_task_group() as group:
                    group.start_soon(self._read)
                    group.start_soon(self._write)
        except* connections.GoneError:
            pass
        finally:
            self._pauses.release(self._frozen)
            self._feed.unwant(self._demand)

    async def _read(self) -> None:
        while True:
            frame = await connections.received(self._socket)
            try:
                wish = read(frame)
            except NotAWishError as error:
                self._refusal = str(error)[:100]
            except WishError as error:
                self._mistake = error
            else:
                self._wish, self._mistake = wish, None
                self._change_demand(wish)
                self._desk.withdraw(self)  # the tick of a wish that is none any more
            self._changed.set()

    def _change_demand(self, wish: Wish) -> None:
        demand = FeedDemand()
        if wish.when is None:
            demand = FeedDemand(wish.needs_flows, wish.pid)
        if demand != self._demand:
            self._feed.want(demand)
            self._feed.unwant(self._demand)
            self._demand = demand

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._refusal is not None:
                await connections.close(self._socket, _NOT_A_WISH, self._refusal)
            if self._mistake is not None:
                mistake, self._mistake = self._mistake, None
                await self._send(_error(mistake))
            wish = self._wish
            if wish is None:
                continue
            if wish is not self._answered:
                await self._take_turn()
                wish = self._wish or wish
            try:
                await self._show(wish)
            except (BusyError, WithdrawnError):  # at the next tick, or for the newer wish
                continue
            self._answered = wish

    async def _take_turn(self) -> None:
        """Wait as long as wishes come too fast."""
        now_s = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now_s - self._refilled_s) * _RATE)
        self._refilled_s = now_s
        self._tokens -= 1
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / _RATE)

    async def _show_past(self, wish: Wish, when: When) -> None:
        """Send what a wish shows of the past, once: that does not change."""
        self._away = None  # it is told again when the page comes back
        self._histories.clear()
        flows = wish.needs_flows or wish.scope is not None
        try:
            snapshot = await self._past.snapshot(when, flows=flows)
            parts = _Parts(view=True, selected=wish.selected is not None)
            texts = await self._past.desk.do(lambda: self._texts(snapshot, wish, None, parts))
        except PastError as error:
            words = safe_text(str(error))
            texts = [written({"type": "no_past", "wish": wish.number, "message": words})]
        except BusyError:
            await asyncio.sleep(_BUSY_S)
            self._changed.set()
            raise
        for text in texts:
            await connections.send(self._socket, text)

    async def _show(self, wish: Wish) -> None:
        """Send what a wish shows now, if there is anything new."""
        if wish.when is not None:
            if wish is not self._answered:
                await self._show_past(wish, wish.when)
            return
        silence = self._feed.silence
        if silence != self._away:
            self._away = silence
            if silence is not None:
                since = {"since_ms": silence.since_ms, "message": silence.words}
                await self._send({"type": "away", **since})
        snapshot = self._snapshot(wish)
        is_new = wish is not self._answered
        if snapshot is None or (silence is not None and not is_new):
            return
        detail = None if wish.pid is None else self._feed.processes.get(wish.pid)
        if detail is not None and detail.message.epoch != snapshot.message.epoch:
            detail = None
        ticked, detailed = snapshot is not self._shown, detail is not self._detail
        self._shown, self._detail = snapshot, detail
        if wish.paused and not is_new:
            return
        # A process's own topic comes a moment before or after; what it tells is sent with it.
        apart = detail is not None and snapshot.connections is None
        parts = _Parts(
            view=is_new or ticked,
            selected=wish.selected is not None and (is_new or detailed or (ticked and not apart)),
        )
        texts = await self._desk.do(
            lambda: self._texts(snapshot, wish, detail, parts),
            first=is_new,
            owner=None if is_new else self,
        )
        for text in texts:
            await connections.send(self._socket, text)

    def _snapshot(self, wish: Wish) -> Snapshot | None:
        """Return the snapshot to show: the newest, or the one at which the page paused."""
        newest = self._feed.newest
        if not wish.paused:
            self._pauses.release(self._frozen)
            self._frozen = None
            return newest
        held = self._pauses.snapshot(self._frozen)
        if held is None and newest is not None:
            self._pauses.release(self._frozen)
            self._frozen = self._pauses.hold(newest)
            held = newest
        return held

    def _texts(
        self, snapshot: Snapshot, wish: Wish, detail: Snapshot | None, parts: _Parts
    ) -> list[str]:
        """Make the messages of a tick, at the desk of its snapshots."""
        desk = self._desk if wish.when is None else self._past.desk
        messages = []
        if parts.view:
            messages.append(screen.view_message(desk, snapshot, wish))
            self._skip_known(messages[0], "view")
        if parts.selected:
            message = screen.selected_message(desk, snapshot, wish, detail)
            for name in ("connections", "files"):
                if message[name] is not None:
                    self._skip_known(message[name], name)
            messages.append(message)
        if wish.when is None:
            messages += self._new_histories(snapshot, wish, detail)
        return [written(message) for message in messages]

    def _skip_known(self, message: dict[str, Any], name: str) -> None:
        """Leave out columns that the page has already."""
        columns = (message.get("view"), message["columns"])
        if self._sent.get(name) == columns:
            del message["columns"]
        else:
            self._sent[name] = columns

    def _new_histories(
        self, snapshot: Snapshot, wish: Wish, detail: Snapshot | None
    ) -> list[dict[str, Any]]:
        """Return the series from before: of the host once a run, of a selection once."""
        epoch = snapshot.message.epoch
        made = []
        if self._histories.get("host") != epoch:
            self._histories["host"] = epoch
            made.append(screen.history_message(snapshot, None))
        chosen = (epoch, wish.view.name, wish.selected)
        if wish.selected is not None and self._histories.get("selected") != chosen:
            if wish.pid is not None and detail is None:
                return made  # soon
            self._histories["selected"] = chosen
            newest = detail if _is_newest(detail, wish) else None
            made.append(screen.history_message(newest, wish.selected))
        elif wish.selected is None:
            self._histories.pop("selected", None)
        return made

    async def _send(self, message: dict[str, Any]) -> None:
        await connections.send(self._socket, written(message))


def _is_newest(detail: Snapshot | None, wish: Wish) -> bool:
    """Whether the topic's history is the selected process's; it has the newest of that pid."""
    if detail is None or wish.pid is None:
        return False
    starts = [start for pid, start in detail.processes.identities() if pid == wish.pid]
    return isinstance(wish.key, tuple) and bool(starts) and max(starts) == wish.key[1]


def _error(mistake: WishError) -> dict[str, Any]:
    place = mistake.place
    return {
        "type": "error",
        "wish": mistake.wish,
        "message": str(mistake),
        "position": None if place is None else {"start": place[0], "end": place[1]},
    }
