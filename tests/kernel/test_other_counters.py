"""Tools that count their own bytes agree with pbmon, to the byte."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Row, connection_row, file_row, row_of
from waiting import snapshot_when, wait_until

from pbmond import wire
from pbmond.selftest.private_daemon import Daemon

IPERF3_COOKIE = 37  # what opens each TCP stream, of which it counts nothing
IPERF3_HELLO = 4  # what opens a UDP stream, in each direction


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory on a disk: /tmp need not be on one."""
    with tempfile.TemporaryDirectory(prefix="pbmon-counters-", dir="/var/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run")) as running:
        yield running


# --- fio ---------------------------------------------------------------------------------------

BUFFERED_AND_DIRECT = {
    "sync": ["--ioengine=sync"],
    "psync": ["--ioengine=psync"],
    "vsync": ["--ioengine=vsync"],
    "pvsync": ["--ioengine=pvsync"],
    "pvsync2": ["--ioengine=pvsync2"],
    "posixaio": ["--ioengine=posixaio", "--iodepth=8"],
    "libaio": ["--ioengine=libaio", "--iodepth=8"],
    "io_uring": ["--ioengine=io_uring", "--iodepth=8"],
    "io_uring-fixed": ["--ioengine=io_uring", "--iodepth=8", "--fixedbufs", "--registerfiles"],
    "io_uring-nonvectored": ["--ioengine=io_uring", "--iodepth=8", "--nonvectored=1"],
    "io_uring-workers": ["--ioengine=io_uring", "--iodepth=8", "--force_async=1"],
    "io_uring-polled": ["--ioengine=io_uring", "--iodepth=8", "--sqthread_poll"],
}
FIO = [
    *(
        pytest.param([*options, f"--direct={direct}"], id=f"{name}-{how}")
        for name, options in BUFFERED_AND_DIRECT.items()
        for direct, how in enumerate(("buffered", "direct"))
    ),
    pytest.param(["--ioengine=splice"], id="splice"),
]
FIO_SIZE = 4 << 20


