"""Shows a message in every form that the client has, and checks that each is well formed."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any, NoReturn

import client_messages
import hostile
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tui_driver import Driver

from pbmon_client.data import model
from pbmon_client.data.stream import Stream
from pbmon_client.export.otlp import metrics_data
from pbmon_client.metrics.families import measured
from pbmon_client.metrics.meter import Meter, MeterOptions
from pbmon_client.output import csvout, jsonout, once, table
from pbmon_client.present.views import VIEWS
from pbmon_client.web import api, screen
from pbmon_client.web.desk import Desk
from pbmon_client.web.json_text import written
from pbmon_client.web.metrics import exposition
from pbmon_client.web.past import When
from pbmon_client.web.wishes import read as read_wish
from pbmond import wire
from pbmond.fields import HISTORY

EVERYTHING = model.Selection(flows=True)


def world() -> wire.Message:
    """Make a message with rows of every kind."""
    processes = [
        client_messages.process(7, cmdline=b"worker\0-v\0", unit=b"web.service", net_rx_bytes=5),
        client_messages.process(8, b"other", state=1, exited_ns=9, container=b"docker:0"),
        client_messages.process(9, b"third", ppid=7, container=b"docker:0", pod=b"p"),
    ]
    address = b"\xc0\x00\x02\x01" + bytes(12)
    ends = {"local": address, "remote": address, "remote_port": 443}
    connections = [
        client_messages.flow(7, family=2, type=1, protocol=6, rx_bytes=5, **ends),
        client_messages.flow(8, family=10, type=1, protocol=6, tx_bytes=5, **ends),
        client_messages.flow(
            9, family=1, type=1, local_name=b"\0abstract", remote_name=b"/run/s", **{"class": 2}
        ),
    ]
    files = [client_messages.flow(7, path=b"/srv/a", device=254 << 20, inode=3, **{"class": 4})]
    host = client_messages.coverage(
        interfaces=[client_messages.interface(b"eth0")], disks=[client_messages.disk(b"vda")]
    )
    return client_messages.message(
        processes,
        connections,
        files,
        [{"unit": b"old.service", "uid": 1000, "processes": 3}],
        coverage=host,
        seq=5,
        health=client_messages.HEALTH | {"began_ns": 1, "lost": {"events": 2}},
        history={name: [None, 1.5, 2.0] for name in HISTORY},
    )


HONEST = world()
#: What comes a second later, to be changed.
LATER = replace(HONEST, seq=6, time_ns=HONEST.time_ns + 10**9, now_ns=HONEST.now_ns + 10**9)


def show(frame: bytes) -> None:
    """Show what a frame says, between two honest messages, everywhere; WireError if it is none."""
    decoded = wire.decode(frame)[1]
    stream = Stream(EVERYTHING, 1000, str)
    stream.take(client_messages.received(HONEST), "all", 1.0)
    found = [
        stream.take(decoded, "all", 1.0),
        model.snapshot_of(decoded, EVERYTHING, 0, "own", str),
    ]
    assert 0 < stream.patience_s < 4 * 3600
    for snapshot in found:
        if snapshot is not None:
            _printed(snapshot)
            _metrics(snapshot)
            _web(snapshot)
    _terminal(decoded)


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"JSON has no {name}")


def strict(text: str | bytes) -> Any:
    """Read JSON as others do: without NaN and Infinity."""
    return json.loads(text, parse_constant=_no_constant)


def _printed(snapshot: model.Snapshot) -> None:
    for row_a_line in (False, True):
        assert strict(jsonout.render(snapshot, row_a_line=row_a_line))["schema"] == wire.SCHEMA
    writer = csvout.Writer(flows=True)
    for line in csv.reader(io.StringIO(writer.render(snapshot).decode())):
        assert len(line) == len(writer.fields)
        for cell in line:
            assert cell.isprintable()
            assert not cell.startswith(("=", "+", "@"))
            assert not cell.startswith("-") or math.isfinite(float(cell))
    drawn = [
        table.render(snapshot, 80),
        *(once.render(snapshot, v.name, EVERYTHING, 90) for v in VIEWS),
    ]
    for text in drawn:
        assert all(line.isprintable() for line in text.split("\n"))


def _metrics(snapshot: model.Snapshot) -> None:
    meter = Meter(MeterOptions())
    for each in (model.snapshot_of(HONEST, EVERYTHING, 0, "all", str), snapshot):
        meter.take(each)
    families = measured(meter, snapshot, "1")
    list(text_string_to_metric_families(exposition(families, is_open=False).decode()))
    read: Any = openmetrics.text_string_to_metric_families  # has no types
    list(read(exposition(families, is_open=True).decode()))
    data = metrics_data(families, snapshot.host, "1", snapshot.message.time_ns)
    assert encode_metrics(data).SerializeToString()


def _web(snapshot: model.Snapshot) -> None:
    strict(api._overview(snapshot, When(0, remarks=('a "remark"',))))
    strict(api._health(snapshot))
    for row in range(min(3, len(snapshot.processes))):
        strict(api._process(snapshot, row))
        strict(json.dumps(api._row(snapshot, row)))
    strict(json.dumps(screen.history_message(snapshot, None)))
    desk = Desk()
    for view in VIEWS:
        wish = read_wish(json.dumps({"wish": 1, "view": view.name}))
        strict(written(screen.view_message(desk, snapshot, wish)))


def _terminal(decoded: wire.Message) -> None:
    driver = Driver(100, 30)
    driver.receive(HONEST)
    if decoded.seq > HONEST.seq or decoded.epoch != HONEST.epoch:
        driver.take(decoded)
    else:
        driver = Driver(100, 30)
        driver.take(decoded)
    for key in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "enter", "esc", "1", "enter", "h"):
        driver.type(key)
        if driver.app.request().pid is not None:
            driver.take_detail(decoded)
        assert all(line.isprintable() for line in driver.lines())


def in_hostile_places(name: bytes) -> bytes:
    """Return the frame of an honest message in which every text of the kernel's is ``name``."""
    body = hostile.body_of(LATER)
    for kind, schema in wire.TABLES.items():
        for column, code in schema.items():
            if code == "text":
                body[kind][column] = hostile.packed_names([name] * body[kind]["length"])
    for part in ("interfaces", "disks"):
        body["coverage"][part][0]["name"] = name
    text = name.decode("utf-8", "replace")[:250]
    body["host"] = text
    body["health"] |= {"reasons": [text], "unseen": [text], "status": text, "lost": {text: 1}}
    body["health"] |= {
        "modes": {text: text},
        "maps": {text: {"used": 1, "capacity": 1}},
        text: text,
    }
    return hostile.frame_of(body)
