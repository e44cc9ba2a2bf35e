"""The server: its socket, its token, uvicorn, and the address that it prints."""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import socket
import ssl
import stat
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import uvicorn

from pbmon_client.web import origins
from pbmon_client.web.access import Access, TokenError, new_token, token_of
from pbmon_client.web.app import guarded
from pbmon_client.web.feed import SnapshotFeed
from pbmon_client.web.house import House
from pbmon_client.web.options import WebOptions
from pbmon_client.web.origins import Origin
from pbmon_client.web.transport import HttpConnection, WebSocketConnection
from pbmon_client.web.viewer import MOST_BYTES
from pbmond.given_file import open_given

_BACKLOG: Final = 128
#: What the kernel holds for a slow reader; by itself it would take megabytes, minutes old.
_UNSENT_BYTES: Final = 131_072
_GRACE_S: Final = 2
#: Connections, the daemon's socket, and what Python keeps open.
_DESCRIPTORS: Final = 2048
#: New objects between two looks for cycles. A snapshot makes tens of thousands, and no cycle.
_NEW_OBJECTS: Final = 50_000


#: What uvicorn reports of peers that break the protocol; anybody can, and fill a log.
_BROKEN: Final = ("Invalid UTF-8", "Invalid HTTP", "Unsupported upgrade")


class ServeError(Exception):
    """The server cannot start; the message says why."""


def run(chosen: WebOptions) -> None:
    """Serve until a signal ends it; ServeError if it cannot start."""
    try:
        token = new_token() if chosen.token_file is None else token_of(chosen.token_file)
    except TokenError as error:
        raise ServeError(f"--token-file: {error}") from None
    _check_certificate(chosen)
    _raise_descriptors()
    with _bound(chosen) as listener, _removed_at_the_end(chosen.unix):
        names = _origins(chosen, listener)
        access = Access(
            token,
            _cookie_name(chosen, listener),
            f"{chosen.root_path}/",
            secure=all(name.scheme == "https" for name in names),
        )
        config = _config(chosen, access, names)
        gc.freeze()  # what is loaded stays
        gc.set_threshold(_NEW_OBJECTS)
        _announce(chosen, names[0], access)
        uvicorn.Server(config).run(sockets=[listener])


def _config(chosen: WebOptions, access: Access, names: tuple[Origin, ...]) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not record.getMessage().startswith(_BROKEN)
    )
    certificate, key = chosen.tls or (None, None)
    house = House(SnapshotFeed(chosen.socket), chosen.history)
    return uvicorn.Config(
        guarded(house, access, names, chosen.root_path, chosen.metering),
        http=HttpConnection,
        ws=WebSocketConnection,
        ws_max_size=MOST_BYTES,
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


def _origins(chosen: WebOptions, listener: socket.socket) -> tuple[Origin, ...]:
    """Return the names of this server; the first is the one to print."""
    if chosen.unix is not None:
        return chosen.origins or (Origin("http", "localhost", 80),)
    host, port = listener.getsockname()[:2]
    if chosen.behind_proxy:
        return chosen.origins
    scheme = "http" if chosen.tls is None else "https"
    return (*chosen.origins, *origins.of_address(scheme, host, port))


def _cookie_name(chosen: WebOptions, listener: socket.socket) -> str:
    # A browser sends a cookie to every port of a host: two servers need two names.
    return "pbmon" if chosen.unix is not None else f"pbmon_{listener.getsockname()[1]}"


def _announce(chosen: WebOptions, name: Origin, access: Access) -> None:
    address = f"{name}{chosen.root_path}/"
    if chosen.unix is not None:
        shown = f"listening on {chosen.unix}, as {address}"
    else:
        shown = f"{address}?token={access.token}" if chosen.token_file is None else address
    kept = "" if chosen.token_file is None else f" (token in {chosen.token_file})"
    if chosen.unix is not None and chosen.token_file is None:
        kept = f" (token {access.token})"
    if sys.stdout is not None:
        sys.stdout.write(f"{shown}{kept}\n")
        sys.stdout.flush()
    if chosen.open:
        webbrowser.open(f"{address}?token={access.tickets.new()}")


# --- what can fail ------------------------------------------------------------------------------


def _check_certificate(chosen: WebOptions) -> None:
    if chosen.tls is None:
        return
    try:
        for path in chosen.tls:  # ssl would wait for a FIFO
            open_given(path).close()
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*chosen.tls)
    except (OSError, ssl.SSLError) as error:
        raise ServeError(f"cannot use {chosen.tls[0]} and {chosen.tls[1]}: {error}") from None


def _raise_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bound(chosen: WebOptions) -> socket.socket:
    if chosen.unix is not None:
        return _bound_unix(chosen.unix)
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    # The protocol is named, as asyncio looks for it to send without delay.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
    try:
        listener.bind((chosen.host, chosen.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        where = f"{chosen.host} port {chosen.port}"
        raise ServeError(f"cannot listen on {where}: {_words(error)}") from None
    return listener


def _bound_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
    try:
        _remove_abandoned(path)
        before = os.umask(0o117)  # for its user and group
        try:
            listener.bind(os.fsencode(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServeError(f"cannot listen on {str(path)!r}: {_words(error)}") from None
    return listener


def _remove_abandoned(path: Path) -> None:
    """Remove a socket that nobody listens on any more."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "it exists, and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            try:
                probe.connect(os.fsencode(path))
            except ConnectionRefusedError:
                path.unlink()
            except BlockingIOError:
                pass  # somebody listens, and has many connections


@contextmanager
def _removed_at_the_end(path: Path | None) -> Iterator[None]:
    """Remove our socket at the end, unless another server's is there by then."""
    if path is None:
        yield
        return
    made = path.lstat()
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), made):
                path.unlink()


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
