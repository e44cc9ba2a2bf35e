"""The command line of pbmon-client: its options, their help, and their values, checked."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pbmon_client.asking.options import PastOptions, add_past, asked_of
from pbmon_client.command_line import CommandParser, add_help, add_socket, version, with_values
from pbmon_client.data.model import Filter, Selection
from pbmon_client.data.users import user_id
from pbmond import wire
from pbmond.fields import CLASSES, FIELDS, SHOWN, SOCKET_CLASSES

DEFAULT_WAIT_S: Final = 2.0
#: The views of the interface, in its order; named here so that --help need not load them.
VIEW_NAMES: Final = (
    *("processes", "programs", "users", "units"),
    *("connections", "hosts", "ports", "files", "tree"),
)

#: Those whose rows are groups, which JSON and CSV have too.
GROUP_VIEWS: Final = ("programs", "users", "units", "hosts", "ports")

_FLOW_VIEWS: Final = ("connections", "hosts", "ports", "files")

Output = Literal["screen", "table", "once", "json", "ndjson", "csv"]

_INTRO: Final = """\
Show which process, connection and file is moving the bytes, now and since
pbmond started. Needs no privileges: everybody sees their own processes; root
and the members of group pbmon see all.

Without an output option it opens the terminal interface (? shows its keys).
Where there is no terminal, it prints a table for every snapshot, busiest first.
`pbmon-client web` shows the same in a browser, `pbmon-client export` pushes
metrics, `pbmon-client record` writes down what moves, and `pbmon-client
history` says what is kept of that; each has a --help of its own.
"""

_EPILOG: Final = """\
fields (times are CLOCK_BOOTTIME, in nanoseconds):
  of processes:
{processes}
  for CLASS {sockets}:
    CLASS_rx_bytes CLASS_tx_bytes CLASS_rx_calls CLASS_tx_calls;
  for CLASS {others} the same with read and write;
  and disk_read_bytes disk_write_bytes; each *_bytes also as *_bytes_per_s

  of connections, beside those of their process:
{connections}

  of files, beside those of their process:
{files}

coverage (JSON; each counter since the daemon began, and as COUNTER_interval):
  interfaces   {interfaces},
               as the host counts; and of the processes you see
               {payload}
  elsewhere    {payload},
               in other network namespaces, or of no interface's address
  disks        {disks}
  attributed   {attributed}, of the processes you see
               {host}

times (of the local zone, unless Z or +01:00 follows) and durations:
  03:12, 03:12:30, yesterday 14:00, monday 8:00, 2026-11-25 03:12 (each the last
  one before now), 2h ago, -1d, @1790000000, now; and 90s, 10m, 1h30m, 2d

filters:
  FIELD = VALUE, also != < <= > >=
  FIELD ~ REGEX                 matches anywhere in the text; case matters
  FIELD in (VALUE, VALUE)       one of these
  FIELD in 10.0.0.0/8           an address in this network
  not, and, or, ( )             join them; "and" binds tighter than "or"
  Numbers: 10M is 10,000,000, 10Mi is 10,485,760; B, /s may follow: 1.5GiB/s.
  Quote values with spaces, commas, quotes or parentheses: name ~ "^(a|b)".
  null is what is not known or does not exist: container != null. It equals only
  itself, and any other comparison with it is false.
  A connection or file is shown if its own fields and its process's match; a
  process if its own match, or those of one of its connections or files do.

examples:
  pbmon-client                                  look around
  pbmon-client --once --view hosts --top 10     ten busiest hosts, for a mail
  pbmon-client --flows -p 4711                  what 4711 reads and sends
  pbmon-client --json | jq '.processes[] | select(.net_tx_bytes > 1e9) | .name'
  pbmon-client --ndjson -d 10 > traffic.ndjson  a record every ten seconds
  pbmon-client --once --since 03:10 --until 03:15 --top 20
  pbmon-client --json --since -1d --view units --step 1h
  pbmon-client --csv -n 2 -d 60 --top 20 --sort disk_write_bytes_per_s
  pbmon-client --filter 'net_tx_bytes_per_s > 1M and not user in (root, backup)'
  pbmon-client --flows --filter 'remote_address in 192.0.2.0/24 or path ~ ^/srv'

