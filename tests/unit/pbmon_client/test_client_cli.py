"""The command end to end: a fake publisher on a real socket, the client as its own process."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import time
from pathlib import Path

from client_messages import HEALTH, flow, message, process
from client_process import ALL, OWN, UID, Client, Start, snapshot
from fake_publisher import PATIENCE_S, Publisher

from pbmond import wire


def test_json_prints_the_first_snapshot_and_exits(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.expect(ALL, OWN)
    publisher.send(ALL, snapshot(1))
    code, out, err = started.end()
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["viewer"] == {"uid": UID, "scope": "all"}
    assert [row["name"] for row in result["processes"]] == ["one", "worker"]


def test_a_user_granted_only_their_own_scope_sees_it(publisher: Publisher, client: Start) -> None:
    started = client("--json")
    publisher.expect(OWN)
    publisher.send(OWN, snapshot(1))
    code, out, _err = started.end()
    assert (code, json.loads(out)["viewer"]["scope"]) == (0, "own")


def test_all_is_preferred_though_it_comes_second(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson", "-n", "1")
    publisher.expect(ALL, OWN)
    publisher.send(OWN, snapshot(1))
    publisher.send(ALL, snapshot(1))
    code, out, _err = started.end()
    assert (code, json.loads(out)["viewer"]["scope"]) == (0, "all")


def test_the_scope_that_is_not_used_is_given_back(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson")
    publisher.expect(ALL, OWN)
    publisher.send(ALL, snapshot(1))
    assert started.line()["seq"] == 1
    publisher.hear(lambda wanted: wanted == {str(ALL)})


def test_all_granted_later_replaces_own(publisher: Publisher, client: Start) -> None:
    started = client("--ndjson", "-n", "2")
    publisher.expect(ALL, OWN)
    publisher.send(OWN, snapshot(1))
    assert started.line()["viewer"]["scope"] == "own"
    publisher.send(ALL, snapshot(2))
    assert started.line()["viewer"]["scope"] == "all"


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


def test_the_version_is_printed(path: Path) -> None:
    code, out, err = Client(path, "--version").end()
    assert (code, err) == (0, "")
    assert out.startswith("pbmon-client ")
