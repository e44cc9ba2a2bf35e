"""What a cell of a view shows: columns made from the table of fields, fitted to a width."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from math import isnan
from typing import Any, Final

from pbmon_client.data.model import ValuesOf
from pbmon_client.data.network import inet_protocol_number
from pbmon_client.data.text import human
from pbmon_client.present.cells import DASH, TIMES, clean
from pbmon_client.present.numbers import Units, clock, latency
from pbmond.fields import FIELDS, SHOWN, rate_name

#: The kinds of traffic that can be shown or hidden: those of the wire, and the disk.
CLASSES: Final = ("net", "file", "disk", "loopback", "unix", "pipe", "device", "socket")

NameOf = Callable[[str], str | None]
ServiceOf = Callable[[str, int], str | None]


def _no_name(_address: str) -> str | None:
    return None


def _no_service(_protocol: str, _port: int) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Style:
    """How values are written.

    ``wall_ns`` is CLOCK_REALTIME minus CLOCK_BOOTTIME, ``now_ns`` the snapshot's CLOCK_REALTIME.
    """

    units: Units = made_by(default_factory=Units)
    wall_ns: int = 0
    now_ns: int = 0
    full_command: bool = False
    name_of: NameOf = _no_name
    service_of: ServiceOf = _no_service
    ascii_only: bool = False


WriteCells = Callable[[ValuesOf, Style, int], list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class ViewColumn:
    """A column of a view. On a narrow screen those with the largest ``rank`` go first.

    ``sort`` names what it sorts by, if it can; ``counter`` is its byte counter, for traffic, and
    ``others`` are those of a sum; ``write`` makes the texts of the rows that are drawn, for a
    number of cells. A column that stretches takes what is left of the line up to ``most``, and
    columns of little importance leave it ``ideal`` cells.
    """

    name: str
    title: str
    cells: int
    rank: int
    sort: str
    write: WriteCells
    stretch: int = 0
    right: bool = False
    keep_end: bool = False
    counter: str | None = None
    ideal: int = 0
    most: int = 1000
    others: tuple[str, ...] = ()

    @property
    def traffic(self) -> str | None:
        """The class whose bytes these are; of connections and files it is a field of the row."""
        return None if self.counter is None else self.counter.split("_")[0]

    @property
    def rises(self) -> bool:
        """Whether its first row has the least value, as text from A has."""
        return not self.right

    def source(self, units: Units) -> str:
        """Name the column to sort by."""
        if self.counter is None:
            return self.sort
        return self.counter if units.totals else rate_name(self.counter)

    def width(self, units: Units) -> int:
        """Return the least number of cells."""
        if self.counter is None and not self.others:
            return self.cells
        return max(units.cells, len(self.title))


# --- makers -------------------------------------------------------------------------------------


def _values(values_of: ValuesOf, name: str) -> Sequence[Any]:
    return values_of(name) or ()


def _plain(name: str) -> WriteCells:
    def write(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
        values = _values(values_of, name)
        if name in FIELDS and FIELDS[name].unit in _WRITTEN_UNITS:
            return ["" if v is None else written(name, v, style) for v in values]
        return ["" if v is None else clean(str(v)) for v in values]

    return write


#: The units that ``written`` knows.
_WRITTEN_UNITS: Final = ("us", "bytes")


def written(name: str, value: Any, style: Style) -> str:  # noqa: ANN401 - whatever the column holds
    """Write a value that is known, in the unit that its field has."""
    unit = FIELDS[name].unit if name in FIELDS else ""
    if unit == "us":
        return latency(value)
    if unit == "bytes":
        return human(value, 1024 if style.units.binary else 1000)
    return clean(str(value))


def text(
    table: str,
    name: str,
    cells: int,
    rank: int,
    *,
    stretch: int = 0,
    right: bool = False,
    keep_end: bool = False,
    title: str | None = None,
    write: WriteCells | None = None,
    ideal: int = 0,
    most: int = 1000,
) -> ViewColumn:
    """Make a column that shows a column, or a group's label."""
    known = SHOWN[table].get(name)
    shown = title or (known.short if known else name.upper())
    return ViewColumn(
        name,
        shown,
        cells,
        rank,
        name,
        write or _plain(name),
        stretch,
        right,
        keep_end,
        ideal=ideal,
        most=most,
    )


