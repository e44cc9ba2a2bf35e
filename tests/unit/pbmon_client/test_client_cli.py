"""The command end to end: a fake publisher on a real socket, the client as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_messages import HEALTH, flow, message, process
from fake_publisher import PATIENCE_S, Publisher

import pbmon_client
from pbmond import wire

ROOT = Path(pbmon_client.__file__).parent.parent
UID = os.geteuid()
ALL = wire.Topic(None, "processes")
OWN = wire.Topic(UID, "processes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.sock"


@pytest.fixture
def publisher(path: Path) -> Iterator[Publisher]:
    with contextlib.closing(Publisher(path)) as made:
        yield made


class Client:
    """A running pbmon-client."""

    def __init__(self, path: Path, *arguments: str, **options: Any) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "pbmon_client", "--socket", str(path), *arguments],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "80", "PYTHONUNBUFFERED": "", "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=options.get("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
        )

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> tuple[int, str, str]:
        """Wait for the end and return exit status, output and errors."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.fixture
def client(path: Path) -> Iterator[Callable[..., Client]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> Client:
            started = Client(path, "--wait", str(PATIENCE_S), *arguments, **options)
            stack.enter_context(started.process)  # closes its pipes, and waits
            stack.callback(started.process.kill)
            return started

        yield start


Start = Callable[..., Client]


def snapshot(seq: int, **fields: Any) -> wire.Message:
    return message([process(1, b"one", net_rx_bytes=100 * seq), process(2)], seq=seq, **fields)


# --- what is printed ----------------------------------------------------------------------------


def test_json_prints_the_first_snapshot_and_exits(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(1))
    code, out, err = started.end()
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["viewer"] == {"uid": UID, "scope": "all"}
    assert [row["name"] for row in result["processes"]] == ["one", "worker"]


def test_a_user_granted_only_their_own_scope_sees_it(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.refuse(ALL)
    publisher.expect(OWN)
    publisher.send(OWN, snapshot(1))
    code, out, _err = started.end()
    assert (code, json.loads(out)["viewer"]["scope"]) == (0, "own")


def test_one_topic_is_asked_for_at_a_time(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson")
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(1))
    assert started.line()["seq"] == 1
    assert publisher.wanted == {str(ALL)}
    publisher.refuse(ALL)  # as after the daemon's restart: the user may see less now
    publisher.hear(lambda wanted: wanted == {str(OWN)})
    publisher.send(OWN, snapshot(2))
    assert started.line()["viewer"]["scope"] == "own"


def test_a_viewer_that_is_one_too_many_says_so_and_ends(
    publisher: Publisher, client: Start
) -> None:
    started = client("--json")
    publisher.refuse(ALL, wire.TOO_MANY)
    code, out, err = started.end()
    assert (code, out) == (1, "")
    assert err == (
        "pbmon-client: pbmond refuses another viewer: those of this user watch as much as one user "
        "may; end some of them\n"
    )


def test_a_user_who_may_see_nothing_is_told_so(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.refuse(ALL)
    publisher.refuse(OWN)
    code, out, err = started.end()
    assert (code, out) == (1, "")
    assert err == f"pbmon-client: pbmond shows user {UID} nothing (not yours)\n"


def test_all_granted_later_replaces_own(path: Path, client: Start) -> None:
    started = client("--ndjson", "-n", "3")
    with contextlib.closing(Publisher(path)) as first:
        first.refuse(ALL)
        first.expect(OWN)
        first.send(OWN, snapshot(1, interval_ns=1_000_000))
        assert started.line()["viewer"]["scope"] == "own"
    with contextlib.closing(Publisher(path)) as second:
        second.expect(ALL)  # once more, after the silence
        second.send(ALL, snapshot(2, epoch="epoch-2"))
        assert started.line()["viewer"]["scope"] == "all"
        second.hear(lambda wanted: wanted == {str(ALL)})


def test_a_repeated_snapshot_is_shown_once(publisher: Publisher, client: Start) -> None:
    started = client("--json", "-n", "2")
    publisher.expect(ALL)
    for seq in (1, 1, 2):
        publisher.send(ALL, snapshot(seq))
    code, out, _err = started.end()
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(out)
    second, _end = decoder.raw_decode(out[end:].lstrip())
    assert (code, first["seq"], second["seq"]) == (0, 1, 2)


def test_ndjson_flushes_each_line(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson")
    publisher.expect(ALL)
    for seq in (1, 2, 3):
        publisher.send(ALL, snapshot(seq))
        assert started.line()["seq"] == seq  # it came though the client goes on


def test_an_interval_thins_and_gives_rates_over_it(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson", "-d", "2", "-n", "3")
    publisher.expect(ALL)
    for seq in range(1, 7):
        publisher.send(ALL, snapshot(seq))
        time.sleep(0.01)  # a queue of four would lose some
    lines = [json.loads(line) for line in started.end()[1].splitlines()]
    assert [line["seq"] for line in lines] == [1, 3, 5]
    assert [line["interval_ns"] for line in lines] == [0, 2 * 10**9, 2 * 10**9]
    assert lines[2]["processes"][0]["net_rx_bytes_per_s"] == 100.0


def test_flows_come_from_their_own_topic(publisher: Publisher, client: Start) -> None:
    started = client("--json", "--flows")
    flows = wire.Topic(None, "flows")
    publisher.expect(flows)
    publisher.send(flows, message([process(1)], [flow(1, family=2)], [flow(1, path=b"/a")]))
    result = json.loads(started.end()[1])
    assert (len(result["connections"]), result["files"][0]["path"]) == (1, "/a")


def test_flows_of_one_process_come_from_that_processs_topic(
    publisher: Publisher, client: Start
) -> None:
    started = client("--json", "--flows", "-p", "2")
    one = wire.Topic(None, "flows", 2)
    publisher.expect(one)
    assert str(wire.Topic(None, "flows")) not in publisher.wanted
    publisher.send(one, message([process(1), process(2)], [], []))
    assert [row["pid"] for row in json.loads(started.end()[1])["processes"]] == [2]


def test_a_topic_that_only_begins_alike_is_not_shown(publisher: Publisher, client: Start) -> None:
    started = client("--json", "--flows")
    flows = wire.Topic(None, "flows")
    publisher.expect(flows)
    publisher.send(wire.Topic(None, "flows", 7), message([process(7)], [], []))
    publisher.send(flows, message([process(1)], [], []))
    assert [row["pid"] for row in json.loads(started.end()[1])["processes"]] == [1]


def test_a_filter_on_flows_asks_for_them_and_shows_processes(
    publisher: Publisher, client: Start
) -> None:
    started = client("--json", "--filter", "path ~ ^/srv")
    flows = wire.Topic(None, "flows")
    publisher.expect(flows)
    files = [flow(2, path=b"/srv/a"), flow(1, path=b"/tmp")]
    publisher.send(flows, message([process(1), process(2)], [], files))
    result = json.loads(started.end()[1])
    assert [row["pid"] for row in result["processes"]] == [2]
    assert "files" not in result


def test_csv_is_a_header_and_rows(publisher: Publisher, client: Start) -> None:
    started = client("--csv", "-n", "2")
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(1))
    publisher.send(ALL, snapshot(2))
    lines = started.end()[1].splitlines()
    assert lines[0].startswith("time,epoch,seq,health,table,pid,")
    assert len(lines) == 1 + 2 + 2


def test_without_a_terminal_the_table_is_plain_text(publisher: Publisher, client: Start) -> None:
    started = client("-n", "1")
    publisher.expect(ALL)
    publisher.send(ALL, snapshot(2))
    code, out, err = started.end()
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "one" in out


def test_on_a_terminal_the_table_is_redrawn_in_place_and_says_when_it_is_out_of_date(
    publisher: Publisher, client: Start
) -> None:
    ours, theirs = pty.openpty()
    started = client(stdout=theirs)
    os.close(theirs)

    def until(mark: bytes) -> bytes:
        drawn = b""
        while mark not in drawn:
            assert select.select([ours], [], [], PATIENCE_S)[0], drawn
            drawn += os.read(ours, 4096)
        return drawn

    publisher.expect(ALL)
    publisher.send(ALL, snapshot(2))
    first = until(b"\x1b[J")
    assert first.startswith(b"\x1b[H")
    assert b"one" in first
    publisher.send(ALL, snapshot(3, interval_ns=1_000_000))
    assert until(b"\x1b[J").startswith(b"\x1b[H")
    assert b"OUT OF DATE" in until(b"is silent")
    started.process.send_signal(signal.SIGINT)
    assert started.end() == (130, "", "")
    os.close(ours)


def test_hostile_names_reach_no_terminal(publisher: Publisher, client: Start) -> None:
    hostile = b"\x1b[2J\x9b\nname\xe2\x80\xae"
    for arguments in (["--json"], ["--csv"], ["-n", "1"]):
        started = client(*arguments)
        publisher.expect(ALL)
        row = process(1, hostile, cmdline=hostile, exe=hostile)
        sent = message([row], health=HEALTH | {"unseen": ["\x1b]0;x\x07"]}, host="\x1b[31m")
        publisher.send(ALL, sent)
        code, out, _err = started.end()
        assert code == 0
        assert out.replace("\n", "").isprintable()
        publisher.hear(lambda wanted: not wanted)


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_restarted_daemon_is_followed(path: Path, client: Start) -> None:
    started = client("--ndjson", "-n", "3")
    with contextlib.closing(Publisher(path)) as first:
        first.expect(ALL)
        first.send(ALL, snapshot(7))
        assert started.line()["epoch"] == "epoch-1"
    with contextlib.closing(Publisher(path)) as second:
        second.expect(ALL)
        for seq in (1, 2):
            second.send(ALL, snapshot(seq, epoch="epoch-2"))
            line = started.line()
            assert (line["epoch"], line["seq"]) == ("epoch-2", seq)
        assert started.end() == (0, "", "")


def test_a_long_silence_is_reported_once_and_the_widest_scope_requested_again(
    path: Path, client: Start
) -> None:
    started = client("--ndjson")
    with contextlib.closing(Publisher(path)) as first:
        first.expect(ALL)
        first.send(ALL, snapshot(2, interval_ns=1_000_000))
        assert started.line()["seq"] == 2
    assert started.process.stderr is not None
    told = started.process.stderr.readline().decode()
    assert told.startswith("pbmon-client: pbmond is not running")
    assert told.endswith("; waiting for it\n")
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
import signal, sys, threading, time
from pbmon_client.cli import main

def interrupt():
    while "zmq" not in sys.modules:
        time.sleep(0.01)
    time.sleep(0.5)  # by then the other one waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt).start()
sys.exit(main(["--json", "--socket", sys.argv[1], "--wait", "60"]))
"""


def test_ctrl_c_is_seen_whichever_thread_takes_it(publisher: Publisher, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED_THREAD, str(path)],
        cwd=ROOT, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_the_version_is_printed(path: Path) -> None:
    code, out, err = Client(path, "--version").end()
    assert (code, err) == (0, "")
    assert out.startswith("pbmon-client ")