environment:
  PBMON_SOCKET  the daemon's socket, unless --socket is given

exit status:
  0    success, also if the reader of the output went away
  1    no data, or no way to write it
  2    a mistake on the command line
  130  interrupted
"""


@dataclass(frozen=True, slots=True)
class Options:
    """A checked command line. ``count`` 0 is without end; ``interval_s`` None every snapshot.

    ``past`` None is the present.
    """

    output: Output
    count: int
    interval_s: float | None
    selection: Selection
    socket: str
    wait_s: float
    view: str | None
    filter_text: str | None
    demo: Path | None
    past: PastOptions | None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read a command line (None: the program's own); a mistake in it is SystemExit 2."""
    parser = _parser()
    given = parser.parse_args([*with_values(sys.argv[1:] if arguments is None else arguments)])
    output: Output = given.output or ("screen" if given.count is None else "table")
    if given.demo is not None and output not in ("screen", "once"):
        parser.error("--demo is for the interface and for --once")
    if given.view not in (None, *GROUP_VIEWS) and output not in ("screen", "once"):
        parser.error(f"--view {given.view} is for the interface and for --once")
    return Options(
        output=output,
        count=given.count if given.count is not None else int(output in ("json", "csv", "once")),
        interval_s=given.interval,
        selection=Selection(
            pids=frozenset(given.pids),
            uids=frozenset(given.users),
            names=tuple(given.names),
            filter=_filter(parser, given.filter),
            active=given.active,
            sort=_sort(parser, given.sort, flows=given.flows or given.view in _FLOW_VIEWS),
            reverse=given.reverse,
            top=given.top,
            busiest_first=output in ("screen", "table"),
            flows=given.flows,
        ),
        socket=parser.socket_of(given),
        wait_s=DEFAULT_WAIT_S if given.wait is None else given.wait,
        view=given.view or ("connections" if given.flows else None),
        filter_text=given.filter,
        demo=given.demo,
        past=asked_of(parser, given, time.time(), printed=output != "screen"),
    )


def _filter(parser: argparse.ArgumentParser, text: str | None) -> Filter | None:
    if text is None:
        return None
    from pbmon_client.data import filters  # noqa: PLC0415 - the parser takes longer than all the rest

    try:
        return filters.parse(text)
    except filters.FilterError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _sort(parser: argparse.ArgumentParser, name: str | None, *, flows: bool) -> str | None:
    if name is None or name in SHOWN["processes"]:
        return name
    if name not in FIELDS:
        from pbmon_client.data import nearest  # noqa: PLC0415 - only a mistake needs difflib

        parser.error(f"--sort: {nearest.unknown_field(name)}")
    if not flows:
        parser.error(f"--sort: {name} is a field of connections or files; add --flows")
    return name


def _parser() -> CommandParser:
    parser = CommandParser(
        "pbmon-client",
        _INTRO,
        _epilog(),
        usage="pbmon-client [--json | --ndjson | --csv | --once] [options]\n"
        "       pbmon-client web [options]\n"
        "       pbmon-client export --otlp URL [options]\n"
        "       pbmon-client record [options]\n"
        "       pbmon-client history [export | import | serve] [options]",
    )
    _add_output(parser.add_argument_group("output"))
    add_past(parser.add_argument_group("the past (see times below)"))
    _add_rows(parser.add_argument_group("rows (each option narrows further)"))
    _add_connection(parser.add_argument_group("connection and help"))
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_ignored: object) -> None:
        sys.stdout.write(f"{parser.prog} {version()}\n")
        parser.exit(0)