def number(table: str, name: str, cells: int, rank: int, title: str | None = None) -> ViewColumn:
    """Make a column of a number that is not traffic."""
    return text(table, name, cells, rank, right=True, title=title)


def traffic(table: str, pair: str, rank: int) -> ViewColumn:
    """Make a column of bytes or of their rate, as the units say."""
    counter = f"{pair}_bytes"

    def write(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
        name = counter if style.units.totals else rate_name(counter)
        return style.units.write_each(_values(values_of, name))

    title = SHOWN[table][counter].short
    return ViewColumn(pair, title, 6, rank, counter, write, right=True, counter=counter)


def other_traffic(counters: tuple[str, ...]) -> ViewColumn:
    """Make a column of the sum of all traffic that has no column of its own."""

    def write(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
        names = counters if style.units.totals else map(rate_name, counters)
        columns = [_values(values_of, name) for name in names]
        return style.units.write_each(map(known_sum, zip(*columns, strict=True)))

    return ViewColumn("other", "OTHER", 6, 4, "", write, right=True, others=counters)


def known_sum(values: Iterable[float | None]) -> float | None:
    """Add up what is known; None if nothing is (NaN is the wire's unknown)."""
    known = [value for value in values if value is not None and not isnan(value)]
    return sum(known) if known else None


# --- writers of more than one column --------------------------------------------------------------


def write_name(values_of: ValuesOf, style: Style, cells: int) -> list[str]:
    """Write a process's name, or its command line; of an exited one, when it ended."""
    names = _values(values_of, "cmdline" if style.full_command else "name")
    shorts = _values(values_of, "name")
    ends = _values(values_of, "exited_ns")
    written = []
    for name, short, end in zip(names, shorts, ends, strict=True):
        shown = clean(name or short or "?")
        if end is not None:
            stamp = f" {TIMES}{clock(end + style.wall_ns)}"
            room = max(1, cells - len(stamp))
            shown = (shown if len(shown) <= room else shown[: room - 1] + "…") + stamp
        written.append(shown)
    return written


def write_end(side: str) -> WriteCells:
    """Make the writer of one end of a connection: address, or name, and port."""

    def write(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
        return [
            clean(endpoint(address, port, protocol, style))
            for address, port, protocol in zip(
                _values(values_of, f"{side}_address"),
                _values(values_of, f"{side}_port"),
                _values(values_of, "protocol"),
                strict=True,
            )
        ]

    return write


def endpoint(address: str | None, port: int | None, protocol: str, style: Style) -> str:
    """Write an address and a port, with their names where those are wanted and known."""
    if address is None and port is None:
        # An IP socket always has a peer, even if it is unknown; other sockets need no name.
        return DASH if inet_protocol_number(protocol) is None else "?"
    host = "?" if address is None else style.name_of(address) or address
    if port is None:
        return host
    service = style.service_of(protocol, port) or str(port)
    return f"[{host}]:{service}" if ":" in host else f"{host}:{service}"


def write_host(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
    """Write a remote host; where no peer is known, say so."""
    return [
        "(peer not known)" if host is None else clean(style.name_of(host) or host)
        for host in _values(values_of, "host")
    ]


def write_unit(values_of: ValuesOf, _style: Style, _cells: int) -> list[str]:
    """Write a container's unit; a unit itself has been named already."""
    pairs = zip(_values(values_of, "unit"), _values(values_of, "container"), strict=True)
    return ["" if container is None else clean(unit or "") for unit, container in pairs]


def short_container(container: str) -> str:
    """Shorten a container's id as its own tools do; ``runtime:`` stays in front."""
    runtime, _, identifier = container.partition(":")
    return f"{runtime}:{identifier[:12]}" if len(identifier) == 64 else container


def container_words(container: str, name: str | None, pod: str | None, space: str | None) -> str:
    """Write what people call a container: its name, behind namespace and pod; else its id."""
    words = [each for each in (space, pod, name) if each]
    return "/".join(words) if name or pod else short_container(container)


def write_container(values_of: ValuesOf, _style: Style, _cells: int) -> list[str]:
    """Write a container by its name, or by its runtime and the start of its id."""
    names = (
        _values(values_of, each) for each in ("container", "container_name", "pod", "namespace")
    )
    return [
        "" if each[0] is None else clean(container_words(*each))
        for each in zip(*names, strict=True)
    ]


def write_port(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
    """Write a service's port and its name."""
    written = []
    for protocol, port in zip(
        _values(values_of, "protocol"), _values(values_of, "port"), strict=True
    ):
        service = None if port is None else style.service_of(protocol, port)
        written.append("" if port is None else f"{port} {service}" if service else str(port))
    return written


ARROWS: Final = {"in": "←", "out": "→"}


def write_direction(values_of: ValuesOf, _style: Style, _cells: int) -> list[str]:
    """Write who opened a connection as an arrow between its ends."""
    return [ARROWS.get(value, DASH) for value in _values(values_of, "direction")]


# --- fitting --------------------------------------------------------------------------------------


def fitting(
    columns: Sequence[ViewColumn], cells: int, units: Units, hidden: Collection[str] = ()
) -> list[tuple[ViewColumn, int]]:
    """Choose the columns that a line of ``cells`` has room for, and their widths.

    The least important ones give way; what is left over goes to those that stretch. Traffic
    without a column shows in a sum, so that every busy row has a visible reason.
    """
    shown = [f for f in columns if f.name not in hidden and f.traffic not in hidden]
    kept = _kept(shown, cells, units)
    if _left_out(shown, kept):
        fewer = _kept(shown, cells - 1 - other_traffic(("",)).width(units), units)
        last = max((at for at, column in enumerate(fewer) if column.counter), default=None)
        if last is not None:
            other = other_traffic(_left_out(shown, fewer))
            kept = [*fewer[: last + 1], other, *fewer[last + 1 :]]
    used = sum(1 + column.width(units) for column in kept) - 1
    return _stretched(kept, max(0, cells - used), units)


def _left_out(shown: Sequence[ViewColumn], kept: Sequence[ViewColumn]) -> tuple[str, ...]:
    # Disk bytes are bytes of files, or of what the kernel did for them, a second time.
    classes = {*CLASSES} - {"disk"}
    return tuple(f.counter for f in shown if f.counter and f.traffic in classes and f not in kept)


def _kept(shown: Sequence[ViewColumn], cells: int, units: Units) -> list[ViewColumn]:
    kept: list[ViewColumn] = []
    used = -1
    for rank in sorted({column.rank for column in shown}):
        # All columns of a rank or none: half of a pair says little.
        together = [column for column in shown if column.rank == rank]
        need = sum(1 + column.width(units) for column in together)
        kind = sum(max(0, f.ideal - f.cells) for f in kept) if rank > _OPTIONAL_RANK else 0
        if used + need + kind > cells and kept:
            break
        kept += together
        used += need
    return sorted(kept, key=shown.index)


def _stretched(
    kept: Sequence[ViewColumn], spare: int, units: Units
) -> list[tuple[ViewColumn, int]]:
    widths = {column.name: column.width(units) for column in kept}
    stretching = [column for column in kept if column.stretch]
    # Those with the least room to grow first, so that what they leave goes to the others.
    for column in sorted(stretching, key=lambda column: column.most - column.cells):
        weights = sum(other.stretch for other in stretching)
        share = min(spare * column.stretch // weights, max(0, column.most - column.cells))
        widths[column.name] += share
        spare -= share
        stretching = [other for other in stretching if other is not column]
    return [(column, widths[column.name]) for column in kept]


_OPTIONAL_RANK: Final = 5
