"""The command end to end: a fake publisher on a real socket, the client as its own process."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
from pathlib import Path

from client_messages import HEALTH, flow, message, process
from client_process import ALL, OWN, UID, Client, Start, snapshot
from fake_publisher import PATIENCE_S, Publisher

from pbmond import wire


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
    lines = []
    for seq in range(1, 6):  # a queue of four would lose some of them at once
        publisher.send(ALL, snapshot(seq))
        if seq % 2:
            lines.append(started.line())
    assert started.end() == (0, "", "")
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


def test_the_version_is_printed(path: Path) -> None:
    code, out, err = Client(path, "--version").end()
    assert (code, err) == (0, "")
    assert out.startswith("pbmon-client ")
