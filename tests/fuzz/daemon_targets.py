"""What the daemon reads: events, netlink, /proc, its publisher's demands, its configuration."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from pbmond import config
from pbmond.containers.names import AnswerError, ContainerNames, pack_answer, unpack_answer
from pbmond.host import cgroup, counter_files, proc_formats, rtnetlink, sockdiag
from pbmond.kernel import events
from pbmond.kernel.records import FileSeen, ProcessSeen, UnixSeen
from pbmond.publish import zmtp
from pbmond.publish.channel import Demand, FeedError, pack_demand, unpack_demand
from pbmond.wire import Topic
from tests.fuzz.targets import Target

# --- events -------------------------------------------------------------------------------------


def check_event(data: bytes) -> None:
    """No bytes raise, and no name holds more than the event did."""
    event = events.parse(data)
    names: tuple[bytes | None, ...] = ()
    if isinstance(event, ProcessSeen):
        names = (event.exe, event.cmdline, event.cgroup)
        assert len(event.name) <= 16
        assert b"\0" not in event.name
    elif isinstance(event, FileSeen):
        names = (event.path,)
    elif isinstance(event, UnixSeen):
        names = (event.local, event.remote)
    assert all(name is None or len(name) <= len(data) for name in names)


def event_seeds() -> Iterator[bytes]:
    """Yield one event of each kind."""
    paths = b"cat\0bin\0usr\0", b"cat\0-n\0", b"cron.service\0system.slice\0"
    ext4, pipefs, anonymous = 0xEF53, 0x50495045, 0x09041934
    for kind, magic in (
        *((events.PROCESS, ext4), (events.FILE, ext4)),
        *((events.FILE, pipefs), (events.FILE, anonymous)),
    ):
        sizes = map(len, paths)
        name = events.NAME.pack(7, 1000, 4026531840, *sizes, 1, magic, 12, b"worker", 1000)
        yield events.HEAD.pack(kind, 42, 1, 2, 3) + name + b"".join(paths)
    yield events.HEAD.pack(events.EXIT, 42, 1, 2, 3) + events.DISK.pack(4096, 8192)
    unix = events.UNIX_NAMES.pack(17, 10, 6, b"\0abstract\0", b"/run/s")
    yield events.HEAD.pack(events.UNIX, 42, 1, 2, 3) + unix


# --- the host -----------------------------------------------------------------------------------


def check_netlink(data: bytes) -> None:
    """A dump is refused by ValueError, or gives addresses of sixteen bytes, or names."""
    with suppress(ValueError):
        assert not any(b"\0" in name for name in rtnetlink.parse_names(data))
    with suppress(ValueError):
        for interface, address in rtnetlink.parse_addresses(data):
            assert 0 <= interface < 1 << 32
            assert len(address) == 16


def check_connection(data: bytes) -> None:
    """An answer of sock_diag is refused by ValueError, or says what was moved, 0 or more."""
    with suppress(ValueError):
        found = sockdiag.parse_connection(data)
        assert found is None or min(found.received, found.sent) >= 0


def connection_seeds() -> Iterator[bytes]:
    """Yield a connection with what it has moved, and one without."""
    state = struct.pack("=BBBB", socket.AF_INET, 8, 0, 0)
    ends = struct.pack("!HH", 80, 5000) + bytes(44)
    head = state + ends + struct.pack("=IIIII", 0, 301, 0, 1000, 77)
    info = bytes(120) + struct.pack("=QQ8xI52xQQ", 501, 1001, 0, 500, 0)
    yield head + struct.pack("=HH", 4 + len(info), 2) + info
    yield head


def netlink_seeds() -> Iterator[bytes]:
    """Yield a dump of two addresses, and how a dump ends."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body

    head = struct.Struct("=BBBBI")
    v4 = attribute(1, bytes(4)) + attribute(2, socket.inet_aton("192.0.2.1")) + attribute(3, b"eth")
    v6 = attribute(1, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
    whole = message(20, head.pack(socket.AF_INET, 24, 0, 0, 2) + v4)
    whole += message(20, head.pack(socket.AF_INET6, 64, 0, 0, 3) + v6)
    yield whole
    yield whole + message(3, bytes(4))
    yield message(2, struct.pack("=i", -22))


def check_host_text(data: bytes) -> None:
    """No text raises; every count is a number that a kernel can count to."""
    for moved in counter_files.parse_interfaces(data).values():
        assert all(each >= 0 for each in moved)
    for disk in counter_files.parse_disks(data).values():
        assert all(each >= 0 for each in disk)
    counter_files.parse_retransmitted(data)
    counter_files.parse_forwarded(data, data)


def host_seeds() -> Iterator[bytes]:
    """Yield the host's files in the kernel's formats."""
    yield (
        b"Inter-|   Receive                |  Transmit\n face |bytes    packets errs\n"
        b"    lo: 141599932 21140 0 0 0 0 0 0 141599932 21140 0 0 0 0 0 0\n"
        b"br-\xff\x1b[31m: 18446744073709551615 1 0 0 0 0 0 0 2 3 0 0 0 0 0 0\n"
    )
    yield (
        b"   7       0 loop0 6 0 48 0 6 6 96 0 0 20 0 0 0 0 0 0 0\n 254       1 vda1 1 2 3\n"
        b" 104       0 cciss/c0d0 1 0 8 0 1 0 16 0 0 0 0\n"
    )
    yield b"Ip: Forwarding ForwDatagrams\nIp: 2 17\nTcp: RtoMin RetransSegs\nTcp: 200 5\n"
    yield b"Ip: ForwDatagrams\nIp: 2\nIp6InReceives  \t439\nIp6OutForwDatagrams  \t3\n"


def check_process_text(data: bytes) -> None:
    """Each reader of a process's files gives a value or refuses by ValueError."""
    readers: tuple[Callable[[bytes], Any], ...] = (
        proc_formats.parse_stat,
        proc_formats.parse_io,
        proc_formats.parse_cgroup,
        lambda text: proc_formats.field(text, b"ino:"),
    )
    for read in readers:
        with suppress(ValueError):
            read(data)


def process_seeds() -> Iterator[bytes]:
    """Yield a process's files in the kernel's formats."""
    yield b"42 (a) b) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 123 4096 17 18446744073\n"
    yield b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n"
    yield b"12:pids:/docker/0\n1:name=systemd:/user.slice\n0::/system.slice/cron.service\n"
    yield b"pos:\t0\nflags:\t02\nmnt_id:\t25\nino:\t77\n"


def check_cgroup(path: bytes) -> None:
    """A unit is a part of its path, perhaps with a container; that has a runtime and a name."""
    unit, container = cgroup.unit_of(path), cgroup.container_of(path)
    assert unit is None or (unit in path and b"/" not in unit) or unit.partition(b"@")[0] in path
    if container is not None:
        runtime, colon, name = container.partition(b":")
        assert runtime
        assert colon
        assert name


def cgroup_seeds() -> Iterator[bytes]:
    """Yield a path of each service manager and runtime."""
    digits = b"0123456789abcdef" * 4
    yield b"/system.slice/cron.service"
    yield b"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.editor.scope"
    yield b"/system.slice/docker-" + digits + b".scope"
    yield b"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + digits + b".scope"
    yield b"/kubepods-pod1.slice:cri-containerd:" + digits
    yield b"/docker/" + digits
    yield b"/lxc.payload.web/init.scope"
    yield b"/machine.slice/machine-a\\x2db.scope"
    yield b"/machine.slice/systemd-nspawn@a\\x2db.service"


# --- what viewers say ---------------------------------------------------------------------------


def check_viewer(data: bytes) -> None:
    """A conversation is refused by ProtocolError, keeps little, and means the same however cut."""
    whole, pieces = _heard([data]), _heard([data[at : at + 1] for at in range(len(data))])
    assert pieces == whole


def _heard(parts: list[bytes]) -> tuple[list[zmtp.PeerEvent], str | None]:
    conversation = zmtp.Conversation()
    events: list[zmtp.PeerEvent] = []
    for part in parts:
        try:
            heard = conversation.receive(part)
        except zmtp.ProtocolError as problem:
            return [], str(problem)
        for event in heard:
            if isinstance(event, zmtp.SubscriptionChange):
                assert len(event.text) < zmtp.FRAME_BYTES
        events += heard
        assert conversation.pending_bytes <= zmtp.FRAME_BYTES + 9
    return events, None


def viewer_seeds() -> Iterator[bytes]:
    """Yield a viewer of ZMTP 3.0 and one of 3.1."""
    opening = zmtp.GREETING + b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
    yield opening + b"\0\x0e\1all/processes\0\x0e\0all/processes"
    yield opening + b"\4\x17\x09SUBSCRIBEall/processes\4\x14\6CANCELall/processes"
    yield opening + b"\4\x0b\4PING\0\1abcd\4\5\4PONG\2\0\0\0\0\0\0\0\2\1x"
    yield opening.replace(b"\x19\5", b"\x2a\5").replace(
        b"\3SUB", b"\4XSUB\x08Identity\0\0\0\2\xff\0"
    )


# --- what the publisher and root say ------------------------------------------------------------


def check_demand(record: bytes) -> None:
    """A record is refused by FeedError, or is exactly what its demand is written as."""
    with suppress(FeedError):
        assert pack_demand(unpack_demand(record)) == record


def demand_seeds() -> Iterator[bytes]:
    """Yield a demand for each kind of topic."""
    for topic in (Topic(None, "processes"), Topic(1000, "flows"), Topic(0, "flows", 42)):
        yield pack_demand(Demand(topic, wanted=True))


def check_answer(packet: bytes) -> None:
    """An answer of the reader of names is refused by AnswerError, or written the same again."""
    with suppress(AnswerError):
        assert pack_answer(*unpack_answer(packet)) == packet


def answer_seeds() -> Iterator[bytes]:
    """Yield an answer with all names and one with none."""
    yield pack_answer(1, ContainerNames(b"web", b"registry.example/web:1", b"shop-0", b"store"))
    yield pack_answer(2**32 - 1, ContainerNames())


def check_config(data: bytes) -> None:
    """A text is refused in one line, or is a configuration that can be asked."""
    text = data.decode("utf-8", "replace")
    try:
        made = config.parse(text, "pbmond.toml", {"root": 0}.get)
    except config.ConfigError as error:
        refused, made = str(error), None
    if made is None:
        assert refused.startswith("pbmond.toml: ")
    else:
        made.visible(1, b"worker", 1000)
        assert 0.1 <= made.interval_s <= 3600


def config_seeds() -> Iterator[bytes]:
    """Yield texts that together name every key."""
    yield b'interval = 0.5\nhistory_length = 60\nsockets = "auto"\nfiles = "off"\nreads = "cast"\n'
    yield b'run_dir = "/run/pbmon"\npublisher_user = "pbmon"\naccess_group = "a\\\\b"\n'
    yield b'bcc_python = ""\nlog_level = "debug"\nlog_file = "/var/log/pbmon.log"\n'
    yield b"[linger]\nexited = 10\nidle = 6e2\n[maps]\nflows = 0x100\nfiles = 4_194_304\n"
    yield b'[include]\npids = [1, 2]\nnames = ["sshd", "[a-z]*"]\nusers = ["root", 1000]\n'
    yield b"exclude.pids = [\n  3, # three\n]\nmaps = { overflow = 256 }\n"


TARGETS: Final = (
    Target("events", check_event, event_seeds),
    Target("netlink", check_netlink, netlink_seeds),
    Target("connection", check_connection, connection_seeds),
    Target("proc-host", check_host_text, host_seeds),
    Target("proc-process", check_process_text, process_seeds),
    Target("cgroup", check_cgroup, cgroup_seeds),
    Target("viewer", check_viewer, viewer_seeds),
    Target("demand", check_demand, demand_seeds),
    Target("container-names", check_answer, answer_seeds),
    Target("config", check_config, config_seeds),
)
