"""The applications of app_cost.py: real programs, started once, whose throughput is then measured.

Servers run on one processor and what asks them on another, both as real-time tasks, so that what
else the machine does takes little part. Everything listens on 127.0.0.1 or a Unix socket and keeps
its data in a scratch directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import bench
from bench import Calls, Processors

from pbmond.patience import patient

#: Runs an application for about so many seconds; returns what it did in a second.
Measure = Callable[[float], float]
_FIRST = ("chrt", "--rr", "1")  # before all ordinary tasks
_UNPRIVILEGED = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_POSTGRES = "/usr/lib/postgresql"  # Debian keeps every version's programs in a directory of its own
_PAGE = 4096
_FILES = 4000  # of the tree that tar packs
_CONNECTIONS = 20  # at a time


class AppError(Exception):
    """An application did not start or did not answer; the message is one line."""


class Stage:
    """Where applications run; what they started ends with ``stack``."""

    def __init__(self, stack: ExitStack, scratch: Path, processors: Processors) -> None:
        """``scratch``: an empty directory that others can enter."""
        self.scratch = scratch
        self._stack, self._processors = stack, processors

    def directory(self, name: str) -> Path:
        """Make a directory that any user may write to."""
        path = self.scratch / name
        path.mkdir()
        path.chmod(0o777)
        return path

    def serve(self, command: Sequence[str], is_ready: Callable[[], bool]) -> None:
        """Start a server and wait until it is ready."""
        with self._processors.elsewhere(), Path(os.devnull).open("r+b") as null:
            server = subprocess.Popen([*_FIRST, *command], stdin=null, stdout=null, stderr=null)
        self._stack.callback(_end, server)
        deadline = time.monotonic() + patient(20)
        while not is_ready():
            if server.poll() is not None or time.monotonic() > deadline:
                raise AppError(f"{command[0]} does not start: {' '.join(command)}")
            time.sleep(0.05)

    def run(self, command: Sequence[str], patience_s: float = 60) -> str:
        """Run a program to its end and return what it printed."""
        try:
            done = subprocess.run(
                [*_FIRST, *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=patient(patience_s),
            )
        except subprocess.CalledProcessError as error:
            words = (error.stderr.strip() or error.stdout.strip()).splitlines() or ["no word"]
            raise AppError(f"{command[0]} failed: {words[-1]}") from None
        except subprocess.TimeoutExpired:
            raise AppError(f"{command[0]} does not end: {' '.join(command)}") from None
        return done.stdout


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(patient(10))
    server.kill()
    server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _is_open(port: int) -> Callable[[], bool]:
    def is_open() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    return is_open


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise AppError(f"no figure in what was printed: {text.strip()[-200:]!r}")
    return float(found[1])


def _redis(stage: Stage) -> Measure:
    port = str(_free_port())
    nothing_kept = ("--save", "", "--appendonly", "no", "--dir", str(stage.directory("redis")))
    stage.serve(
        ["redis-server", "--bind", "127.0.0.1", "--port", port, *nothing_kept], _is_open(int(port))
    )
    ask = ["redis-benchmark", "-p", port, "-c", str(_CONNECTIONS), "--csv"]
    stage.run([*ask, "-t", "set", "-n", "100"])

    def gets(count: int) -> float:
        text = stage.run([*ask, "-t", "get", "-n", str(count)])
        return _figure(r'"GET","([0-9.]+)"', text)

    rate = gets(1000)
    return lambda seconds: gets(max(1000, int(rate * seconds)))


_NGINX = """
user root;
worker_processes 1;
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    access_log {directory}/access.log;
    server {{ listen 127.0.0.1:{port}; root {directory}; }}
}}
"""


def _nginx(stage: Stage) -> Measure:
    port, directory = _free_port(), stage.directory("nginx")
    (directory / "page").write_bytes(bytes(_PAGE))
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, port=port))
    stage.serve(["nginx", "-c", str(configuration)], _is_open(port))
    ask = ["wrk", "-t", "1", "-c", str(_CONNECTIONS), "-d"]

    def measure(seconds: float) -> float:
        whole = f"{max(1, round(seconds))}s"
        text = stage.run([*ask, whole, f"http://127.0.0.1:{port}/page"])
        return _figure(r"Requests/sec:\s*([0-9.]+)", text)

    return measure


def _fio(stage: Stage) -> Measure:
    directory = stage.directory("fio")
    file = directory / "file"
    file.write_bytes(os.urandom(1 << 20) * 64)
    job = [
        "fio", "--name=read", f"--filename={file}", "--rw=randread", f"--bs={_PAGE}",
        "--ioengine=psync", "--invalidate=0", "--time_based", "--output-format=json",
    ]  # fmt: skip

    def measure(seconds: float) -> float:
        text = stage.run([*job, f"--runtime={max(1, round(1000 * seconds))}ms"])
        return float(json.loads(text)["jobs"][0]["read"]["iops"])

    return measure


def _preads(stage: Stage) -> Measure:
    file = stage.directory("preads") / "file"
    file.write_bytes(bytes(_PAGE))
    descriptor = os.open(file, os.O_RDONLY)
    buffer = ctypes.create_string_buffer(64)
    calls = Calls([(bench.PREAD64, descriptor, ctypes.addressof(buffer), 64, 0)], 64)
    rounds = calls.rounds(10_000_000)

    def measure(seconds: float) -> float:
        assert buffer  # alive as long as the calls
        return 1e9 / bench.median(calls.measure(rounds, max(1, round(100 * seconds))))

    return measure


def _pgbench(stage: Stage) -> Measure:
    (programs,) = sorted(Path(_POSTGRES).glob("*/bin"))[-1:]
    directory = stage.directory("postgres")
    data, places = str(directory / "data"), ["-h", str(directory), "-p", "5432", "-U", "nobody"]
    stage.run([*_UNPRIVILEGED, str(programs / "initdb"), "-A", "trust", "-N", "-D", data], 120)
    server = [str(programs / "postgres"), "-D", data, "-k", str(directory), "-h", "", "-F"]

    def is_ready() -> bool:
        return not subprocess.run(
            [str(programs / "pg_isready"), "-q", *places], check=False
        ).returncode

    stage.serve([*_UNPRIVILEGED, *server], is_ready)
    ask = [str(programs / "pgbench"), *places]
    stage.run([*ask, "-i", "-q", "postgres"], 120)

    def measure(seconds: float) -> float:
        whole = str(max(1, round(seconds)))
        text = stage.run([*ask, "-S", "-n", "-T", whole, "postgres"])
        return _figure(r"tps = ([0-9.]+)", text)

    return measure


def _tar(stage: Stage) -> Measure:
    directory = stage.directory("tar")
    for number in range(_FILES):
        folder = directory / "tree" / str(number % 64)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(bytes(_PAGE))
    pack = ["tar", "-cf", str(directory / "archive"), "-C", str(directory), "tree"]

    def measure(seconds: float) -> float:
        begin = time.monotonic()
        packed = 0
        while time.monotonic() < begin + seconds:
            stage.run(pack)
            packed += _FILES
        return packed / (time.monotonic() - begin)

    return measure


@dataclass(frozen=True, slots=True)
class App:
    """An application: what it is called, what it takes, and how it is started.

    ``programs``: the package that each comes in, by its name or a pattern of its path.
    """

    name: str
    title: str
    programs: dict[str, str]
    start: Callable[[Stage], Measure]

    def missing(self) -> list[str]:
        """Return the Debian packages that are not installed."""
        return [package for program, package in self.programs.items() if not _has(program)]


def _has(program: str) -> bool:
    if program.startswith("/"):
        return any(Path("/").glob(program[1:]))
    return shutil.which(program) is not None


APPS = (
    App(
        "redis",
        "redis GET",
        {"redis-server": "redis-server", "redis-benchmark": "redis-tools"},
        _redis,
    ),
    App("nginx", "nginx, 4 KB", {"nginx": "nginx-light", "wrk": "wrk"}, _nginx),
    App(
        "pgbench",
        "PostgreSQL SELECT",
        {
            f"{_POSTGRES}/*/bin/postgres": "postgresql",
            f"{_POSTGRES}/*/bin/pgbench": "postgresql",
        },
        _pgbench,
    ),
    App("tar", "tar, files of 4 KB", {"tar": "tar"}, _tar),
    App("fio", "fio, 4 KB from the page cache", {"fio": "fio"}, _fio),
    App("preads", "64-byte preads, a loop", {}, _preads),
)
