"""The three forms of output: JSON by the contract, CSV for spreadsheets, a table for people."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from client_messages import HEALTH, flow, message, process, received

from pbmon_client.data.model import Selection, Snapshot, snapshot_of
from pbmon_client.data.text import width
from pbmon_client.output import csvout, jsonout, table
from pbmon_client.present.cells import TIMES
from pbmon_client.present.selected import selected
from pbmond.fields import SHOWN as FIELDS

HOSTILE = b"\x1b[31mred\n\xff" + "\u202e".encode() + b'",=\\'
SHOWN = r"\x1b[31mred\x0a\xff\u202e" + '",=\\'


def make(*processes: dict[str, Any], flows: bool = True, **fields: Any) -> Snapshot:
    connections = fields.pop("connections", [])
    files = fields.pop("files", [])
    sent = message(processes, connections, files, seq=2, **fields)
    asked = Selection(flows=flows)
    snapshot = snapshot_of(received(sent), asked, 1000, "own", lambda uid: f"u{uid}")
    return selected(snapshot, asked)


def hostile() -> Snapshot:
    return make(
        process(1, HOSTILE, exe=HOSTILE, cmdline=HOSTILE, unit=HOSTILE, container=HOSTILE),
        connections=[flow(1, family=1, local_name=HOSTILE, remote_name=b"\0" + HOSTILE)],
        files=[flow(1, path=HOSTILE, read_bytes_per_s=1.0)],
        retired=[{"unit": HOSTILE, "uid": 5, "processes": 2, "net_rx_bytes": 8}],
        host="h\x1b]0;title\x07",
        health=HEALTH | {"unseen": ["\x1b[2J"]},
    )


def as_json(shown: Snapshot, *, row_a_line: bool = False) -> Any:
    return json.loads(jsonout.render(shown, row_a_line=row_a_line))


# --- JSON ---------------------------------------------------------------------------------------


def test_an_object_has_the_fields_of_the_contract_in_its_order() -> None:
    result = as_json(make(process(1), connections=[flow(1)], files=[flow(1)], retired=[{"uid": 1}]))
    assert list(result) == [
        *("schema", "host", "boot_id", "epoch", "seq", "time", "time_ns", "interval_ns", "viewer"),
        *("health", "coverage", "totals", "retired", "processes", "connections", "files"),
    ]
    for kind in ("retired", "processes", "connections", "files"):
        assert [list(row) for row in result[kind]] == [list(FIELDS[kind])]


def test_values_have_their_types() -> None:
    row = process(
        7,
        b"nginx",
        net_rx_bytes=(1 << 64) - 1,
        net_rx_bytes_per_s=0.5,
        net_tx_bytes_per_s=float("nan"),
        net_tx_calls=3,
        cmdline=b"nginx\0-g\0daemon off;\0",
    )
    result = as_json(make(row, connections=[flow(7, open=1)], files=[flow(7, open=0)]))
    shown = result["processes"][0]
    assert shown["net_rx_bytes"] == (1 << 64) - 1
    assert shown["net_rx_bytes_per_s"] == 0.5
    assert shown["net_tx_bytes_per_s"] is None
    assert shown["cmdline"] == "nginx -g daemon off;"
    assert (shown["user"], shown["state"], shown["exited_ns"]) == ("u1000", "running", None)
    assert result["connections"][0]["open"] is True
    assert result["files"][0]["open"] is False
    assert result["viewer"] == {"uid": 1000, "scope": "own"}
    assert result["time"] == "2023-11-14T22:13:22.123456Z"
    assert result["health"] == HEALTH
    assert result["totals"]["net_tx_calls"] == 3
    assert result["totals"]["net_tx_bytes_per_s"] is None


def test_flows_are_left_out_unless_they_are_asked_for() -> None:
    assert not {"connections", "files"} & as_json(make(process(1), flows=False)).keys()


@pytest.mark.parametrize("row_a_line", [True, False])
def test_hostile_names_are_escaped_and_the_object_stays_whole(row_a_line: bool) -> None:
    raw = jsonout.render(hostile(), row_a_line=row_a_line)
    assert raw.decode().replace("\n", "").isprintable()
    result = json.loads(raw)
    row = result["processes"][0]
    assert [row[name] for name in ("name", "exe", "cmdline", "unit", "container")] == [SHOWN] * 5
    assert result["connections"][0]["local_address"] == SHOWN
    assert result["connections"][0]["remote_address"] == "@" + SHOWN
    assert result["files"][0]["path"] == SHOWN
    assert result["retired"][0]["unit"] == SHOWN


def test_ndjson_takes_one_line_and_json_a_line_for_each_row() -> None:
    shown = make(process(1), process(2))
    assert jsonout.render(shown, row_a_line=False).count(b"\n") == 1
    assert jsonout.render(shown, row_a_line=True).count(b"\n") == 1 + 2
    assert as_json(shown, row_a_line=True) == as_json(shown)


def test_a_percent_sign_is_nothing_special() -> None:
    assert as_json(make(process(1, b"100%s %d")))["processes"][0]["name"] == "100%s %d"


def test_an_empty_host_is_still_an_object() -> None:
    assert as_json(make())["processes"] == []


# --- CSV ----------------------------------------------------------------------------------------


def as_csv(shown: Snapshot, *, flows: bool = True) -> list[dict[str, str]]:
    text = csvout.Writer(flows=flows).render(shown).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_one_header_and_a_line_for_each_row() -> None:
    writer = csvout.Writer(flows=False)
    first = writer.render(make(process(1), process(2), flows=False)).decode().splitlines()
    second = writer.render(make(process(1), flows=False)).decode().splitlines()
    assert first[0].split(",") == [
        "time",
        "epoch",
        "seq",
        "health",
        "table",
        *FIELDS["processes"],
    ]
    assert (len(first), len(second)) == (3, 1)
    assert second[0].startswith("2023-11-14T22:13:22.123456Z,epoch-1,2,complete,processes,1,")


def test_csv_leaves_empty_what_is_unknown_or_not_of_the_table() -> None:
    rows = as_csv(
        make(
            process(1, net_rx_bytes=5, net_tx_bytes_per_s=float("nan")),
            connections=[flow(1, rx_bytes=6, open=1)],
            files=[flow(1, read_bytes=7, open=2)],
        )
    )
    assert [row["table"] for row in rows] == ["processes", "connections", "files"]
    assert [row["net_rx_bytes"] for row in rows] == ["5", "", ""]
    assert rows[0]["net_tx_bytes_per_s"] == ""
    assert rows[0]["container"] == ""
    assert [row["rx_bytes"] for row in rows] == ["", "6", ""]
    assert [row["open"] for row in rows] == ["", "true", ""]
    assert [row["pid"] for row in rows] == ["1"] * 3


@pytest.mark.parametrize("name", [b"=1+1", b"+1", b"-bash", b"@SUM(A1)"])
def test_text_that_a_spreadsheet_would_run_is_defused(name: bytes) -> None:
    rows = as_csv(make(process(1, name, cmdline=name, unit=name), files=[flow(1, path=name)]))
    for value in (rows[0]["name"], rows[0]["cmdline"], rows[0]["unit"], rows[1]["path"]):
        assert value == "'" + name.decode()


def test_hostile_names_stay_in_their_csv_cell() -> None:
    rows = as_csv(hostile())
    assert [row["table"] for row in rows] == ["processes", "connections", "files"]
    assert rows[0]["name"] == SHOWN
    assert rows[1]["remote_address"] == "'@" + SHOWN
    assert rows[2]["path"] == SHOWN


# --- table --------------------------------------------------------------------------------------


def busy(count: int = 3, **fields: Any) -> Snapshot:
    processes = [
        process(pid, b"worker-with-a-long-name", net_rx_bytes_per_s=1e6 * pid, uid=1000)
        for pid in range(1, count + 1)
    ]
    ends = {"family": 2, "type": 1, "protocol": 6, "local_port": 65535, "remote_port": 443}
    connections = [
        flow(pid, **ends, local=bytes([192, 0, 2, 1]), remote=bytes([198, 51, 100, 200]))
        for pid in range(1, count + 1)
    ]
    files = [flow(pid, path=b"/srv/" + b"long/" * 30 + b"end") for pid in range(1, count + 1)]
    return make(*processes, connections=connections, files=files, **fields)


@pytest.mark.parametrize("cells", [1, 40, 80, 100, 132, 250])
def test_no_line_is_wider_than_the_terminal(cells: int) -> None:
    for shown in (busy(), hostile(), make(process(4194304, "名前".encode() * 20, uid=10**9))):
        lines = table.render(shown, cells).splitlines()
        assert max(map(width, lines)) <= cells


def test_eighty_columns_show_names_rates_and_ends_whole() -> None:
    lines = table.render(busy(1), 80).splitlines()
    assert "PID USER" in lines[2]
    assert "NET RX NET TX FILE R FILE W  OTHER" in lines[2]
    assert lines[3].split() == ["1", "u1000", "worker-with-a-long-name", "1.0M", *"····"]
    assert "192.0.2.1:65535" in lines[5]
    assert "198.51.100.200:443" in lines[5]
    assert "long/end" in lines[7]


def test_a_wide_terminal_shows_more_columns() -> None:
    narrow, wide = (table.render(busy(1), cells) for cells in (80, 200))
    assert "CMDLINE" not in narrow
    for title in ("LO RX", "UNIX TX", "PIPE R", "UNIT", "CMDLINE"):
        assert title in wide


@pytest.mark.parametrize("height", [1, 5, 8, 20, 60])
def test_the_table_never_takes_more_lines_than_the_terminal_has(height: int) -> None:
    text = table.render(busy(50), 80, height)
    assert text.count("\n") <= height
    if height >= 20:
        assert text.count("\n") >= height - 3
        assert all(f"more {name}" in text for name in ("processes", "connections", "files"))


def test_rows_that_fit_are_all_shown() -> None:
    assert "more" not in table.render(busy(3), 80, 24)


def test_an_exited_process_and_an_unknown_rate_are_marked() -> None:
    row = process(5, b"gone", state=1, exited_ns=1_500_000_000, net_rx_bytes_per_s=float("nan"))
    line = table.render(make(row, flows=False), 80).splitlines()[-1]
    assert line.split() == ["5", "u1000", "gone", f"{TIMES}22:13:21", "?", *"····"]


def test_directions_and_unknown_ends_are_shown() -> None:
    address = bytes([192, 0, 2, 1])
    connections = [
        flow(1, family=2, local=address, local_port=53, direction=1),
        flow(1, family=10, local=bytes(15) + b"\x01", remote=bytes(15) + b"\x01", remote_port=9),
    ]
    text = table.render(make(process(1), connections=connections), 80)
    assert "192.0.2.1:53" in text
    assert "← ?" in text
    assert "[::1]:9" in text


def test_what_is_lost_incomplete_or_unseen_is_said() -> None:
    lost = HEALTH | {
        "status": "incomplete",
        "lost": {"flows full": 12, "never": 0},
        "reasons": ["map full: flows"],
        "unseen": ["io_uring files"],
    }
    text = table.render(make(health=lost), 80)
    for words in ("LOST", "flows full: 12", "INCOMPLETE the table of connections is full"):
        assert words in text
    assert "complete*" in table.render(make(health=HEALTH | {"unseen": ["libaio"]}), 80)
    assert "never" not in text
    assert "LOST" not in table.render(make(), 80)


def test_health_of_any_shape_does_not_break_the_table() -> None:
    for health in ({}, {"status": "odd", "new": [[], {}], "cost": {"more": None}}):
        assert "INCOMPLETE" in table.render(make(health=health), 80)


def test_a_notice_is_shown() -> None:
    assert "OUT OF DATE: silent" in table.render(make(), 80, 10, "OUT OF DATE: silent")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((f"{sign}1", f"'{sign}1") for sign in ("=", "+", "-", "@", "\uff1d", "\uff0b")),
        *(("'quoted", "''quoted"), ("a;=1", "a;'=1"), ("a;'b;-c", "a;''b;'-c")),
        *(("\t=1", r"\x09=1"), ("a-b", "a-b"), ("sh; ls", "sh; ls"), ("a=b,@c", "a=b,@c")),
    ],
)
def test_a_csv_cell_is_never_a_formula_and_can_be_read_back(name: str, cell: str) -> None:
    shown = make(process(7, name.encode(), net_rx_bytes_per_s=-0.0), flows=False)
    rows = list(csv.DictReader(io.StringIO(csvout.Writer(flows=False).render(shown).decode())))
    assert rows[0]["name"] == cell
    assert re.sub("(^|;)'", r"\1", cell) == shown.processes.column("name")[0]
