"""Fixtures for tests of the web server: a feed by hand, and a client of the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from web_client import (
    BASE,
    BEARER,
    MESSAGES,
    SOCKET,
    Page,
    StillFeed,
    guarded,
    snapshot,
)

from pbmon_client.web.house import House
from pbmon_client.web.receiver import Arrived


@pytest.fixture
def feed() -> StillFeed:
    made = StillFeed()
    made.take(Arrived(None, snapshot(MESSAGES[1])))
    return made


@pytest.fixture
def house(feed: StillFeed, tmp_path: Path) -> House:
    """There is no history in its folder, unless a test records one."""
    return House(feed, tmp_path / "history")


@pytest.fixture
def app(house: House, tmp_path: Path) -> ASGIApp:
    return guarded(house, tmp_path)


@pytest.fixture
def stranger(app: ASGIApp) -> Iterator[TestClient]:
    """Somebody without the token."""
    with TestClient(app, base_url=BASE, follow_redirects=False) as made:
        yield made


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """Somebody with the token."""
    stranger.headers.update(BEARER)
    return stranger


@pytest.fixture
def page(client: TestClient) -> Iterator[Page]:
    with client.websocket_connect(f"{SOCKET}/page") as session:
        yield Page(session)


@pytest.fixture
def tell(client: TestClient, feed: StillFeed) -> Callable[[Any], None]:
    """Hand news to the feed, in its event loop."""

    def hand(news: Any) -> None:
        assert client.portal is not None
        client.portal.call(feed.take, news)

    return hand
