"""The command line of ``pbmon-client export``: where to push to, and how often."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pbmon_client.command_line import CommandParser, add_help, add_socket
from pbmon_client.metrics import options as metrics_options
from pbmon_client.metrics.meter import MeterOptions

DEFAULT_INTERVAL_S: Final = 15.0
_LONGEST_S: Final = 86_400.0
#: Where receivers take metrics, below the address that they name.
_METRICS_PATH: Final = "/v1/metrics"

_INTRO: Final = """\
Push the metrics of `pbmon-client web` to an OpenTelemetry receiver (OTLP over
HTTP), until it is interrupted. Counters are cumulative, so a push that fails
loses nothing: the next one has it too.
"""
_EPILOG: Final = """\
examples:
  pbmon-client export --otlp http://127.0.0.1:4318
  OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20TOKEN" \\
      pbmon-client export --otlp https://collector.example.org:4318 \\
      --interval 60

environment:
  PBMON_SOCKET                the daemon's socket, unless --socket is given
  OTEL_EXPORTER_OTLP_HEADERS  headers to send, such as a token
  OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_RESOURCE_ATTRIBUTES and others of this
                              kind are those of the OpenTelemetry SDK

packaging/doc/metrics.md says what is pushed.
"""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """A checked command line; ``count`` 0 is without end."""

    url: str
    interval_s: float
    count: int
    socket: str
    metering: MeterOptions


def parse(arguments: Sequence[str]) -> ExportOptions:
    """Read what follows ``pbmon-client export``; a mistake in it is SystemExit 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    return ExportOptions(
        url=given.otlp,
        interval_s=given.interval,
        count=given.count,
        socket=parser.socket_of(given),
        metering=metrics_options.chosen(given),
    )


def _parser() -> CommandParser:
    parser = CommandParser("pbmon-client export", _INTRO, _EPILOG)
    group = parser.add_argument_group("where to, and how often")
    group.add_argument(
        "--otlp", type=_url, required=True, metavar="URL",
        help=f"the receiver; {_METRICS_PATH} is added to an address without a path",
    )  # fmt: skip
    group.add_argument(
        "--interval", type=_interval, default=DEFAULT_INTERVAL_S, metavar="SECONDS",
        help=f"how often to push (default: {DEFAULT_INTERVAL_S:g})",
    )  # fmt: skip
    group.add_argument(
        "--count", type=_count, default=0, metavar="N", help="end after N pushes that arrived"
    )
    metrics_options.add_options(parser.add_argument_group("what"))
    rest = parser.add_argument_group("access and help")
    add_socket(rest)
    add_help(rest)
    return parser


def _url(text: str) -> str:
    wrong = argparse.ArgumentTypeError(
        f"{text!r} is no address of a receiver, such as http://127.0.0.1:4318"
    )
    if not text.isprintable() or not text.isascii() or " " in text:
        raise wrong
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        raise wrong from None
    if not usable or parts.fragment or "@" in parts.netloc:
        raise wrong
    path = parts.path if parts.path.strip("/") else _METRICS_PATH
    return urlunsplit(parts._replace(path=path))


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to a day")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:10])):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text[:10])
