"""The server of the past: exact answers, to each user their own, whatever peers send."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from pbmon_client.history import source
from pbmon_client.history.errors import PastError
from pbmon_client.history.index import Indexer
from pbmon_client.history.layout import LAYOUTS
from pbmon_client.history.past import Past, Series
from pbmon_client.history.queries import LENGTH, pack_query
from pbmon_client.history.remote import RemotePast
from pbmon_client.history.replies import QueryRefusedError, pack_reply, parse_reply
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.past import start
from pbmon_client.past.answering import PastAnswers
from pbmon_client.past.budget import QueryOutcome
from pbmond.wire import Message
from tests import past_host as make

UNIT = Path(__file__).parents[2]
PATIENCE_S = 120
SINCE, UNTIL = make.MONDAY, make.MONDAY + 180
IN_FLIGHT = 2
REST: dict[str, Any] = {"flows": True, "top": None, "by": None}


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that other users can reach, with a store that they cannot."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        record(place / "store")
        (place / "store").chmod(0o700)
        yield place


def record(directory: Path) -> None:
    processes = [make.process(pid) for pid in range(1, 7)]
    connections = [make.connection(pid, 5000 + pid) for pid in range(1, 7)]
    files = [make.file(pid, pid) for pid in range(1, 7)]
    tables = {"processes": processes, "connections": connections, "files": files}
    widths = {name: len(LAYOUTS[name].counters) for name in tables}
    with HistoryWriter(directory, sync=False) as writer:
        for second in (*range(100), *range(120, 180)):
            deltas = {
                name: np.arange(6 * width, dtype=np.int64).reshape(6, width) + second
                for name, width in widths.items()
            }
            writer.tick(make.tick((make.MONDAY + second) * make.SECOND, tables, deltas))


class Served:
    def __init__(self, place: Path, **said: Any) -> None:
        self.path = place / "sock"
        self.store = place / "store"
        command = [sys.executable, str(UNIT / "history_server.py"), str(self.store)]
        command += [str(self.path), json.dumps(said)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        sock.connect(str(self.path))
        return sock

    def said_to(self, data: bytes) -> bytes:
        """Return all that the server answers to some bytes."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := sock.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def packed(message: Message) -> bytes:
    """Return a message as bytes, so that unknown rates are equal too."""
    return pack_reply("all", message)


def plain(series: Series) -> tuple[object, ...]:
    sums = (series.begins.tolist(), series.sums.tolist())
    return (*sums, series.step, series.counters, series.reasons)


def test_answers_are_exactly_those_of_the_files(place: Path) -> None:
    past = Past(place / "store")
    with Served(place) as served:
        remote = source.open_past(served.path)
        assert isinstance(remote, RemotePast)
        for given in (
            *({}, {"top": 2}, {"top": 2, "by": ["net_rx_bytes"]}, {"flows": False}),
            *({"whole_ticks": True}, {"flows": False, "counts": False}),
        ):
            ours, theirs = (each.message(SINCE, UNTIL, **given) for each in (past, remote))
            assert packed(ours) == packed(theirs)
        assert packed(past.frame(SINCE + 7)) == packed(remote.frame(SINCE + 7))
        for where in (None, {"unit": b"app-3.service"}, {"unit": None}, {"uid": 1001}):
            steps = [each.series(SINCE, UNTIL, 10, where) for each in (past, remote)]
            assert plain(steps[0]) == plain(steps[1])
        assert remote.kept() == past.kept()
        assert len(remote.kept().gaps) == 1
        assert remote.scope == "all"
        years = remote.message(0, UNTIL)
        assert years.interval_ns == past.message(0, UNTIL).interval_ns
        with pytest.raises(ValueError, match="empty"):
            remote.message(UNTIL, UNTIL)


def test_what_was_recorded_since_is_in_the_next_answer(place: Path) -> None:
    with Served(place) as served:
        remote = RemotePast(served.path)
        before = remote.kept().tiers[0].span
        with HistoryWriter(place / "store", sync=False) as writer:
            deltas = {"processes": np.ones((1, 32), np.int64)}
            rows = {"processes": [make.process(1)]}
            writer.tick(make.tick((UNTIL + 1) * make.SECOND, rows, deltas))
        after = remote.kept().tiers[0].span
    assert before is not None
    assert after is not None
    assert after.until_ns > before.until_ns


