"""The command when something goes wrong: no daemon, bad frames, closed outputs, signals."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from client_messages import message, process
from client_process import ALL, OWN, ROOT, Client, Start, snapshot
from fake_publisher import PATIENCE_S, Publisher

#: A daemon that takes so long for a tick is not silent before.
_LONG_NS = round(PATIENCE_S * 1e9)


def test_a_restarted_daemon_is_followed(path: Path, client: Start) -> None:
    started = client("--ndjson", "-n", "3")
    with contextlib.closing(Publisher(path)) as first:
        first.expect(ALL)
        first.send(ALL, snapshot(7, interval_ns=_LONG_NS))
        assert started.line()["epoch"] == "epoch-1"
    with contextlib.closing(Publisher(path)) as second:
        second.expect(ALL)
        for seq in (1, 2):
            second.send(ALL, snapshot(seq, epoch="epoch-2", interval_ns=_LONG_NS))
            line = started.line()
            assert (line["epoch"], line["seq"]) == ("epoch-2", seq)
        assert started.end() == (0, "", "")


def test_a_long_silence_is_reported_once_and_the_widest_scope_requested_again(
    path: Path, client: Start
) -> None:
    started = client("--ndjson")
    with contextlib.closing(Publisher(path)) as first:
        first.expect(ALL)
        path.unlink()  # nobody else gets there, however soon the client looks
        first.send(ALL, snapshot(2, interval_ns=1_000_000))
        assert started.line()["seq"] == 2
    assert started.process.stderr is not None
    warning = started.process.stderr.readline().decode()
    assert warning.startswith("pbmon-client: pbmond is not running")
    assert warning.endswith("; waiting for it\n")
    with contextlib.closing(Publisher(path)) as second:
        second.refuse(ALL)
        second.expect(OWN)
        second.send(OWN, snapshot(1, epoch="epoch-2"))
        assert started.line()["viewer"]["scope"] == "own"


@pytest.mark.parametrize("left_over", [False, True])
def test_no_daemon_is_one_line_that_says_what_to_do(path: Path, left_over: bool) -> None:
    if left_over:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    for arguments in (["--json"], ["--ndjson"], ["--csv", "--flows"], []):
        code, out, err = Client(path, "--wait", "0.2", *arguments).end()
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("pbmon-client: pbmond is not running")
        assert "systemctl start pbmond" in err
        assert str(path) in err


def test_a_daemon_that_sends_nothing_is_reported_differently(
    publisher: Publisher, path: Path
) -> None:
    code, _out, err = Client(path, "--json", "--wait", "0.2").end()
    assert code == 1
    assert "sent nothing within 0.2 s" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["x" * 200, "dir/none", "not-utf-8-\udcff", "\x1b[2J"])
def test_an_impossible_socket_path_is_one_line(tmp_path: Path, name: str) -> None:
    code, _out, err = Client(tmp_path / name, "--json", "--wait", "0.2").end()
    assert (code, err.count("\n")) == (1, 1)
    assert err.strip().isprintable()
    assert "--socket" in err


def test_another_schema_is_one_line(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.expect(ALL)
    publisher.send(ALL, message(schema="pbmon/9"))
    code, out, err = started.end()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "pbmon/9" in err
    assert "same version" in err


def test_a_broken_frame_is_one_line(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.expect(ALL)
    publisher.send_raw(b"all/processes\0\x1b[2J")
    code, out, err = started.end()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.strip().isprintable()


def test_a_closed_pipe_ends_it_quietly_though_no_snapshot_comes(
    publisher: Publisher, client: Start
) -> None:
    started = client("--ndjson")
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(1))
    started.line()
    assert started.process.stdout is not None
    started.process.stdout.close()
    assert started.process.wait(PATIENCE_S) == 0
    assert started.process.stderr is not None
    assert started.process.stderr.read() == b""


def test_a_closed_pipe_during_a_large_object_ends_it_quietly(
    publisher: Publisher, client: Start
) -> None:
    started = client("--json")
    publisher.expect(ALL)
    publisher.send(ALL, message([process(pid) for pid in range(1, 2000)]))
    assert started.process.stdout is not None
    started.process.stdout.read(10)
    started.process.stdout.close()
    assert started.process.wait(PATIENCE_S) == 0
    assert started.process.stderr is not None
    assert started.process.stderr.read() == b""


def test_a_full_disk_is_one_line(publisher: Publisher, client: Start) -> None:
    with Path("/dev/full").open("wb") as full:
        started = client("--json", stdout=full)
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(1))
    code, _out, err = started.end()
    assert code == 1
    assert err == "pbmon-client: cannot write the output: No space left on device\n"


def test_a_closed_output_is_one_line(path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m pbmon_client --json >&-'],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"pbmon-client: standard output is closed\n")


@pytest.mark.parametrize("arguments", [["--json"], ["--ndjson"], []])
def test_ctrl_c_ends_it_quietly(publisher: Publisher, client: Start, arguments: list[str]) -> None:
    started = client(*arguments)
    publisher.expect(ALL)
    started.process.send_signal(signal.SIGINT)
    assert started.end() == (130, "", "")


_SIGNALLED_THREAD = """
import signal, sys, threading
from pbmon_client.cli import main

def interrupt():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt).start()
sys.exit(main(["--json", "--socket", sys.argv[1], "--wait", "60"]))
"""


def test_ctrl_c_is_seen_whichever_thread_takes_it(publisher: Publisher, path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SIGNALLED_THREAD, str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as started:  # fmt: skip
        publisher.expect(ALL)  # the main thread waits for a snapshot
        output, errors = started.communicate(b"\n", timeout=PATIENCE_S)
    assert (started.returncode, output, errors) == (130, b"", b"")
