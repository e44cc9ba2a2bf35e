"""Groups as columns of values, of the present too."""

from __future__ import annotations

import csv
import io
import json

import client_messages
import pytest

from pbmon_client.data.filters import parse
from pbmon_client.data.model import Selection, Snapshot, snapshot_of
from pbmon_client.options import GROUP_VIEWS
from pbmon_client.output import csvout, jsonout
from pbmon_client.present.grouped import group_fields, grouped
from pbmon_client.present.views import BY_NAME, VIEWS


def snapshot(selection: Selection) -> Snapshot:
    processes = [
        client_messages.process(
            7, b"one", unit=b"web.service", net_rx_bytes=5, net_rx_bytes_per_s=2.0
        ),
        client_messages.process(
            8, b"two", unit=b"web.service", net_rx_bytes=6, net_rx_bytes_per_s=3.0
        ),
        client_messages.process(
            9, b"three", unit=b"=db", file_read_bytes=1, net_rx_bytes_per_s=9.0
        ),
    ]
    return snapshot_of(
        client_messages.received(client_messages.message(processes)), selection, 0, "all", str
    )


def test_the_options_name_the_views_that_have_groups() -> None:
    assert tuple(view.name for view in VIEWS if view.grouping is not None) == GROUP_VIEWS


def test_a_group_has_the_sums_of_its_members_and_the_busiest_is_first() -> None:
    groups = grouped(snapshot(Selection()), BY_NAME["units"], Selection())
    assert tuple(groups) == group_fields(BY_NAME["units"])
    assert groups["unit"] == ["=db", "web.service"]
    assert groups["members"] == [1, 2]
    assert groups["net_rx_bytes"] == [0, 11]
    assert groups["net_rx_bytes_per_s"] == [9.0, 5.0]


def test_options_choose_the_rows_that_are_grouped_and_sort_the_groups() -> None:
    units = BY_NAME["units"]
    selection = Selection(filter=parse("name != two"), sort="net_rx_bytes", top=1)
    groups = grouped(snapshot(selection), units, selection)
    assert groups["unit"] == ["web.service"]
    assert groups["net_rx_bytes"] == [5]
    selection = Selection(pids=frozenset([9]))
    assert grouped(snapshot(selection), units, selection)["unit"] == ["=db"]
    # A field that groups do not have sorts nothing.
    selection = Selection(sort="pid", reverse=True)
    assert grouped(snapshot(selection), units, selection)["unit"] == ["web.service", "=db"]


def test_a_view_whose_table_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no connections in this snapshot"):
        grouped(snapshot(Selection()), BY_NAME["hosts"], Selection())


def test_json_and_csv_have_the_groups_and_no_rows() -> None:
    shown = snapshot(Selection())
    groups = grouped(shown, BY_NAME["units"], Selection())
    for row_a_line in (True, False):
        read = json.loads(jsonout.render_groups(shown, "units", groups, row_a_line=row_a_line))
        assert read["view"] == "units"
        assert [group["unit"] for group in read["groups"]] == ["=db", "web.service"]
        assert read["totals"] == json.loads(jsonout.render(shown, row_a_line=False))["totals"]
        assert not {"processes", "retired", "past"} & read.keys()
    writer = csvout.Writer(flows=False, groups=group_fields(BY_NAME["units"]))
    text = writer.render_groups(shown, "units", groups).decode()
    again = writer.render_groups(shown, "units", groups).decode()
    rows = list(csv.DictReader(io.StringIO(text + again)))
    assert [row["unit"] for row in rows] == ["'=db", "web.service"] * 2
    assert rows[1]["net_rx_bytes"] == "11"
    assert rows[1]["table"] == "units"