def test_the_index_is_read_in_the_server_and_not_again_for_each_query(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = packed(Past(place / "store").message(SINCE, UNTIL))
    answers = PastAnswers(place / "store", "no-such-group")
    answers.prepare()
    monkeypatch.delattr(Indexer, "read")
    query = pack_query("message", {"since": SINCE, "until": UNTIL} | REST)[LENGTH.size :]
    assert answers.answer(0, query) == (QueryOutcome.ALL, expected)


def test_a_store_that_is_gone_is_said_and_is_read_when_it_is_back(place: Path) -> None:
    answers = PastAnswers(place / "store", "no-such-group")
    query = pack_query("kept", {})[LENGTH.size :]
    answers.prepare()
    kept = answers.answer(0, query)
    (place / "store").rename(place / "elsewhere")
    answers.prepare()
    with pytest.raises(QueryRefusedError, match="cannot read the history in"):
        parse_reply(answers.answer(0, query)[1][LENGTH.size :])
    (place / "elsewhere").rename(place / "store")
    answers.prepare()
    assert answers.answer(0, query) == kept


def test_who_records_and_how_much_is_what_the_server_says(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks may be kept from the files, or not know where they are."""
    monkeypatch.setattr(source, "DEFAULT_SOCKET", place / "sock")
    monkeypatch.setattr(source, "DEFAULT_DIRECTORY", place / "none")
    with Served(place):
        assert start.main(["--json"]) == 0
        kept = json.loads(capsys.readouterr().out)
        assert kept["recorder"] == {"running": False, "pid": None}
        with HistoryWriter(place / "store", 5_000_000, sync=False):
            assert start.main(["--json"]) == 0
            kept = json.loads(capsys.readouterr().out)
    assert kept["recorder"] == {"running": True, "pid": os.getpid()}
    assert kept["cap_bytes"] == 5_000_000


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_another_user_sees_only_their_rows_and_totals(place: Path) -> None:
    with Served(place) as served:
        command = [sys.executable, str(UNIT / "history_asker.py"), str(served.path), "1001"]
        command += [str(SINCE), str(UNTIL)]
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    assert found.stderr == ""
    said = json.loads(found.stdout)
    own = Past(place / "store", 1001).message(SINCE, UNTIL)
    assert said["scope"] == "own"
    assert (said["uids"], said["pids"], said["owners"]) == ([1001], [1, 4], [1, 4])
    assert said["received"] == said["steps"] == own.totals["net_rx_bytes"] > 0
    assert said["received"] < Past(place / "store").message(SINCE, UNTIL).totals["net_rx_bytes"]
    assert said["retired"] == 0
    assert said["of_others"] == 0


@pytest.mark.parametrize(
    "data",
    [
        LENGTH.pack(1 << 31),
        LENGTH.pack(3) + b"\xc1\xc1\xc1",
        LENGTH.pack(1) + b"\x80",
        LENGTH.pack(0),
        LENGTH.pack(1) + b"\x80more",
        LENGTH.pack(4) + b"\xdd\xff\xff\xff",
        pack_query("eval", {}),
        pack_query("__init__", {"place": "/"}),
        pack_query("kept", {"at": 1}),
        pack_query("frame", {"at": -1}),
        pack_query("frame", {"at": 1 << 40}),
        pack_query("frame", {"at": True}),
        pack_query("series", dict.fromkeys(("since", "until", "step", "where", "table"))),
        pack_query(
            "series", {"since": 0, "until": 1 << 32, "step": 1, "where": None, "table": "files"}
        ),
        pack_query(
            "series", {"since": 0, "until": 1, "step": 1, "where": {"x": 1}, "table": "processes"}
        ),
        pack_query("message", {"since": 9, "until": 9, "flows": True, "top": None, "by": None}),
        pack_query("message", {"since": 0, "until": 9, "flows": True, "top": -1, "by": None}),
        pack_query("message", {"since": 0, "until": 9, "flows": 1, "top": None, "by": {"a": 1}}),
        pack_query("message", {"since": 0, "until": 9, **REST, "whole_ticks": None}),
        pack_query("message", {"since": 0, "until": 9, **REST, "counts": 1}),
    ],
)
def test_what_is_no_query_is_refused_in_words(served: Served, data: bytes) -> None:
    reply = served.said_to(data)
    (size,) = LENGTH.unpack_from(reply)
    assert len(reply) == LENGTH.size + size
    with pytest.raises(QueryRefusedError):
        parse_reply(reply[LENGTH.size :])
    assert RemotePast(served.path).kept().tiers


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as name:
        record(Path(name) / "store")
        with Served(Path(name)) as served:
            yield served


def test_a_query_that_costs_too_much_is_ended(place: Path) -> None:
    with Served(place, slow=True, budget={"cpu_s": 1}) as served:
        remote = RemotePast(served.path)
        with pytest.raises(PastError, match="took too long: ask for a shorter range"):
            remote.kept()
        assert remote.message(SINCE, UNTIL).processes.length > 0


def test_a_query_that_needs_too_much_memory_is_ended(place: Path) -> None:
    with (
        Served(place, budget={"memory": 1 << 20}) as served,
        pytest.raises(PastError, match=r"memory|failed"),
    ):
        RemotePast(served.path).message(SINCE, UNTIL)


def test_readers_that_stop_and_peers_that_say_nothing_hold_up_nobody(place: Path) -> None:
    with Served(place, limits={"send_s": 1, "receive_s": 1}) as served:
        stopped = stopped_peers(served)
        for sock in stopped[3:]:
            assert read_all(sock) == b""  # it is closed after a second
        assert RemotePast(served.path).message(SINCE, UNTIL).processes.length > 0
        for sock in stopped:
            sock.close()


def test_a_user_has_so_many_connections_and_no_more(place: Path) -> None:
    limits = {"connections": 8, "connections_per_user": 6, "send_s": 600, "receive_s": 600}
    with Served(place, limits=limits) as served:
        stopped = stopped_peers(served)
        with pytest.raises(PastError, match="too many connections"):
            RemotePast(served.path)
        for sock in stopped:
            sock.close()


def stopped_peers(served: Served) -> list[socket.socket]:
    """Connect three that read no answer, and three that do not ask."""
    query = pack_query("message", {"since": SINCE, "until": UNTIL} | REST)
    stopped = []
    for data in (query, query, query, b"", b"\0", query[:-1]):
        sock = served.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.sendall(data)
        stopped.append(sock)
    return stopped


def test_a_peer_that_leaves_ends_its_query(place: Path) -> None:
    with Served(place, slow=True) as served:
        for _ in range(3 * IN_FLIGHT):
            with served.connect() as sock:
                sock.sendall(pack_query("kept", {}))
        assert RemotePast(served.path).message(SINCE, UNTIL).processes.length > 0


def test_a_server_that_is_killed_is_one_line_and_its_socket_is_replaced(place: Path) -> None:
    with Served(place, slow=True, budget={"wall_s": 5}) as served:
        remote = RemotePast(served.path)
        with served.connect() as sock:
            sock.sendall(pack_query("kept", {}))
            served.process.send_signal(signal.SIGKILL)
            served.process.wait(PATIENCE_S)
            assert read_all(sock) == b""
        with pytest.raises(PastError, match="cannot ask the history server") as raised:
            remote.frame(SINCE)
        assert "\n" not in str(raised.value)
    with Served(place) as again:
        assert RemotePast(again.path).scope == "all"
    assert not again.path.exists()


def test_a_living_server_is_not_replaced(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", "--directory", str(served.store), "--listen", str(served.path)]
    assert start.main(arguments) == 1
    error = f"pbmon-client: another server answers at {served.path}\n"
    assert capsys.readouterr().err == error
    assert RemotePast(served.path).scope == "all"
    assert served.path.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("name", ["file", "missing/sock", "x" * 120])
def test_a_path_that_cannot_be_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    assert start.main(["serve", "--listen", str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pbmon-client: ")
    assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"


def test_the_configuration_turns_it_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config"
    config.write_text("[history]\nserve = false\n")
    assert start.main(["serve", "--config", str(config)]) == 0
    assert "[history] serve = false" in capsys.readouterr().err


def hostile_replies() -> list[bytes]:
    said: list[Any] = [None, {}, {"version": 2, "error": "x"}, {"version": 1, "error": 1}]
    reply = {"version": 1, "scope": "all"}
    said += [reply, {**reply, "scope": "x", "value": None}, {**reply, "scope": [], "value": None}]
    values: list[Any] = [None, 1, [], {"tiers": [], "gaps": [], "missing": []}]
    values += [
        {"frame": b"all/flows\0\x80", "interval_ns": 1, "tables": {}},
        {"frame": 1, "interval_ns": 1, "tables": {}},
    ]
    tiers = [[width, 1, None] for width in (1, 10, 60, 3600)]
    values += [{"tiers": tiers, "gaps": [[2, 1]], "missing": []}]
    values += [{"tiers": tiers, "gaps": [], "missing": [[9, 0, 1, "", None]]}]
    values += [{"tiers": tiers, "gaps": [[-1, 1]], "missing": []}]
    replies = [msgpack.packb(each) for each in said]
    replies += [msgpack.packb({**reply, "value": each}) for each in values]
    framed = [LENGTH.pack(len(each)) + each for each in replies]
    return [*framed, b"", b"\0", LENGTH.pack(1 << 31), LENGTH.pack(4) + b"\xdd\xff\xff\xff"]


@pytest.mark.parametrize("reply", hostile_replies())
def test_a_server_is_not_believed(tmp_path: Path, reply: bytes) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        child = os.fork()
        if child == 0:
            try:
                for answer in (pack_reply("all", None), *[reply] * 3):
                    sock, _address = listener.accept()
                    sock.recv(1 << 16)
                    sock.sendall(answer)
                    sock.close()
            finally:
                os._exit(0)
        remote = RemotePast(path)
        for ask in (
            remote.kept, lambda: remote.frame(SINCE), lambda: remote.series(SINCE, UNTIL, 1),
        ):  # fmt: skip
            with pytest.raises(PastError) as raised:
                ask()
            assert "\n" not in str(raised.value)
        os.waitpid(child, 0)
