"""The command line of ``pbmon-client web``: where to listen, under which name, with which token."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.command_line import CommandParser, add_help, add_socket, path_of
from pbmon_client.metrics import options as metrics_options
from pbmon_client.metrics.meter import MeterOptions
from pbmon_client.web import origins
from pbmon_client.web.origins import Origin

DEFAULT_PORT: Final = 8484
_ADDRESS: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<port>[0-9]{1,5})")
#: Browsers take . and .. out of a path.
_ROOT_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
#: With which the server's own paths begin.
_OWN: Final = frozenset(("api", "assets", "metrics", "openapi.json"))

_INTRO: Final = """\
Show the same view in a browser, and serve it as JSON.

It may see what its user may see, and shows that to whoever has its token: the
address that it prints has it. Scripts send it as "Authorization: Bearer TOKEN".
"""
_EPILOG: Final = """\
examples:
  pbmon-client web --open
  curl -H "Authorization: Bearer $(cat token)" \\
      http://127.0.0.1:8484/api/v1/processes?top=5
  pbmon-client web --token-file token --listen 192.0.2.1:8484 \\
      --tls-cert cert.pem --tls-key key.pem \\
      --origin https://host.example.org:8484
  pbmon-client web --token-file token --behind-proxy \\
      --origin https://example.org --root-path /pbmon

packaging/doc/web.md describes the API, and how to put it behind nginx.
"""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """A checked command line. With ``unix`` it listens there, else at ``host`` and ``port``."""

    socket: str
    host: str
    port: int
    unix: Path | None
    tls: tuple[Path, Path] | None
    origins: tuple[Origin, ...]
    root_path: str
    behind_proxy: bool
    token_file: Path | None
    open: bool
    metering: MeterOptions
    history: Path | None


def parse(arguments: Sequence[str]) -> WebOptions:
    """Read what follows ``pbmon-client web``; a mistake in it is SystemExit 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    host, port = given.listen or ("127.0.0.1", DEFAULT_PORT)
    if given.unix is not None and given.listen is not None:
        parser.error("--unix and --listen exclude each other")
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    tls = None if given.tls_cert is None else (given.tls_cert, given.tls_key)
    if tls is not None and given.unix is not None:
        parser.error("--tls-cert is not for --unix")
    _check_reach(parser, given, host, secure=tls is not None)
    return WebOptions(
        socket=parser.socket_of(given),
        host=host,
        port=port,
        unix=given.unix,
        tls=tls,
        origins=tuple(given.origins),
        root_path=given.root_path,
        behind_proxy=given.behind_proxy,
        token_file=given.token_file,
        open=given.open,
        metering=metrics_options.chosen(given),
        history=given.history,
    )


def _check_reach(
    parser: argparse.ArgumentParser, given: argparse.Namespace, host: str, *, secure: bool
) -> None:
    """Refuse to listen to others in clear text, or under a name that is not known."""
    address = ipaddress.ip_address(host)
    if given.behind_proxy and not given.origins:
        parser.error("--behind-proxy needs --origin, the address in the browser")
    if given.root_path and not given.behind_proxy:
        parser.error("--root-path is for --behind-proxy")
    if address.is_loopback or given.unix is not None:
        return
    if not secure and not given.behind_proxy:
        parser.error(
            f"--listen {host} is for others to see: it needs --tls-cert and --tls-key, "
            "or --behind-proxy"
        )
    if address.is_unspecified and not given.origins:
        parser.error(f"--listen {host} needs --origin, the address in the browser")


def _parser() -> CommandParser:
    parser = CommandParser("pbmon-client web", _INTRO, _EPILOG)
    _add_listening(parser.add_argument_group("where to listen"))
    metrics_options.add_options(parser.add_argument_group("/metrics"), "metrics-")
    _add_access(parser.add_argument_group("access and help"))
    return parser


def _add_listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen", type=_address, metavar="[ADDRESS:]PORT",
        help=f"listen here (default: 127.0.0.1:{DEFAULT_PORT}). An address that others reach needs "
             "a certificate, or --behind-proxy; port 0 is any free one",
    )  # fmt: skip
    group.add_argument(
        "--unix", type=Path, metavar="PATH",
        help="listen on a Unix socket instead, for a proxy of the same user or group",
    )  # fmt: skip
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    group.add_argument(
        "--origin", dest="origins", type=_origin, action="append", default=[], metavar="URL",
        help="the server's address in the browser, such as https://example.org, where it is not "
             "the one listened on; repeat for more",
    )  # fmt: skip
    group.add_argument(
        "--behind-proxy", action="store_true",
        help="a proxy takes care of TLS; its address is --origin",
    )  # fmt: skip
    group.add_argument(
        "--root-path", type=_root_path, default="", metavar="/PATH",
        help="the path below which the proxy offers it",
    )  # fmt: skip


def _add_access(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help="take the token from FILE, which only its owner may use; it is made with a new "
             "token if there is none (default: a new token each time)",
    )  # fmt: skip
    group.add_argument("--open", action="store_true", help="open a browser")
    add_socket(group)
    group.add_argument(
        "--history", type=path_of, metavar="PATH",
        help="what to read the past from (default: this host's own history)",
    )  # fmt: skip
    add_help(group)


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    port = 1 << 16 if match is None else int(match["port"])
    host = "127.0.0.1" if match is None else (match["host"] or "127.0.0.1").strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = 1 << 16
    if port >= 1 << 16:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address and port, such as 8080, 192.0.2.1:8080 or [::1]:8080"
        )
    return host, port


def _origin(text: str) -> Origin:
    try:
        return origins.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _root_path(text: str) -> str:
    path = text.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise argparse.ArgumentTypeError(f"{text!r} is no path, such as /pbmon")
    if path.partition("/")[2].partition("/")[0] in _OWN:
        # Where the proxy removes it, what is left would look as if it had not.
        raise argparse.ArgumentTypeError(f"{text!r} begins like the server's own paths")
    return path
