"""Fixtures for tests of the web server: a feed by hand, a client of the application, a server."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_process import ROOT
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from web_client import (
    BASE,
    BEARER,
    MESSAGES,
    PORT,
    SOCKET,
    TOKEN,
    Page,
    Server,
    StillFeed,
    snapshot,
)

from pbmon_client.web.access import Access
from pbmon_client.web.app import application
from pbmon_client.web.assets import Assets
from pbmon_client.web.guard import Guard
from pbmon_client.web.house import House
from pbmon_client.web.origins import Origin
from pbmon_client.web.receiver import Arrived

#: pbmon-client, but peers that are silent or slow are let go after a moment, so that tests end.
IMPATIENT = """
import sys
from pbmon_client import cli
from pbmon_client.web import transport
transport.HEAD_S = 2.0
transport.STALLED_S = 2.0
sys.exit(cli.main())
"""


@pytest.fixture
def feed() -> StillFeed:
    made = StillFeed()
    made.take(Arrived(None, snapshot(MESSAGES[1])))
    return made


@pytest.fixture
def house(feed: StillFeed) -> House:
    return House(feed)


@pytest.fixture
def app(house: House, tmp_path: Path) -> ASGIApp:
    access = Access(TOKEN, f"pbmon_{PORT}")
    origins = [Origin("http", "127.0.0.1", PORT), Origin("http", "localhost", PORT)]
    return Guard(application(house, Assets(tmp_path)), access, origins)


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


@pytest.fixture
def serve(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            started = subprocess.Popen(
                [sys.executable, "-c", IMPATIENT, "web", "--socket", str(path), *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield start


@pytest.fixture
def server(serve: Callable[..., subprocess.Popen[str]]) -> Server:
    started = serve("--listen", "0")
    assert started.stdout is not None
    line = started.stdout.readline()
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", line)
    assert match, line + (started.stderr.read() if started.stderr else "")
    return Server(started, int(match[1]), match[2])
