"""The table of fields: everything we report about processes, connections, files and retired rows.

Each field is described once, here. The columns of the wire and of the store, JSON, CSV, filters,
the help text, the columns on the screen and the values of groups are derived from it. The module
imports only the standard library, because the client shares it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

# Index = the class number in the kernel's keys (bpf/pbmon.h).
CLASSES: Final = ("net", "loopback", "unix", "socket", "file", "pipe", "device")
SOCKET_CLASSES: Final = CLASSES[:4]
#: Class numbers by name.
CODES: Final = {name: code for code, name in enumerate(CLASSES)}
STATES: Final = ("running", "exited")
DIRECTIONS: Final = ("unknown", "in", "out")
OPEN: Final = (False, True, None)  # None: not known yet
# Index = the kernel's number (include/net/tcp_states.h); 0: not TCP, or not known.
TCP_STATES: Final = (
    *(None, "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE"),
    *("CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE"),
)
#: On the wire, a number of bytes that is not known.
NO_COUNT: Final = 0xFFFFFFFFFFFFFFFF
#: (uid_t)-1, which no user can have. It means that the owner is not known.
NO_UID: Final = 0xFFFFFFFF

Kind = Literal["identity", "label", "gauge", "counter"]
Type = Literal["number", "text", "address", "bool"]
Direction = Literal["in", "out"]
Combined = Literal["sum", "most"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row.

    ``kind``: the identity fields together identify a row of the table. A label is a word or number
    that describes something. A gauge is a current value. A counter is cumulative and only grows.
    ``type`` and ``unit`` are those of the value that users see.

    ``wire`` is the column's type on the wire: "u1" to "u8" and "f8" are little-endian numbers,
    "16s" is sixteen raw bytes, "text" is text. A counter is "u8" whatever the kernel's is: what
    moved in a range of the past may be the sum of many. If it is None, the client derives the field
    from other columns. Fields that are not ``shown`` exist only for that.
    ``store`` says where the store keeps the value: ``key.NAME`` or ``counter.NAME`` in the kernel's
    rows, ``info.NAME`` or ``texts.NAME`` in its processes. If it is empty, the value is computed
    when a message is made.
    If there are ``choices``, the number on the wire is an index into them. ``null`` is the number
    that means unknown. A field that ``needs`` another one is unknown where that one is 0.

    ``byte_class`` and ``direction`` are for traffic. ``rate_of`` names the counter of a rate.
    ``combined`` says what a group of rows shows: the sum, or the maximum (of a field whose ``null``
    is 0).
    ``title`` is for sentences and lists, ``short`` is a column heading.
    """

    name: str
    kind: Kind
    wire: str | None
    meaning: str
    type: Type = "number"
    unit: str = ""
    shown: bool = True
    store: str = ""
    choices: tuple[str | bool | None, ...] = ()
    null: int | None = None
    needs: str | None = None
    byte_class: str | None = None
    direction: Direction | None = None
    rate_of: str | None = None
    combined: Combined | None = None
    title: str = ""
    short: str = ""

    def __post_init__(self) -> None:
        # Frozen dataclasses set their own fields this way.
        object.__setattr__(self, "title", self.title or self.name.replace("_", " "))
        object.__setattr__(self, "short", self.short or self.name.upper())

    @property
    def words(self) -> tuple[str, ...]:
        """The words that its value can be, if they are a fixed set."""
        return tuple(each for each in self.choices if isinstance(each, str))

    @property
    def is_traffic(self) -> bool:
        """Whether it counts the bytes of one direction."""
        return self.kind == "counter" and self.unit == "bytes" and self.direction is not None


def ways(byte_class: str) -> tuple[str, str]:
    """Return the names of a class's two directions: rx and tx for sockets, else read and write."""
    return ("rx", "tx") if byte_class in SOCKET_CLASSES else ("read", "write")


def rate_name(counter: str) -> str:
    """Return the name of a byte counter's rate: ``net_rx_bytes`` -> ``net_rx_bytes_per_s``."""
    return f"{counter}_per_s"


# --- traffic --------------------------------------------------------------------------------------

