"""A small made-up server and its traffic, as wire messages; writes tests/data/demo.ndjson.

``python tests/unit/demo_world.py`` writes the file again; a test says whether it is up to date.
"""

from __future__ import annotations

import functools
import math
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import client_messages

from pbmon_client.data import model
from pbmon_client.output import jsonout
from pbmond import wire
from pbmond.fields import CLASSES, COUNTERS, HISTORY, RATES, counter_names, rate_name

FILE = Path(__file__).parents[1] / "data" / "demo.ndjson"
SNAPSHOTS = 20
SECOND = 10**9
BOOT_NS = 400_000 * SECOND  # on CLOCK_BOOTTIME, at the first snapshot
WALL_NS = 1_780_000_000 * SECOND
USERS = {0: "root", 33: "www-data", 70: "postgres", 112: "redis", 1000: "mara", 1001: "jonas"}
HEALTH = client_messages.HEALTH | {
    "unseen": ["memory-mapped files (their transfers show in disk bytes)"],
    "maps": {
        "flows": {"used": 61, "capacity": 131072},
        "files": {"used": 48, "capacity": 131072},
        "overflow": {"used": 0, "capacity": 16384},
    },
    "cost": {
        "daemon_cpu_percent": 0.4, "daemon_rss_bytes": 60_000_000,
        "processes": [
            {"role": "collector", "pid": 611, "cpu_percent": 0.3, "rss_bytes": 41_000_000},
            {"role": "publisher", "pid": 614, "cpu_percent": 0.1, "rss_bytes": 19_000_000},
        ],
        "probe_ns_per_call": None, "probe_calls_per_s": None,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Wave:
    """Bytes/s that swing around ``mean``; with ``duty`` only a part of each period."""

    mean: float
    period_s: float = 7.0
    phase: float = 0.0
    duty: float = 1.0

    def at(self, second: int) -> int:
        part = (second / self.period_s + self.phase) % 1.0
        if part >= self.duty:
            return 0
        return round(self.mean * (1 + 0.6 * math.sin(2 * math.pi * part)))

    @functools.cache  # noqa: B019 - there are few waves
    def until(self, second: int) -> int:
        """The bytes of all seconds to this one."""
        return 0 if second < 0 else self.until(second - 1) + self.at(second)


@dataclass
class Flow:
    """A connection or a file of a process, with what it moves in and out."""

    fields: dict[str, Any]
    into: Wave | None = None
    out: Wave | None = None


@dataclass
class Process:
    pid: int
    ppid: int
    name: str
    uid: int
    cmdline: str
    unit: str | None
    age_s: int
    exe: str | None = None
    container: str | None = None
    container_name: str | None = None
    image: str | None = None
    exits_after: int | None = None
    connections: list[Flow] = field(default_factory=list)
    files: list[Flow] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        return BOOT_NS - self.age_s * SECOND + self.pid


def tcp(remote: str, remote_port: int, local_port: int, *, opened: bool, **waves: Wave) -> Flow:
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    local = "2001:db8::20" if family == socket.AF_INET6 else "192.0.2.20"
    fields = {
        "class": 0,
        "family": int(family),
        "type": 1,
        "protocol": 6,
        "local": socket.inet_pton(family, local).ljust(16, b"\0"),
        "remote": socket.inet_pton(family, remote).ljust(16, b"\0"),
        "local_port": local_port,
        "remote_port": remote_port,
        "direction": 2 if opened else 1,
        "inode": 40_000 + local_port + remote_port,
        "netns": 4026531840,
        "open": 1,
    }
    return Flow(fields, **waves)


def loopback(port: int, peer: int, *, opened: bool, **waves: Wave) -> Flow:
    flow = tcp(
        "127.0.0.1", port if opened else peer, peer if opened else port, opened=opened, **waves
    )
    return Flow(flow.fields | {"class": 1, "local": flow.fields["remote"]}, flow.into, flow.out)


def unix(path: str, **waves: Wave) -> Flow:
    fields = {"class": 2, "family": 1, "type": 1, "local_name": None, "remote_name": path.encode(),
              "inode": 20_000 + len(path), "netns": 4026531840, "open": 1}  # fmt: skip
    return Flow(fields, **waves)


def stored(path: str, inode: int, **waves: Wave) -> Flow:
    fields = {"class": 4, "path": path.encode(), "device": 8 << 20 | 1, "inode": inode, "open": 1}
    return Flow(fields, **waves)


def piped(inode: int, **waves: Wave) -> Flow:
    fields = {"class": 5, "path": f"pipe:[{inode}]".encode(), "device": 14, "inode": inode,
              "open": 1}  # fmt: skip
    return Flow(fields, **waves)


CONTAINER = "docker:3f9c1d2ab47e" + "0" * 52


def world() -> list[Process]:
    """Return the processes of the host."""
    return [
        *_system(),
        *_login(),
        *_web(),
        *_application(),
        *_backup(),
        *_commands(),
        *_kernel_threads(),
    ]


def _system() -> list[Process]:
    """The init system and its services."""
    return [
        Process(1, 0, "systemd", 0, "/sbin/init", "init.scope", 400_000, "/usr/lib/systemd/systemd",
                connections=[unix("/run/systemd/journal/stdout", out=Wave(60, 9, 0, 0.3))]),
        Process(412, 1, "systemd-journal", 0, "/usr/lib/systemd/systemd-journald",
                "systemd-journald.service", 399_990, "/usr/lib/systemd/systemd-journald",
                connections=[unix("/run/systemd/journal/socket", into=Wave(2_100, 5, 0.2))],
                files=[stored("/var/log/journal/5e1f/system.journal", 8812,
                              out=Wave(9_800, 5, 0.2))]),
        Process(655, 1, "cron", 0, "/usr/sbin/cron -f", "cron.service", 399_000, "/usr/sbin/cron"),
    ]  # fmt: skip


def _login() -> list[Process]:
    """A user's remote login."""
    return [
        Process(702, 1, "sshd", 0, "sshd: /usr/sbin/sshd -D", "ssh.service", 398_000,
                "/usr/sbin/sshd"),
        Process(31120, 702, "sshd", 1000, "sshd: mara@pts/0", "user@1000.service", 5_400,
                "/usr/sbin/sshd",
                connections=[tcp("198.51.100.23", 52144, 22, opened=False, into=Wave(420, 3),
                                 out=Wave(1_900, 3, 0.1))]),
        Process(31131, 31120, "bash", 1000, "-bash", "user@1000.service", 5_390, "/usr/bin/bash"),
    ]  # fmt: skip


def _web() -> list[Process]:
    """The web server."""
    return [
        Process(1201, 1, "nginx", 0, "nginx: master process /usr/sbin/nginx", "nginx.service",
                180_000, "/usr/sbin/nginx"),
        Process(1202, 1201, "nginx", 33, "nginx: worker process", "nginx.service", 180_000,
                "/usr/sbin/nginx",
                connections=[
                    tcp("203.0.113.9", 40112, 443, opened=False, into=Wave(31_000, 6),
                        out=Wave(7_400_000, 6)),
                    tcp("2001:db8:7::41", 55810, 443, opened=False, into=Wave(12_000, 4),
                        out=Wave(2_900_000, 4, 0.5)),
                    loopback(8000, 39022, opened=True, into=Wave(5_600_000, 6),
                             out=Wave(44_000, 6)),
                ],
                files=[stored("/var/log/nginx/access.log", 9107, out=Wave(18_400, 6)),
                       stored("/srv/www/media/tour.mp4", 55120, into=Wave(4_200_000, 6, 0.4))]),
        Process(1203, 1201, "nginx", 33, "nginx: worker process", "nginx.service", 180_000,
                "/usr/sbin/nginx",
                connections=[
                    tcp("203.0.113.77", 51330, 443, opened=False, into=Wave(9_000, 8),
                        out=Wave(1_250_000, 8, 0.3, 0.7)),
                    loopback(8000, 39024, opened=True, into=Wave(820_000, 8), out=Wave(9_100, 8)),
                ],
                files=[stored("/var/log/nginx/access.log", 9107, out=Wave(4_100, 8))]),
    ]  # fmt: skip


def _application() -> list[Process]:
    """The application server in a container, and its databases."""
    return [
        Process(2040, 1, "gunicorn", 1001, "gunicorn: worker [shop.wsgi]", "docker.service",
                86_000, "/usr/local/bin/python3.12", CONTAINER, "shop-app",
                "registry.example/shop/app:2026.5",
                connections=[
                    loopback(8000, 39022, opened=False, into=Wave(44_000, 6),
                             out=Wave(5_600_000, 6)),
                    loopback(8000, 39024, opened=False, into=Wave(9_100, 8), out=Wave(820_000, 8)),
                    loopback(5432, 47210, opened=True, into=Wave(3_300_000, 6),
                             out=Wave(210_000, 6)),
                    loopback(6379, 50012, opened=True, into=Wave(640_000, 5), out=Wave(88_000, 5)),
                ]),
        Process(2311, 1, "postgres", 70, "postgres: 16/main", "postgresql.service", 260_000,
                "/usr/lib/postgresql/16/bin/postgres"),
        Process(2388, 2311, "postgres", 70, "postgres: shop shop 127.0.0.1(47210) SELECT",
                "postgresql.service", 4_100, "/usr/lib/postgresql/16/bin/postgres",
                connections=[loopback(5432, 47210, opened=False, into=Wave(210_000, 6),
                                      out=Wave(3_300_000, 6))],
                files=[stored("/var/lib/postgresql/16/main/base/16401/24577", 71002,
                              into=Wave(8_900_000, 6, 0.1, 0.8)),
                       stored("/var/lib/postgresql/16/main/pg_wal/00000001000000A70000003C", 71450,
                              out=Wave(1_150_000, 4))]),
        Process(2512, 1, "redis-server", 112, "/usr/bin/redis-server 127.0.0.1:6379",
                "redis-server.service", 260_000, "/usr/bin/redis-server",
                connections=[loopback(6379, 50012, opened=False, into=Wave(88_000, 5),
                                      out=Wave(640_000, 5))],
                files=[stored("/var/lib/redis/appendonly.aof", 81200, out=Wave(76_000, 5))]),
    ]  # fmt: skip


def _backup() -> list[Process]:
    """A backup that reads files and sends them to another host."""
    return [
        Process(28700, 655, "backup", 0, "/usr/local/bin/backup --to 198.51.100.7 /srv /home",
                "backup.service", 340, "/usr/local/bin/backup",
                connections=[tcp("198.51.100.7", 873, 51002, opened=True, into=Wave(46_000, 9),
                                 out=Wave(23_500_000, 9))],
                files=[stored("/srv/www/media/archive-2026.tar", 55900, into=Wave(24_100_000, 9)),
                       stored("/var/cache/backup/index", 90011, out=Wave(310_000, 3))]),
    ]  # fmt: skip


def _commands() -> list[Process]:
    """What the user runs in the shell."""
    return [
        Process(31502, 31131, "git", 1000, "git fetch origin", "user@1000.service", 12,
                "/usr/bin/git", exits_after=11,
                connections=[tcp("203.0.113.140", 443, 60410, opened=True, into=Wave(2_700_000, 30),
                                 out=Wave(5_200, 30))],
                files=[stored("/home/mara/src/.git/objects/pack/tmp_pack_8Qx", 66031,
                              out=Wave(2_600_000, 30))]),
        Process(31560, 31131, "grep", 1000, "grep -r --include=*.py Basket src",
                "user@1000.service", 3, "/usr/bin/grep",
                files=[piped(331200, out=Wave(52_000, 3)),
                       stored("/home/mara/src/shop/basket.py", 66110, into=Wave(1_900_000, 3))]),
    ]  # fmt: skip


def _kernel_threads() -> list[Process]:
    """Two kernel threads."""
    return [
        Process(93, 2, "kworker/u8:2", 0, "", None, 399_900),
        Process(2, 0, "kthreadd", 0, "", None, 400_000),
    ]  # fmt: skip


def messages(
    count: int = SNAPSHOTS,
    *,
    flows: bool = True,
    more: Sequence[Process] = (),
    pid: int | None = None,
    begin: int = 0,
) -> Iterator[wire.Message]:
    """Yield the snapshots of the host, one a second; with ``pid``, those of one process.

    Of those before ``begin`` only the history tells.
    """
    processes = [each for each in (*world(), *more) if pid in (None, each.pid)]
    history: dict[str, list[float]] = {name: [] for name in HISTORY}
    for second in range(begin + count):
        rows = [_process(each, second) for each in processes]
        for name, samples in history.items():
            samples.append(sum(row[name] for row in rows))
        if second < begin:
            continue
        yield client_messages.message(
            rows,
            [_flow(p, f, second, "rx", "tx") for p in processes for f in p.connections]
            if flows else None,
            [_flow(p, f, second, "read", "write") for p in processes for f in p.files]
            if flows else None,
            seq=second + 100,
            host="web-1",
            health=HEALTH,
            coverage=_coverage(processes, rows, second),
            time_ns=WALL_NS + second * SECOND,
            now_ns=BOOT_NS + second * SECOND,
            interval_ns=SECOND,
            history={name: list(samples) for name, samples in history.items()},
        )  # fmt: skip


def _coverage(processes: list[Process], rows: list[dict[str, Any]], second: int) -> dict[str, Any]:
    """Return what the host counted: payload in packets with their headers, and the disk."""
    interfaces = []
    for name, kind, most in (("lo", 1, 65_483), ("eth0", 0, 1_448)):
        moved = []
        for since in (0, second):
            sums = {
                way: sum(_between(p, getattr(f, wave), since, second)
                         for p in processes for f in p.connections if f.fields["class"] == kind)
                for way, wave in (("rx", "into"), ("tx", "out"))
            }  # fmt: skip
            moved.append({
                **{f"payload_{way}_bytes": payload for way, payload in sums.items()},
                **{f"{way}_bytes": payload + payload // most * 66 for way, payload in sums.items()},
                **{f"{way}_packets": payload // most for way, payload in sums.items()},
            })  # fmt: skip
        interfaces.append(client_messages.interface(name.encode(), *moved, addresses=2))
    attributed = {name: sum(row[name] for row in rows) for name in wire.ATTRIBUTED_COUNTERS}
    now = {
        name: round(sum(row[rate_name(name)] for row in rows)) for name in wire.ATTRIBUTED_COUNTERS
    }
    on_disk = [
        {name: round(each[f"disk_{name}"] * 1.04) for name in wire.DISK_COUNTERS}
        for each in (attributed, now)
    ]
    return client_messages.coverage(
        interfaces=interfaces,
        disks=[client_messages.disk(b"nvme0n1", *on_disk)],
        attributed=client_messages.counts(wire.ATTRIBUTED_COUNTERS, attributed, now),
        **client_messages.counts(
            wire.HOST_COUNTERS,
            {"tcp_retransmitted_segments": 3 * second, "forwarded_packets": 0},
            {"tcp_retransmitted_segments": 3, "forwarded_packets": 0},
        ),
    )


def _between(process: Process, wave: Wave | None, since: int, second: int) -> int:
    """Return the bytes of the seconds from ``since`` to ``second``."""
    last = _seconds(process, second)
    if wave is None or last < since:
        return 0
    return wave.until(last) - wave.until(since - 1)


def _seconds(process: Process, second: int) -> int:
    """Return the last second in which a process was there."""
    return second if process.exits_after is None else min(second, process.exits_after)


def _moved(wave: Wave | None, process: Process, second: int) -> tuple[int, float]:
    """Return the bytes so far and the rate of a wave."""
    if wave is None:
        return 0, 0.0
    last = _seconds(process, second)
    # What came before the first snapshot: a share of the process's life.
    before = round(wave.mean * wave.duty * min(process.age_s, 900))
    total = before + wave.until(last)
    return total, float(wave.at(second)) if last == second else 0.0


def _flow(process: Process, flow: Flow, second: int, into: str, out: str) -> dict[str, Any]:
    row = {"pid": process.pid, "start_ns": process.start_ns, **flow.fields}
    for name, wave in ((into, flow.into), (out, flow.out)):
        total, rate = _moved(wave, process, second)
        row[f"{name}_bytes"] = total
        row[f"{name}_calls"] = total // 16_384
        row[f"{name}_bytes_per_s"] = rate
    if "protocol" in flow.fields:
        row |= _tcp(row)
    row["first_ns"] = process.start_ns + SECOND
    row["last_ns"] = BOOT_NS + _seconds(process, second) * SECOND
    if _seconds(process, second) < second:
        row["open"] = 0
    return row


def _tcp(row: dict[str, Any]) -> dict[str, Any]:
    """Return how a connection fares: the further away its peer, the worse."""
    if row["class"]:
        return {"tcp_state": 1, "rtt_us": 41}
    distance = row["remote"][3] % 60
    segments = row["tx_bytes"] * distance // 20_000_000_000
    return {
        "tcp_state": 1,
        "rtt_us": 380 + distance * 1_700,
        "retransmitted_segments": segments,
        "retransmitted_bytes": segments * 1_448,
    }


def _process(process: Process, second: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pid": process.pid,
        "start_ns": process.start_ns,
        "ppid": process.ppid,
        "uid": process.uid,
        "name": process.name.encode(),
        "exe": None if process.exe is None else process.exe.encode(),
        "cmdline": process.cmdline.replace(" ", "\0").encode() or None,
        "cgroup": None if process.unit is None else f"/system.slice/{process.unit}".encode(),
        "unit": None if process.unit is None else process.unit.encode(),
        **{
            name: None if value is None else value.encode()
            for name in ("container", "container_name", "image")
            for value in (getattr(process, name),)
        },
        **dict.fromkeys(("pod", "namespace")),
        "netns": 4026531840,
        "state": int(_seconds(process, second) < second),
        "exited_ns": 0,
        "connections": len(process.connections),
        "files": len(process.files),
        **dict.fromkeys(COUNTERS, 0),
        **dict.fromkeys(RATES, 0.0),
    }
    if row["state"]:
        row["exited_ns"] = BOOT_NS + _seconds(process, second) * SECOND + SECOND // 2
    for flow in (*process.connections, *process.files):
        name = CLASSES[flow.fields["class"]]
        counters = counter_names(name)
        for way, wave in enumerate((flow.into, flow.out)):
            total, rate = _moved(wave, process, second)
            row[counters[way]] += total
            row[counters[way + 2]] += total // 16_384
            row[rate_name(counters[way])] += rate
            if way == 1 and "protocol" in flow.fields:
                fares = _tcp({**flow.fields, "tx_bytes": total})
                for counter in ("retransmitted_segments", "retransmitted_bytes"):
                    row[counter] += fares.get(counter, 0)
            if name == "file":  # half of what is read was in memory already
                disk = ("disk_read_bytes", "disk_write_bytes")[way]
                share = 0.5 if way == 0 else 1.0
                row[disk] += round(total * share)
                row[rate_name(disk)] += rate * share
    return row


def lines() -> bytes:
    """Return what ``pbmon-client --ndjson --flows`` prints on the host."""
    chosen = model.Selection(flows=True)
    return b"".join(
        jsonout.render(
            model.snapshot_of(
                client_messages.received(message), chosen, 0, "all", USERS.__getitem__
            ),
            row_a_line=False,
        )
        for message in messages()
    )


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(lines())