def _add_output(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group()
    for name, text in (
        ("json", "the first snapshot to arrive, as one JSON object with a row on each line; then "
                 "exit. Rates are null in the first snapshot of a daemon's run"),
        ("ndjson", "one JSON object per line for every snapshot, without end; carries on when the "
                   "daemon restarts (with another \"epoch\")"),
        ("csv", "one snapshot's rows under a header, then exit; with --flows all three tables, "
                "told apart by the column \"table\". Text that begins with = + - @ gets a ' in "
                "front, so that no spreadsheet runs it; JSON has it unchanged"),
        ("once", "one view as plain text, then exit"),
    ):  # fmt: skip
        one.add_argument(f"--{name}", dest="output", action="store_const", const=name, help=text)
    group.add_argument(
        "--view", choices=VIEW_NAMES, metavar="VIEW",
        help=f"what the interface starts with, or what --once prints: {', '.join(VIEW_NAMES)}. "
             "--json, --ndjson and --csv print the groups of one that has groups",
    )  # fmt: skip
    group.add_argument(
        "--demo", type=Path, metavar="FILE",
        help="show a recorded stream (--ndjson output) instead of the daemon's snapshots",
    )  # fmt: skip
    group.add_argument(
        "-n", "--count", type=_whole(0), metavar="N",
        help="end after N snapshots; 0 means never (default: 1 for --json, --csv and --once, "
             "else 0)",
    )  # fmt: skip
    group.add_argument(
        "-d", "--interval", type=_seconds, metavar="SECONDS",
        help="show a snapshot every SECONDS, with rates over that time (default: every "
             "snapshot; the daemon makes them no faster than at its own interval)",
    )  # fmt: skip
    group.add_argument("--flows", action="store_true", help="show connections and files as well")


def _add_rows(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-p", "--pid", dest="pids", type=_whole(0), action="append", default=[], metavar="PID",
        help="this process; repeat for more",
    )  # fmt: skip
    group.add_argument(
        "-u", "--user", dest="users", type=_user, action="append", default=[], metavar="USER",
        help="processes of this user, by name or number; repeat for more",
    )  # fmt: skip
    group.add_argument(
        "--name", dest="names", action="append", default=[], metavar="NAME",
        help="processes of this name, a shell pattern such as 'ngin*'; repeat for more",
    )  # fmt: skip
    group.add_argument("--filter", metavar="EXPR", help="rows that match; see filters below")
    group.add_argument(
        "--active", action="store_true",
        help="rows that moved bytes in the interval shown (before there are rates: at all)",
    )  # fmt: skip
    group.add_argument(
        "--sort", metavar="FIELD",
        help="numbers from the largest down, text from A to Z, null last (default: the sum of "
             "all rates for the table and --top, the daemon's order otherwise)",
    )  # fmt: skip
    group.add_argument("--reverse", action="store_true", help="reverse the order")
    group.add_argument(
        "--top", type=_whole(1), metavar="N",
        help="only the first N rows of each table; totals and retired still cover all",
    )  # fmt: skip


def _add_connection(group: argparse._ArgumentGroup) -> None:
    add_socket(group)
    group.add_argument(
        "--wait", type=_seconds, metavar="SECONDS",
        help=f"give up without a first snapshot after SECONDS (default: {DEFAULT_WAIT_S:g})",
    )  # fmt: skip
    group.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    add_help(group)


def _epilog() -> str:
    payload = " ".join(wire.PAYLOAD_COUNTERS)
    return _EPILOG.format(
        **{table: _described(table) for table in ("processes", "connections", "files")},
        sockets=", ".join(SOCKET_CLASSES),
        others=", ".join(name for name in CLASSES if name not in SOCKET_CLASSES),
        interfaces=f"name present addresses {' '.join(wire.INTERFACE_COUNTERS)}",
        payload=payload,
        disks=f"name present stacked {' '.join(wire.DISK_COUNTERS)}",
        attributed=" ".join(wire.ATTRIBUTED_COUNTERS),
        host=" ".join(wire.HOST_COUNTERS),
    )


def _described(table: str) -> str:
    """Write a line for each field that has no class: its name and what it means."""
    lines = []
    for name, field in SHOWN[table].items():
        shared = table != "processes" and name in ("pid", "start_ns")
        if field.byte_class is None and not shared:
            lines.append(f"    {name:<23} {field.meaning}")
    return "\n".join(lines)


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= 10
        if not digits or not least <= int(text) < 1 << 32:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _user(text: str) -> int:
    try:
        return user_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
