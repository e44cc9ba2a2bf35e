"""The guard: what every request and every upgrade must pass before anything else sees it.

Pure ASGI, outermost. Neither Starlette nor uvicorn checks Origin on upgrades. In this order:
Host (400), Origin (403), size (413), token (401); and headers on whatever is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pbmon_client.web import problems
from pbmon_client.web.access import Access
from pbmon_client.web.origins import Origin

#: The page is all our own: nothing inline, and nothing from anywhere else.
POLICY: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_UNSTORED: Final = (b"cache-control", b"no-store")
#: No route takes a body.
_BODY_BYTES: Final = 65_536
_UNKNOWN: Final = "open the address that pbmon-client web printed, or send its token as a bearer"


class Guard:
    """Lets pass what comes under a name of this server, from its own pages, with its token.

    Below ``root_path`` a proxy may remove that prefix or leave it.
    """

    def __init__(
        self, app: ASGIApp, access: Access, origins: Sequence[Origin], root_path: str = ""
    ) -> None:
        self._app = app
        self._access = access
        self._origins = tuple(origins)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with_headers = _adding_headers(send)
        scope = self._rooted(scope)
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, with_headers)
        else:
            await refusal(scope, receive, with_headers)

    def _rooted(self, scope: Scope) -> Scope:
        root, path = self._root_path, scope["path"]
        if root and path != root and not path.startswith(f"{root}/"):
            path = root + path
        return {**scope, "path": path, "root_path": root}

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that may not pass, or None."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or not any(each.has_host(hosts[0]) for each in self._origins):
            return problems.response(400, "this server is not known by that name (Host)")
        origins = _values(headers, b"origin")
        if any(origin not in map(str, self._origins) for origin in origins):
            return problems.response(403, "another site's page may not use this server (Origin)")
        sizes = _values(headers, b"content-length")
        if any(not size.isdigit() or int(size[:9]) > _BODY_BYTES for size in sizes):
            return problems.response(413, "no request here needs a body of that size")
        exchanged = self._exchanged(scope)
        if exchanged is not None or self._access.admits(headers):
            return exchanged
        return problems.response(401, _UNKNOWN, {"WWW-Authenticate": 'Bearer realm="pbmon"'})

    def _exchanged(self, scope: Scope) -> Response | None:
        """Return a cookie for the token in the page's address, which the redirect drops."""
        home = scope["path"] in (self._root_path, f"{self._root_path}/")
        if not home or scope["type"] != "http" or scope["method"] != "GET":
            return None
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in given if name == "token"]
        access = self._access
        if not any(access.is_token(each.encode()) or access.tickets.take(each) for each in tokens):
            return None
        rest = urlencode([(name, value) for name, value in given if name != "token"])
        target = f"{self._root_path}/" + (f"?{rest}" if rest else "")
        return RedirectResponse(target, 303, {"Set-Cookie": self._access.set_cookie})


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def _adding_headers(send: Send) -> Send:
    """Add the headers to every answer, also to one that refuses an upgrade."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = [*message.get("headers", ()), *_HEADERS]
            if not any(name.lower() == _UNSTORED[0] for name, _value in headers):
                headers.append(_UNSTORED)
            message = {**message, "headers": headers}
        await send(message)

    return send_with_headers
