"""The table of fields: each says where its value comes from, and names mean one thing."""

from __future__ import annotations

import pytest

from pbmond import fields, wire
from pbmond.fields import TABLES, Field
from pbmond.kernel.records import COUNTER, FILE_KEY, FLOW_KEY
from pbmond.store.process_texts import TEXTS
from pbmond.store.processes import INFO
from pbmond.store.values import ROWS, VALUES

KEYS = {"connections": FLOW_KEY, "files": FILE_KEY}
EVERY = [(table, field) for table, named in TABLES.items() for field in named.values()]


@pytest.mark.parametrize(("table", "field"), EVERY)
def test_where_the_store_keeps_a_field_exists(table: str, field: Field) -> None:
    part, _, name = field.store.partition(".")
    places = {
        "key": KEYS[table].names if table in KEYS else (),
        "counter": COUNTER.names,
        "info": INFO.names,
        "texts": TEXTS,
        "": ("",),
    }
    assert name in (places[part] or ())


@pytest.mark.parametrize(("table", "field"), EVERY)
def test_a_field_has_what_its_kind_needs(table: str, field: Field) -> None:
    assert field.meaning
    assert field.shown or field.wire is not None
    if field.kind == "counter":
        assert field.combined == "sum"
    if field.combined == "most":
        assert field.null == 0
    if field.rate_of is not None:
        counter = TABLES[table][field.rate_of]
        assert (counter.kind, counter.direction) == ("counter", field.direction)
    if field.needs is not None:
        assert field.needs in TABLES[table]


def test_names_are_given_once_in_a_table() -> None:
    for table, every in (
        ("processes", fields.PROCESSES),
        ("connections", fields.CONNECTIONS),
        ("files", fields.FILES),
        ("retired", fields.RETIRED),
    ):
        assert len(TABLES[table]) == len(every)


def test_every_column_of_the_wire_has_a_type_that_the_codec_knows() -> None:
    for columns in wire.TABLES.values():
        assert set(columns.values()) <= {"u1", "u2", "u4", "u8", "f8", "16s", "text"}


def test_every_counter_has_room_for_the_sum_of_a_range_of_the_past() -> None:
    counters = [field for _table, field in EVERY if field.kind == "counter"]
    assert {field.wire for field in counters} == {"u8"}


def test_bytes_and_calls_go_to_their_class_and_retransmissions_to_the_process() -> None:
    assert VALUES[:2] == ("rx_bytes", "tx_bytes")
    for code, name in enumerate(fields.CLASSES):
        into = [fields.COUNTERS[row] for row in ROWS[code]]
        assert tuple(into[:4]) == fields.counter_names(name)
        assert into[4:] == ["retransmitted_segments", "retransmitted_bytes"]


def test_the_curves_are_of_what_the_network_and_storage_move() -> None:
    assert (
        *("net_rx_bytes_per_s", "net_tx_bytes_per_s"),
        *("file_read_bytes_per_s", "file_write_bytes_per_s"),
    ) == fields.HISTORY
    assert set(fields.HISTORY) <= set(fields.RATES)
