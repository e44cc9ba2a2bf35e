"""What the client reads: frames of any publisher, names from the kernel, filters, its settings."""

from __future__ import annotations

import json
import random
import struct
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import client_messages as make
import every_output
import hostile
import msgpack

from pbmon_client.data import filters, text
from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.history.source import PastError, open_past
from pbmon_client.output import jsonout
from pbmon_client.tui.session import settings
from pbmond import wire
from pbmond.wire import Message, Topic, WireError
from tests import past_host
from tests.fuzz import bundles
from tests.fuzz.targets import Target

# --- frames -------------------------------------------------------------------------------------


def check_frame(frame: bytes) -> None:
    """A frame is refused by WireError, or can be shown whole, as valid JSON."""
    with suppress(WireError):
        _, message = wire.decode(frame)
        shown = snapshot_of(message, Selection(), 1000, "own", str)
        decoded = json.loads(jsonout.render(shown, row_a_line=True))
        assert decoded["schema"] == wire.SCHEMA


def frame_seeds() -> Iterator[bytes]:
    """Yield frames of every kind of topic."""
    yield wire.encode(Topic(None, "processes"), replace(_world(), connections=None, files=None))
    yield wire.encode(Topic(1000, "flows"), _world())
    yield wire.encode(Topic(None, "flows", 7), _world())


def check_value(data: bytes) -> None:
    """Any value of msgpack's, anywhere in a valid frame, is refused or can be shown.

    The first two bytes say where; what follows is the value, packed.
    """
    body = msgpack.unpackb(_BODY, raw=False)
    places = list(_places(body))
    if len(data) < 2:
        return
    frame = None
    holder, key = places[struct.unpack_from("<H", data)[0] % len(places)]
    with suppress(ValueError, TypeError, msgpack.UnpackException):  # not msgpack, or no key
        holder[key] = msgpack.unpackb(data[2:], raw=False, strict_map_key=False)
        frame = b"all/flows\0" + msgpack.packb(body, use_bin_type=True)
    if frame is not None:
        check_frame(frame)


def value_seeds() -> Iterator[bytes]:
    """Yield values of every type."""
    values: tuple[Any, ...] = (
        None,
        True,
        -1,
        2**64 - 1,
        0.5,
        float("nan"),
        "a\x1b",
        b"\xff",
        [],
        [b"x"],
        {},
        {1: 2},
    )
    for place, value in enumerate(values):
        yield struct.pack("<H", place) + msgpack.packb(value)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value within a map or list."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def _world() -> Message:
    processes = [
        make.process(7, cmdline=b"worker\0-v\0", unit=b"web.service", net_rx_bytes=5),
        make.process(8, b"\xff\x1b[31m", state=1, exited_ns=9, container=b"docker:0"),
    ]
    address = b"\xc0\x00\x02\x01" + bytes(12)
    connections = [
        make.flow(7, family=2, type=1, protocol=6, local=address, remote=address, rx_bytes=5),
        make.flow(
            8, family=1, type=1, local_name=b"\0abstract", remote_name=b"/run/s", **{"class": 2}
        ),
    ]
    files = [make.flow(7, path=b"/srv/\xff", device=254 << 20, inode=3, **{"class": 4})]
    coverage = make.coverage(interfaces=[make.interface(b"eth0")], disks=[make.disk(b"vda")])
    return make.message(processes, connections, files, coverage=coverage)


_RECEIVED: Final = make.received(_world())
_BODY: Final = wire.encode(Topic(None, "flows"), _world()).partition(b"\0")[2]


def check_outputs(data: bytes) -> None:
    """A message changed in any places is refused, or is well formed in every output.

    The bytes choose places and values.
    """
    body = hostile.body_of(every_output.LATER)
    hostile.changed(body, random.Random(data))
    with suppress(WireError):
        every_output.show(hostile.frame_of(body))


def outputs_seeds() -> Iterator[bytes]:
    """Yield some choices."""
    yield b"0"


# --- names --------------------------------------------------------------------------------------


def check_text(data: bytes) -> None:
    """Whatever a name holds, one line of printable text comes of it, and fits where it must."""
    for safe in (text.safe(data), text.safe_cmdline(data)):
        assert safe.isprintable()
        for cells in (1, 8):
            assert text.width(text.fit(safe, cells)) == cells
            assert text.width(text.fit(safe, cells, keep_end=True)) == cells