@pytest.mark.parametrize("options", FIO)
def test_fio(daemon: Daemon, disk: Path, options: list[str]) -> None:
    """Two jobs read and write one file, which is there before: fio would write it too."""
    path = disk / "data"
    path.write_bytes(bytes(FIO_SIZE))
    command = ["fio", "--name=job", f"--filename={path}", f"--size={FIO_SIZE}", "--rw=randrw"]
    command += ["--bsrange=4k-16k", "--norandommap", "--numjobs=2", "--group_reporting"]
    command += ["--thread", "--fallocate=none", "--output-format=json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as fio:
        report = json.loads(fio.communicate()[0])["jobs"][0]
    assert (fio.returncode, report["error"]) == (0, 0)
    row = file_row(daemon.snapshot(), fio.pid, path)
    for direction in ("read", "write"):
        assert report[direction]["io_bytes"] > 0
        assert row[f"{direction}_bytes"] == report[direction]["io_bytes"]
        assert row[f"{direction}_calls"] == report[direction]["total_ios"]


# --- iperf3 --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def iperf3(*options: str) -> tuple[tuple[int, Row], tuple[int, Row]]:
    """Run a client and a server; the pid and the JSON of each."""
    port = str(free_port())
    serve = ["iperf3", "--server", "--one-off", "--port", port, "--json", "--bind", "127.0.0.1"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE) as server:
        wait_until(lambda: "" if listens(server.pid, int(port)) else f"a server on port {port}")
        command = ["iperf3", "--client", "127.0.0.1", "--port", port, "--json", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
            report = json.loads(client.communicate()[0])
        served = json.loads(server.communicate()[0])
    assert (client.returncode, server.returncode) == (0, 0)
    return (client.pid, report), (server.pid, served)


def listens(pid: int, port: int) -> bool:
    table = Path(f"/proc/{pid}/net/tcp").read_text()
    return f"0100007F:{port:04X} 00000000:0000 0A" in table


def tcp_streams(report: Row) -> Iterator[tuple[tuple[int, int], bool, int]]:
    """The two ports of each stream, whether this side sent, and the bytes that it counted."""
    ports = {
        each["socket"]: (each["local_port"], each["remote_port"])
        for each in report["start"]["connected"]
    }
    for stream in report["end"]["streams"]:
        side = stream["sender" if stream["sender"]["sender"] else "receiver"]
        yield ports[side["socket"]], side["sender"], side["bytes"]


@pytest.mark.parametrize(
    "options", [[], ["--parallel", "4"], ["--bidir"], ["--bidir", "--parallel", "3"]], ids=" ".join
)
def test_iperf3_over_tcp(daemon: Daemon, options: list[str]) -> None:
    client, server = iperf3("--bytes", "64M", *options)
    message = daemon.snapshot()
    for (pid, report), opening in ((client, (0, IPERF3_COOKIE)), (server, (IPERF3_COOKIE, 0))):
        for ports, sender, counted in tcp_streams(report):
            row = connection_row(message, pid, *ports)
            received, sent = (0, counted) if sender else (counted, 0)
            assert row["rx_bytes"] - opening[0] == received
            assert row["tx_bytes"] - opening[1] == sent


def test_iperf3_over_udp(daemon: Daemon) -> None:
    options = ("--udp", "--bytes", "16M", "--bitrate", "1G", "--length", "1400")
    (client, report), (server, served) = iperf3(*options)
    message = daemon.snapshot()
    (ports,) = ((each["local_port"], each["remote_port"]) for each in report["start"]["connected"])
    sending = connection_row(message, client, *ports)
    receiving = connection_row(message, server, *reversed(ports))
    assert sending["tx_bytes"] == report["end"]["sum_sent"]["bytes"] + IPERF3_HELLO
    assert sending["rx_bytes"] == IPERF3_HELLO
    # The server reads its hello before it connects the socket: that is a row of its own.
    assert receiving["rx_bytes"] == served["end"]["sum_received"]["bytes"]
    assert receiving["tx_bytes"] == IPERF3_HELLO


# --- curl ----------------------------------------------------------------------------------------

BODY = 1_234_567


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with BODY bytes, and PUT with none."""

    protocol_version = "HTTP/1.1"  # so that a connection serves several requests

    def do_GET(self) -> None:
        self._answer(bytes(BODY))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's own name
        pass


@pytest.fixture
def http_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def curl(*options: str | Path) -> tuple[int, list[Row]]:
    """Run curl to its end; its pid and what it says of each transfer."""
    command = ["curl", "--silent", "--show-error", "--write-out", "%{json}\\n", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.communicate()[0]
    assert process.returncode == 0
    return process.pid, [json.loads(line) for line in output.splitlines()]


def assert_moved(daemon: Daemon, port: int, pid: int, report: list[Row]) -> wire.Message:
    """Curl's connection has moved what curl counted, at both of its ends."""
    received = sum(each["size_header"] + each["size_download"] for each in report)
    sent = sum(each["size_request"] + each["size_upload"] for each in report)
    (local_port,) = {each["local_port"] for each in report}
    message = daemon.snapshot()
    row = connection_row(message, pid, local_port, port)
    assert (row["rx_bytes"], row["tx_bytes"]) == (received, sent)
    row = connection_row(message, os.getpid(), port, local_port)
    assert (row["rx_bytes"], row["tx_bytes"]) == (sent, received)
    return message


def test_curl_downloads(daemon: Daemon, tmp_path: Path, http_port: int) -> None:
    url, outputs = f"http://127.0.0.1:{http_port}/", (tmp_path / "one", tmp_path / "two")
    pid, report = curl("--output", outputs[0], url, "--output", outputs[1], url)
    message = assert_moved(daemon, http_port, pid, report)
    assert [each["size_download"] for each in report] == [BODY, BODY]
    for output in outputs:
        assert file_row(message, pid, output)["write_bytes"] == BODY


def test_curl_uploads(daemon: Daemon, tmp_path: Path, http_port: int) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(BODY))
    pid, report = curl("--upload-file", path, f"http://127.0.0.1:{http_port}/")
    message = assert_moved(daemon, http_port, pid, report)
    assert report[0]["size_upload"] == BODY
    assert file_row(message, pid, path)["read_bytes"] == BODY


# --- rsync ---------------------------------------------------------------------------------------

RSYNC = ("rsync", "--recursive", "--inplace", "--whole-file", "--stats")


def test_rsync(daemon: Daemon, disk: Path) -> None:
    source, target = disk / "source", disk / "target"
    source.mkdir()
    sizes = {f"file-{number}": 1 + 100_003 * number for number in range(20)}
    for name, size in sizes.items():
        (source / name).write_bytes(os.urandom(size))
    command = [*RSYNC, f"{source}/", str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"LC_ALL": "C"}) as rsync:
        output = rsync.communicate()[0]
    assert rsync.returncode == 0
    message = daemon.snapshot()
    # The sender forks the generator, and that the receiver; each has a socket to another one.
    sender, generator, receiver = family(message, rsync.pid)
    for name, size in sizes.items():
        assert file_row(message, sender["pid"], source / name)["read_bytes"] == size
        assert file_row(message, receiver["pid"], target / name)["write_bytes"] == size
    assert receiver["file_write_bytes"] == rsync_statistic(output, "Literal data")
    assert sender["pipe_write_bytes"] == len(output)
    sent, received = (
        sum(each[f"unix_{direction}_bytes"] for each in (sender, generator, receiver))
        for direction in ("tx", "rx")
    )
    assert sent == received
    # It counts until it prints; then they say good-bye.
    assert 0 <= sender["unix_tx_bytes"] - rsync_statistic(output, "Total bytes sent") < 100
    assert 0 <= sender["unix_rx_bytes"] - rsync_statistic(output, "Total bytes received") < 100


def family(message: wire.Message, pid: int) -> list[Row]:
    """The process, its child, its child's child..."""
    children = {row["ppid"]: row for row in message.processes.rows()}
    found = [row_of(message, pid)]
    while (child := children.get(found[-1]["pid"])) is not None:
        found.append(child)
    return found


def rsync_statistic(output: bytes, name: str) -> int:
    (number,) = re.findall(rf"^{name}: ([0-9,]+)", output.decode(), re.MULTILINE)
    return int(number.replace(",", ""))


# --- the kernel's I/O accounting of very many threads -------------------------------------------

_MANY_THREADS = """
import mmap, os, sys, threading
threading.stack_size(65536)
wait = threading.Event()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=wait.wait, daemon=True).start()
file = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
block = mmap.mmap(-1, 1 << 20)
for line in sys.stdin:
    os.write(file, block)
    print(flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("threads", [3, 1100])
def test_disk_bytes_of_a_process_with_many_threads(
    daemon: Daemon, disk: Path, threads: int
) -> None:
    command = [sys.executable, "-I", "-c", _MANY_THREADS, str(threads), str(disk / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            writer.stdout.readline()
            daemon.snapshot()
        written = re.search(rb"write_bytes: (\d+)", Path(f"/proc/{writer.pid}/io").read_bytes())
        assert written is not None
        assert int(written[1]) >= 4 << 20
        # It may be looked at in a later round.
        snapshot_when(
            daemon,
            lambda message: row_of(message, writer.pid)["disk_write_bytes"] - int(written[1]),
        )
        writer.stdin.close()
