"""Streams of what ``--ndjson`` prints: server-sent events, and a WebSocket of lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from anyio import create_task_group
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket

from pbmon_client.data.model import Selection, Snapshot
from pbmon_client.output import jsonout
from pbmon_client.present.selected import selected
from pbmon_client.web import connections
from pbmon_client.web.desk import BusyError
from pbmon_client.web.feed import FeedDemand
from pbmon_client.web.house import House
from pbmon_client.web.problems import ProblemError

_TOO_MANY = "too many pages and streams are open"
_TRY_LATER = 1013


async def lines(house: House, chosen: Selection) -> AsyncIterator[tuple[Snapshot, str]]:
    """Yield every snapshot with its line; a reader that is too slow gets the newest."""
    changed = asyncio.Event()
    changed.set()
    demand = FeedDemand(flows=chosen.needs_flows)
    house.feed.want(demand)
    shown: Snapshot | None = None
    try:
        with house.feed.listening(changed.set):
            while True:
                await changed.wait()
                changed.clear()
                newest = house.feed.newest
                is_new = newest is not None and newest is not shown
                if newest is None or not is_new or (demand.flows and newest.connections is None):
                    continue
                with suppress(BusyError):  # the next one, then
                    yield newest, await house.desk.do(_line(newest, chosen))
                    shown = newest
    finally:
        house.feed.unwant(demand)


def _line(snapshot: Snapshot, chosen: Selection) -> Callable[[], str]:
    return lambda: jsonout.render(selected(snapshot, chosen), row_a_line=False).decode().rstrip()


def events(house: House, chosen: Selection) -> StreamingResponse:
    """Answer with server-sent events; ProblemError 503 if too many are open."""
    seat = house.seat()
    if not seat.__enter__():
        raise ProblemError(503, _TOO_MANY)

    async def body() -> AsyncIterator[str]:
        try:
            async for snapshot, line in lines(house, chosen):
                message = snapshot.message
                yield f"id: {message.epoch}-{message.seq}\ndata: {line}\n\n"
        finally:
            seat.__exit__(None, None, None)

    return StreamingResponse(body(), media_type="text/event-stream")


async def socket(house: House, connection: WebSocket, chosen: Selection) -> None:
    """Send lines over a WebSocket until its reader goes away; what it says is not read."""
    with house.seat() as free, suppress(connections.GoneError):
        await connection.accept()
        if not free:
            await connections.close(connection, _TRY_LATER, _TOO_MANY)
        try:
            async with create_task_group() as group:
                group.start_soon(_send, house, connection, chosen)
                group.start_soon(_ignore, connection)
        except* connections.GoneError:
            pass


async def _send(house: House, connection: WebSocket, chosen: Selection) -> None:
    async for _snapshot, line in lines(house, chosen):
        await connections.send(connection, line)


async def _ignore(connection: WebSocket) -> None:
    while True:
        await connections.received(connection)