def text_seeds() -> Iterator[bytes]:
    """Yield names that terminals and people misread."""
    yield b"nginx\0-g\0daemon off;\0"
    yield "\u202eevil\u0301\u4e2d\u6587\U0001f600".encode()
    yield b"\x1b]0;title\x07\xc3\x28\xed\xa0\x80"


# --- filters ------------------------------------------------------------------------------------


def check_filter(data: bytes) -> None:
    """An expression is refused with a caret, or answers for each row, and not(x) the reverse."""
    expression = data.decode("utf-8", "replace")
    try:
        parsed = filters.parse(expression)
        negated = filters.parse(f"not ({expression})")
    except filters.FilterError as error:
        problem, _, caret = str(error).rpartition("\n")
        held = problem.startswith("filter: ") and set(caret) <= {" ", "^"}
        assert held, problem
        return
    shown = snapshot_of(_RECEIVED, Selection(), 1000, "own", str)
    for rows in (shown.processes, shown.connections, shown.files):
        assert rows is not None
        yes, no = parsed.evaluate(rows.values, len(rows))
        assert len(yes) == len(no) == len(rows)
        assert not any(both for both in zip(yes, no, strict=True) if all(both))
        assert tuple(negated.evaluate(rows.values, len(rows))) == (no, yes)


def filter_seeds() -> Iterator[bytes]:
    """Yield expressions that together use the whole grammar."""
    yield b"name = nginx and (net_tx_bytes_per_s > 1.5MiB or remote_address in 192.0.2.0/24)"
    yield b"not user in (root, 'back up') OR path ~ ^/srv/ or open != null"
    yield b'state = running and class = net and local_address = ::1 and name ~ "a|[b-c]+"'
    yield b"exited_ns = null or rx_bytes <= 2kB/s and pid >= 1"


# --- settings -----------------------------------------------------------------------------------


def check_settings(data: bytes) -> None:
    """A text is refused as ``load`` expects, or is kept: written and read again it is the same."""
    with suppress(ValueError, RecursionError):
        made = settings._read(tomllib.loads(data.decode("utf-8", "replace")))
        assert settings._read(tomllib.loads(settings.write(made))) == made


def settings_seeds() -> Iterator[bytes]:
    """Yield the defaults as they are written, and others."""
    yield settings.write(settings.Settings()).encode()
    yield b'theme = "light"\nseen = ["\\u0000", "\\""]\n[hidden]\nclasses = ["pipe"]\n'
    yield b'[sort]\nprocesses = "-pid"\n[hidden]\nprocesses = ["uid"]\n'


# --- bundles of the past ------------------------------------------------------------------------


def check_bundle(data: bytes) -> None:
    """A bundle is refused, or can be shown whole; a section of any content is told to be missing.

    Checksums are made right, or nothing would get through: the first byte says which block's
    section is replaced by the rest.
    """
    with tempfile.TemporaryDirectory(prefix="pbmon-bundle-") as name:
        file = Path(name, "bundle")
        for content in (data, bundles.with_section(data[:1], data[1:])):
            file.write_bytes(content)
            with suppress(PastError):
                past = open_past(file)
                message = past.message(past_host.MONDAY - 10, past_host.MONDAY + 7200)
                shown = snapshot_of(message, Selection(flows=True), 1000, "all", str)
                json.loads(jsonout.render(shown, row_a_line=True))
                past.series(past_host.MONDAY, past_host.MONDAY + 60, 1)
                past.kept()


def bundle_seeds() -> Iterator[bytes]:
    """Yield a bundle, and its sections."""
    yield bundles.whole()
    for number, raw in enumerate(bundles.sections()):
        yield bytes([number]) + raw


TARGETS: Final = (
    Target("bundle", check_bundle, bundle_seeds),
    Target("wire", check_frame, frame_seeds),
    Target("wire-values", check_value, value_seeds),
    Target("outputs", check_outputs, outputs_seeds),
    Target("text", check_text, text_seeds),
    Target("filter", check_filter, filter_seeds),
    Target("settings", check_settings, settings_seeds),
)
