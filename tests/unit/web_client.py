"""A feed by hand, the application over it, and a page's end of its socket, for tests of the web."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import client_messages
import demo_world
from starlette.testclient import WebSocketTestSession
from starlette.types import ASGIApp

from pbmon_client.data import model
from pbmon_client.web.access import Access
from pbmon_client.web.app import application
from pbmon_client.web.assets import Assets
from pbmon_client.web.feed import FeedDemand, SnapshotFeed
from pbmon_client.web.guard import Guard
from pbmon_client.web.house import House
from pbmon_client.web.origins import Origin
from pbmon_client.web.receiver import Arrived
from pbmond import wire

TOKEN = "a-token-of-the-tests"
PORT = 8484
BASE = f"http://127.0.0.1:{PORT}"
SOCKET = f"ws://127.0.0.1:{PORT}/api/v1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def snapshot(message: wire.Message) -> model.Snapshot:
    chosen = model.Selection(flows=True)
    return model.snapshot_of(
        client_messages.received(message), chosen, 0, "all", demo_world.USERS.__getitem__
    )


class StillFeed(SnapshotFeed):
    """A feed of snapshots that a test hands it, as if the daemon had sent them."""

    def __init__(self) -> None:
        super().__init__("")
        self.demands: list[FeedDemand] = []

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def want(self, demand: FeedDemand) -> None:
        self.demands.append(demand)
        super().want(demand)
        if demand.pid is not None and self.newest is not None:
            self.take(Arrived(demand.pid, self.newest))


def guarded(house: House, folder: Path) -> ASGIApp:
    """Make the application with its guard; a page would be in ``folder``."""
    access = Access(TOKEN, f"pbmon_{PORT}")
    origins = [Origin("http", "127.0.0.1", PORT), Origin("http", "localhost", PORT)]
    return Guard(application(house, Assets(folder)), access, origins)


MESSAGES = list(demo_world.messages(3))


@dataclass
class Page:
    """The page's end of its WebSocket."""

    session: WebSocketTestSession
    number: int = 0

    def wish(self, **members: Any) -> dict[str, Any]:
        """Send a wish; return the view, or the error, that answers it."""
        self.number += 1
        self.session.send_text(json.dumps({"wish": self.number, **members}))
        return self.until(lambda m: m["type"] in ("view", "error") and m["wish"] == self.number)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.session.receive_text())
        while not wanted(message):
            message = json.loads(self.session.receive_text())
        return message

    def of_type(self, name: str) -> dict[str, Any]:
        return self.until(lambda message: message["type"] == name)
