"""The guard: Host, Origin, token and headers, for every route and for upgrades."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from web_client import BASE, BEARER, PORT, SOCKET, TOKEN

from pbmon_client.web.access import Access
from pbmon_client.web.app import application
from pbmon_client.web.assets import Assets
from pbmon_client.web.guard import Guard
from pbmon_client.web.house import House
from pbmon_client.web.origins import Origin, of_address, parse

PATHS = ("/", "/api/v1/processes", "/openapi.json", "/assets/x.js", "/nothing", "/api/v1/stream")
SOCKETS = (f"{SOCKET}/page", f"{SOCKET}/ws")
COOKIE = f"pbmon_{PORT}"


def denied(client: TestClient, path: str, headers: dict[str, str]) -> int:
    """Return the status by which an upgrade is refused."""
    with (
        pytest.raises(WebSocketDenialResponse) as refusal,
        client.websocket_connect(path, headers=headers),
    ):
        pass
    assert "content-security-policy" in refusal.value.headers
    return refusal.value.status_code


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_the_token(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.json()["status"] == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", SOCKETS)
def test_no_upgrade_without_the_token(stranger: TestClient, path: str) -> None:
    assert denied(stranger, path, {}) == 401
    assert denied(stranger, path, {"Authorization": "Bearer wrong-token-of-the-tests"}) == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", f"127.0.0.1:{PORT + 1}", "", f"evil@127.0.0.1:{PORT}",
             f"127.0.0.1:{PORT}.evil.example", f"localhost:{PORT}\x00", "[::1"]
)  # fmt: skip
def test_other_names_are_refused_before_the_token_counts(client: TestClient, host: str) -> None:
    """A page of another site whose name was made to lead here (DNS rebinding)."""
    for path in PATHS:
        assert client.get(path, headers={"Host": host}).status_code == 400
    for path in SOCKETS:
        assert denied(client, path, {"Host": host}) == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1",
               f"http://127.0.0.1:{PORT}/", ""]
)  # fmt: skip
def test_other_origins_are_refused_although_they_bring_the_cookie(
    client: TestClient, origin: str
) -> None:
    for path in PATHS:
        assert client.get(path, headers={"Origin": origin}).status_code == 403
    for path in SOCKETS:
        assert denied(client, path, {"Origin": origin}) == 403


def test_its_own_origin_may_upgrade(client: TestClient) -> None:
    with client.websocket_connect(f"{SOCKET}/page", headers={"Origin": BASE}) as session:
        session.send_text(json.dumps({"wish": 1}))
        assert json.loads(session.receive_text())["type"] == "view"


def test_a_second_host_header_is_refused(app: ASGIApp) -> None:
    status = raw(app, "/", [(b"host", f"127.0.0.1:{PORT}".encode()), (b"host", b"evil.example")])
    assert status == 400


def test_the_token_in_the_address_becomes_a_cookie_once(stranger: TestClient) -> None:
    answer = stranger.get(f"/?token={TOKEN}&view=files")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?view=files"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert stranger.get("/").status_code == 200  # by the cookie, which the client keeps


@pytest.mark.parametrize("path", ["/api/v1/processes", "/openapi.json", "/x"])
def test_the_token_counts_in_no_other_address(stranger: TestClient, path: str) -> None:
    assert stranger.get(f"{path}?token={TOKEN}").status_code == 401


def test_the_cookie_is_no_bearer_token(stranger: TestClient) -> None:
    cookie = Access(TOKEN, COOKIE).cookie
    assert stranger.get("/", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401
    assert stranger.get("/", headers={"Cookie": f"{COOKIE}={TOKEN}"}).status_code == 401
    assert stranger.get("/", headers={"Cookie": f"other={cookie}"}).status_code == 401
    other = f"a=b; {COOKIE}=wrong; {COOKIE}={cookie}"
    assert stranger.get("/", headers={"Cookie": other}).status_code == 200


def test_a_ticket_gets_the_cookie_once_and_is_no_bearer(app: ASGIApp) -> None:
    access = Access(TOKEN, COOKIE)
    ticket = access.tickets.new()
    guard = Guard(app, access, [Origin("http", "127.0.0.1", PORT)])
    with TestClient(guard, base_url=BASE, follow_redirects=False) as browser:
        bearer = {"Authorization": f"Bearer {ticket}"}
        assert browser.get("/api/v1/fields", headers=bearer).status_code == 401
        answer = browser.get(f"/?token={ticket}&view=files")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?view=files")
        assert browser.get("/api/v1/fields").status_code == 200
        browser.cookies.clear()
        assert browser.get(f"/?token={ticket}").status_code == 401


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic YTpi", TOKEN, f"Bearer {TOKEN}x",
                                   "Bearer \xff\xfe"])  # fmt: skip
def test_what_is_nearly_a_token_is_none(stranger: TestClient, given: str) -> None:
    headers = {b"Authorization": given.encode("latin-1")}
    assert stranger.get("/", headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/", "/api/v1/overview", "/nothing", "/api/v1/processes?top=0"])
def test_every_answer_forbids_what_the_page_does_not_need(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "require-trusted-types-for 'script'" in policy
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule or "*" in rule]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]


def test_answers_are_not_stored(client: TestClient) -> None:
    assert client.get("/api/v1/overview").headers["cache-control"] == "no-store"


def test_a_large_body_is_refused(client: TestClient) -> None:
    assert client.post("/api/v1/processes", content=b"x" * 100_000).status_code == 413
    assert client.post("/api/v1/processes", content=b"x").status_code == 405


# --- below a path -------------------------------------------------------------------------------


@pytest.fixture
def below(house: House, tmp_path: Path) -> TestClient:
    access = Access(TOKEN, "pbmon", "/pbmon/", secure=True)
    origins = [parse("https://example.org")]
    guarded = Guard(application(house, Assets(tmp_path)), access, origins, "/pbmon")
    return TestClient(guarded, base_url="https://example.org", follow_redirects=False)


@pytest.mark.parametrize("prefix", ["", "/pbmon"])
def test_a_proxy_may_remove_the_path_or_leave_it(below: TestClient, prefix: str) -> None:
    answer = below.get(f"{prefix}/?token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/pbmon/"
    cookie = answer.headers["set-cookie"]
    assert "Path=/pbmon/" in cookie
    assert "Secure" in cookie
    assert below.get(f"{prefix}/api/v1/fields", headers=BEARER).status_code == 200
    assert below.get(f"{prefix}/api/v1/fields", headers={"Cookie": ""}).status_code == 401
    with below.websocket_connect(
        f"wss://example.org{prefix}/api/v1/page",
        headers={**BEARER, "Origin": "https://example.org"},
    ):
        pass


def test_a_path_that_only_begins_alike_is_not_below(below: TestClient) -> None:
    assert below.get("/pbmonster/api/v1/fields", headers=BEARER).status_code == 404


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "example.org", "ftp://a", "https://", "https://a/b",
                                  "https://a:0", "https://a:99999", "https://a b", "https://a@b",
                                  "https://é.org"])  # fmt: skip
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        parse(text)


def test_a_default_port_need_not_be_named() -> None:
    origin = parse("https://Example.org:443/")
    assert str(origin) == "https://example.org"
    assert origin.has_host("EXAMPLE.org")
    assert origin.has_host("example.org:443")
    assert not origin.has_host("example.org:80")


def test_loopback_has_three_names() -> None:
    names = {str(each) for each in of_address("http", "127.0.0.1", 80)}
    assert names == {"http://127.0.0.1", "http://localhost", "http://[::1]"}
    assert of_address("https", "0.0.0.0", 1) == ()
    assert of_address("https", "2001:db8::1", 8443) == (Origin("https", "[2001:db8::1]", 8443),)


def raw(app: ASGIApp, path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """Send what no client would; return the status."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "path": path, "query_string": b"",
                    "headers": headers}  # fmt: skip
    call: tuple[Scope, Receive, Send] = (scope, receive, send)
    asyncio.run(_call(app, *call))
    return int(sent[0]["status"])


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