_TITLES: Final = {"rx": "in", "tx": "out"}
_SHORTS: Final = {"loopback": "lo", "socket": "sock", "device": "dev", "read": "r", "write": "w"}
_VERBS: Final = {"rx": "received", "tx": "sent", "read": "read", "write": "written"}


def _traffic(way: str, unit: str, byte_class: str | None = None) -> Field:
    """Make a counter of bytes or calls in one direction, for a row or for a process's class."""
    words = [way] if byte_class is None else [byte_class, way]
    direction: Direction = "in" if way in ("rx", "read") else "out"
    tail = [] if unit == "bytes" else [unit]
    # The kernel's rows say rx and tx for all classes.
    kept = f"counter.{'rx' if direction == 'in' else 'tx'}_{unit}"
    return Field(
        "_".join([*words, unit]),
        "counter",
        "u8",
        f"bytes {_VERBS[way]}" if not tail else f"calls by which they were {_VERBS[way]}",
        unit=unit,
        store="" if byte_class == "disk" else kept,
        byte_class=byte_class,
        direction=direction,
        combined="sum",
        title=" ".join([*(_TITLES.get(word, word) for word in words), *tail]),
        short=" ".join(_SHORTS.get(word, word) for word in [*words, *tail]).upper(),
    )


def _rate(counter: Field) -> Field:
    return replace(
        counter,
        name=rate_name(counter.name),
        kind="gauge",
        wire="f8",
        unit="bytes/s",
        store="",
        meaning=f"{counter.meaning} per second",
        rate_of=counter.name,
    )


def _four(pair: tuple[str, str], byte_class: str | None = None) -> tuple[Field, ...]:
    return tuple(_traffic(way, unit, byte_class) for unit in ("bytes", "calls") for way in pair)


def _rates(counters: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(_rate(counter) for counter in counters if counter.is_traffic)


# --- the tables -----------------------------------------------------------------------------------

_RETRANSMITTED: Final = (
    Field("retransmitted_segments", "counter", "u8", "segments that TCP sent again",
          unit="segments", store="counter.retransmitted_segments", combined="sum",
          title="retransmits", short="RETRANS"),
    Field("retransmitted_bytes", "counter", "u8", "bytes that TCP sent again", unit="bytes",
          store="counter.retransmitted_bytes", combined="sum", title="resent data",
          short="RESENT"),
)  # fmt: skip
_PROCESS_COUNTERS: Final = (
    *(field for name in CLASSES for field in _four(ways(name), name)),
    # The kernel's own task I/O accounting, which does not count calls.
    *(_traffic(way, "bytes", "disk") for way in ("read", "write")),
    *_RETRANSMITTED,
)


def _before(what: str, meaning: str, store: str = "") -> Field:
    """Make a field of the baseline: no counter of ours, so that no sum or rate has it."""
    name = f"before_{what}_bytes"
    return Field(name, "gauge", "u8", f"bytes {meaning} before the daemon began", unit="bytes",
                 store=store and f"{store}.{name}", null=NO_COUNT,
                 title=f"before {what.replace('_', ' ')}")  # fmt: skip


_OWNER: Final = (
    Field("uid", "label", "u4", "effective user id", store="info.uid", null=NO_UID),
    Field("user", "label", None, "name of that user", type="text"),
)
_UNIT: Final = Field("unit", "label", "text", "systemd unit; a container's own as unit@container",
                     type="text", store="texts.unit")  # fmt: skip
_CONTAINER: Final = (
    Field("container", "label", "text", "container, as runtime:id", type="text",
          store="texts.container"),
    Field("container_name", "label", "text", "what people call the container", type="text",
          title="called"),
    Field("image", "label", "text", "image of the container", type="text"),
    Field("pod", "label", "text", "pod of the container", type="text"),
    Field("namespace", "label", "text", "Kubernetes namespace of the pod", type="text"),
)  # fmt: skip
_FROM: Final = Field("first_ns", "identity", "u8", "when its first byte was seen", unit="ns",
                     store="counter.first_ns")  # fmt: skip
_LATEST: Final = (
    Field("last_ns", "gauge", "u8", "when its last byte was seen", unit="ns"),
    Field("open", "gauge", "u1", "whether a descriptor is open", type="bool", choices=OPEN),
)
_WHOSE: Final = (
    Field("pid", "identity", "u4", "process id", store="key.pid"),
    Field("start_ns", "identity", "u8", "when the process started", unit="ns"),
)
_CLASS: Final = Field("class", "label", "u1", "which kind of traffic it is", type="text",
                      store="counter.class", choices=CLASSES)  # fmt: skip
_NETNS: Final = Field("netns", "label", "u4", "network namespace, by its inode number",
                      store="info.netns", null=0)  # fmt: skip

PROCESSES: Final = (
    replace(_WHOSE[0], store="info.pid"),
    replace(_WHOSE[1], store="info.shown_start_ns"),
    Field("ppid", "label", "u4", "process id of its parent", store="info.ppid", title="parent"),
    *_OWNER,
    Field("name", "label", "text", "name, as the kernel has it", type="text", store="texts.name"),
    Field("exe", "label", "text", "executable", type="text", store="texts.exe"),
    Field("cmdline", "label", "text", "command line", type="text", store="texts.cmdline",
          title="runs"),
    Field("cgroup", "label", "text", "control group", type="text", store="texts.cgroup"),
    _UNIT,
    *_CONTAINER,
    _NETNS,
    Field("state", "label", "u1", "running or exited", type="text", store="info.state",
          choices=STATES),
    Field("exited_ns", "gauge", "u8", "when it exited", unit="ns", store="info.exited_ns", null=0),
    Field("connections", "gauge", "u4", "how many connections it has", combined="sum",
          short="CONNS"),
    Field("files", "gauge", "u4", "how many files it has", combined="sum"),
    _before("read", "that calls read", "info"),
    _before("write", "that calls wrote", "info"),
    _before("disk_read", "from storage", "info"),
    _before("disk_write", "to storage", "info"),
    *_PROCESS_COUNTERS,
    *_rates(_PROCESS_COUNTERS),
)  # fmt: skip
CONNECTIONS: Final = (
    *_WHOSE,
    _CLASS,
    Field("family", "identity", "u1", "AF_*", store="key.family", shown=False),
    Field("type", "label", "u1", "SOCK_*", store="key.type", shown=False),
    # On the wire IPPROTO_*, or the family's own number.
    Field("protocol", "identity", "u2", "tcp, udp, stream, netlink or another", type="text",
          store="key.protocol", short="PROTO"),
    # inet: 4 bytes and zeros; inet6: 16; others: the socket's inode number in the first 8 (LE).
    Field("local", "identity", "16s", "local address", store="key.local", shown=False),
    # Unix sockets: their path, or NUL and the abstract name.
    Field("local_name", "label", "text", "local name", shown=False),
    Field("local_address", "label", None, "local address, or a unix socket's name", type="address",
          title="local", short="LOCAL"),
    Field("local_port", "identity", "u2", "local port", store="key.local_port", null=0),
    # All zeros: not known.
    Field("remote", "identity", "16s", "remote address", shown=False),
    Field("remote_name", "label", "text", "remote name", shown=False),
    Field("remote_address", "label", None, "the peer's address, or a unix socket's name",
          type="address", title="remote", short="REMOTE"),
    Field("remote_port", "identity", "u2", "the peer's port", store="key.remote_port", null=0),
    replace(_NETNS, kind="identity", store="counter.netns"),
    Field("inode", "identity", "u4", "inode number of the socket", store="counter.detail"),
    Field("direction", "label", "u1", "in or out: who opened it; or unknown", type="text",
          choices=DIRECTIONS),
    *_four(("rx", "tx")),
    *_rates(_four(("rx", "tx"))),
    Field("rtt_us", "gauge", "u4", "smoothed round-trip time of TCP, in microseconds", unit="us",
          store="counter.rtt_us", null=0, combined="most", title="round trip", short="RTT"),
    *(replace(field, needs="tcp_state") for field in _RETRANSMITTED),
    Field("tcp_state", "label", "u1", "ESTABLISHED, CLOSE_WAIT or another state of TCP",
          type="text", store="counter.tcp_state", choices=TCP_STATES, title="state", short="STATE"),
    _before("rx", "received"),
    _before("tx", "sent"),
    _FROM,
    *_LATEST,
)  # fmt: skip
FILES: Final = (
    *_WHOSE,
    _CLASS,
    Field("path", "label", "text", "path, as its process sees it", type="text"),
    Field("unlinked", "label", "u1", "it has no name any more", shown=False),
    # On the wire major << 20 | minor.
    Field("device", "identity", "u4", "device, as major:minor", type="text",
          store="counter.device"),
    Field("inode", "identity", "u8", "inode number", store="key.inode"),
    *_four(("read", "write")),
    *_rates(_four(("read", "write"))),
    _FROM,
    *_LATEST,
)  # fmt: skip
#: Counters of processes that no longer have rows, summed by unit, container and user.
RETIRED: Final = (
    _UNIT,
    *_CONTAINER,
    *_OWNER,
    Field("processes", "counter", "u8", "how many processes they were", combined="sum"),
    *_PROCESS_COUNTERS,
)
#: Tables by name; in each, all its fields by name.
TABLES: Final[dict[str, dict[str, Field]]] = {
    name: {field.name: field for field in table}
    for name, table in (
        ("processes", PROCESSES),
        ("connections", CONNECTIONS),
        ("files", FILES),
        ("retired", RETIRED),
    )
}
#: The same without the fields that exist only on the wire, in the order of JSON.
SHOWN: Final = {
    table: {name: field for name, field in named.items() if field.shown}
    for table, named in TABLES.items()
}
#: Every field that a row of traffic can have. Tables that share a name share its type.
FIELDS: Final = {
    name: field
    for table in ("files", "connections", "processes")
    for name, field in SHOWN[table].items()
}

# --- names by kind --------------------------------------------------------------------------------

#: Every cumulative counter of a process, in the order of the wire. Totals have the same.
COUNTERS: Final = tuple(field.name for field in _PROCESS_COUNTERS)
#: Those with a rate, and their rates.
BYTE_COUNTERS: Final = tuple(field.name for field in _PROCESS_COUNTERS if field.is_traffic)
RATES: Final = tuple(map(rate_name, BYTE_COUNTERS))
#: The rates whose recent samples are kept for each process and for the host.
HISTORY: Final = tuple(
    rate_name(f"{name}_{way}_bytes") for name in ("net", "file") for way in ways(name)
)
#: The fields that identify a row of a table within one daemon run. The time of the first byte is
#: one of them, because a retired key can come back, and then counts from zero.
IDENTITY: Final = {
    table: tuple(name for name, field in named.items() if field.kind == "identity")
    for table, named in TABLES.items()
}

#: Gauges that describe a row as its labels do, and gauges that may be others in every tick.
_DESCRIBING, _CHANGING = ("exited_ns",), ("rtt_us",)
_VIEWER: Final = Field("viewer", "label", "u4", "user who may see it", shown=False, null=NO_UID)
#: What ``all/moved`` says of a row of traffic beside its counters. A description is said again only
#: if it has changed; of a connection or file it has the user of the process as well. ``viewer`` is
#: who, besides root and the access group, may see what the row moved in that tick.
DESCRIPTION: Final[dict[str, dict[str, Field]]] = {
    table: {
        **{
            name: field
            for name, field in TABLES[table].items()
            if field.wire and (field.kind in ("identity", "label") or name in _DESCRIBING)
        },
        "uid": TABLES["processes"]["uid"],
        "viewer": _VIEWER,
    }
    for table in ("processes", "connections", "files")
}
#: What it says of each row that moved.
CHANGING: Final = {
    table: {name: TABLES[table][name] for name in _CHANGING if name in TABLES[table]}
    for table in DESCRIPTION
}


def counter_names(byte_class: str) -> tuple[str, str, str, str]:
    """Return the four counters of a class: bytes in, bytes out, calls in, calls out."""
    received, sent, receiving, sending = (
        field.name for field in _four(ways(byte_class), byte_class)
    )
    return received, sent, receiving, sending


def rate_columns(table: str) -> tuple[str, ...]:
    """Return the names of a table's rates."""
    return tuple(name for name, field in TABLES[table].items() if field.rate_of)


def byte_columns(table: str) -> tuple[str, ...]:
    """Return the names of a table's byte counters of traffic."""
    return tuple(name for name, field in TABLES[table].items() if field.is_traffic)
