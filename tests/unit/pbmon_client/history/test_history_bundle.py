"""A bundle has its range to the byte, no names if asked, and does no harm whoever made it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from pbmon_client.history.block import HEADER_BYTES
from pbmon_client.history.buckets import Tick
from pbmon_client.history.bundle import BUNDLE_HEADER_BYTES, BundleHeader
from pbmon_client.history.exporting import NothingError, export, unpack_bundle
from pbmon_client.history.layout import LAYOUTS, KeptRow
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.past import Past
from pbmon_client.history.source import PastError, open_past
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make
from tests.past_host import sums_of, sums_of_ticks

SECOND = make.SECOND
BEGAN = make.MONDAY + 3 * 3600
SECONDS = 1300


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    chance = np.random.default_rng(5)
    return [make.random_tick(chance, (BEGAN + at) * SECOND) for at in range(SECONDS)]


@pytest.fixture(scope="module")
def store(ticks: list[Tick], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("store")
    with HistoryWriter(directory, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)
    return directory


@pytest.mark.parametrize("redact", [False, True])
@pytest.mark.parametrize("span", [(0, 5000), (55, 731), (600, 601), (1290, 1300)])
def test_a_bundle_and_what_is_made_of_it_have_exactly_their_range(
    store: Path, ticks: list[Tick], tmp_path: Path, span: tuple[int, int], redact: bool
) -> None:
    since, until = span
    file = tmp_path / "bundle"
    export(store, file, BEGAN + since, BEGAN + until, redact=redact)
    assert file.stat().st_mode & 0o777 == 0o600
    unpack_bundle(file, tmp_path / "made")
    wanted = sums_of_ticks(ticks, BEGAN + since, BEGAN + until)
    for place in (file, tmp_path / "made"):
        past = open_past(place)
        assert sums_of(past.message(BEGAN - 9000, BEGAN + 9000)) == wanted
        middle = (since + min(until, SECONDS)) // 2
        half = past.message(BEGAN + middle, BEGAN + 9000)
        assert sums_of(half) == sums_of_ticks(ticks, BEGAN + middle, BEGAN + until)
        assert not past.kept().missing


def test_a_redacted_bundle_has_no_name_and_its_rows_still_join(
    store: Path, ticks: list[Tick], tmp_path: Path
) -> None:
    export(store, tmp_path / "plain")
    export(store, tmp_path / "bundle", redact=True)
    texts = {
        text
        for tick in ticks
        for moved in tick.tables.values()
        for column in moved.rows.texts
        for text in moved.rows.column(column)
    }
    # An address of few bytes that are not 0 may be a number's bytes as well.
    names = {each for each in texts if each is not None and each[-4:] != bytes(4)}
    before = inflated(tmp_path / "plain")
    assert all(name in before for name in names)
    content = inflated(tmp_path / "bundle")
    assert not [name for name in names if name in content]
    plain, redacted = (
        Past(tmp_path / name).message(BEGAN, BEGAN + SECONDS) for name in ("plain", "bundle")
    )
    assert redacted.host.startswith("host-")
    for column in ("unit", "name", "uid", "cmdline"):
        originals = {*plain.processes.columns[column]}
        assert len({*redacted.processes.columns[column]}) == len(originals)
    assert plain.connections is not None
    assert redacted.connections is not None
    for column in ("local", "remote"):
        originals = {*plain.connections.columns[column]}
        pseudonyms = {*redacted.connections.columns[column]}
        assert len(originals) == len(pseudonyms)
        assert originals & pseudonyms <= {bytes(16)}  # the unspecified address is everybody's
    owners = {*zip(redacted.processes.columns["pid"], redacted.processes.columns["start_ns"],
                   strict=True)}  # fmt: skip
    for table in (redacted.connections, redacted.files):
        assert table is not None
        assert {*zip(table.columns["pid"], table.columns["start_ns"], strict=True)} <= owners


#: Addresses by family: IPv4, IPv6, and IPv4 that is written as IPv6.
ADDRESSES = (
    (2, bytes([203, 0, 113, 77]) + bytes(12)),
    (10, bytes.fromhex("fd00c0ffee00000a5ec4e7a11ce5b0b5")),
    (10, bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 88])),
)


def secret_rows(second: int) -> dict[str, list[KeptRow]]:
    """Return rows with a secret in every text, of which each table, column and row has its own."""
    rows: dict[str, list[KeptRow]] = {}
    for table, layout in LAYOUTS.items():
        rows[table] = []
        for number, (family, address) in enumerate(ADDRESSES):
            known: dict[str, Any] = {
                name: b"secret/%s.%s.%d" % (table.encode(), name.encode(), number)
                for name in layout.texts
            }
            known |= {"pid": 9 + number, "start_ns": second + number, "uid": 61_000 + number}
            if table == "connections":
                known |= {"local": address, "remote": address[::-1], "family": family}
            rows[table].append(make.row(table, **known))
    return rows


def test_no_section_of_a_redacted_bundle_has_a_secret_of_the_original(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "store", sync=False) as writer:
        for second in range(SECONDS):
            rows = secret_rows(second // 100)
            moved = {
                table: np.ones((len(some), len(LAYOUTS[table].counters)), np.int64)
                for table, some in rows.items()
            }
            tick = make.tick((BEGAN + second) * SECOND, rows, moved, epoch="secret-epoch")
            writer.tick(replace(tick, host="secret-host", boot_id="secret-boot"))
    for name in ("plain", "redacted"):
        export(tmp_path / "store", tmp_path / name, redact=name == "redacted")
    texts = {b"secret-epoch", b"secret-host", b"secret-boot"} | {
        value for some in secret_rows(0).values() for row in some for value in row
        if isinstance(value, bytes) and any(value)
    }  # fmt: skip
    assert len(texts) == 3 + len(ADDRESSES) * sum(len(each.texts) for each in LAYOUTS.values())
    before, after = (inflated(tmp_path / name) for name in ("plain", "redacted"))
    assert not [text for text in texts if text not in before]
    assert not [text for text in texts if text in after]
    assert b"secret" not in (tmp_path / "redacted").read_bytes() + after
    past = Past(tmp_path / "redacted")
    assert all(tier.span for tier in past.kept().tiers[:2])
    users = past.message(BEGAN, BEGAN + SECONDS).processes.columns["uid"]
    assert min(users) > 4_000_000_000


def inflated(file: Path) -> bytes:
    """Return every zlib stream of a file, inflated, and what is between."""
    data, found, at = file.read_bytes(), [], 0
    while at < len(data):
        inflater = zlib.decompressobj()
        try:
            found.append(inflater.decompress(data[at:]))
        except zlib.error:
            found.append(data[at : at + 1])
            at += 1
            continue
        whole = inflater.eof
        at = len(data) - len(inflater.unused_data) if whole else at + 1
    return b"".join(found)


def test_nothing_is_written_over_without_force(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle"
    file.write_text("mine")
    with pytest.raises(FileExistsError):
        export(store, file)
    assert file.read_text() == "mine"
    export(store, file, force=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError):
        unpack_bundle(file, tmp_path / "full")
    with pytest.raises(NothingError):
        export(store, tmp_path / "nothing", BEGAN + 5000, BEGAN + 6000)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bundle", "full"]


def test_what_is_no_bundle_is_said_in_a_line(store: Path, tmp_path: Path) -> None:
    export(store, tmp_path / "bundle", BEGAN, BEGAN + 70)
    whole = (tmp_path / "bundle").read_bytes()
    newer = bytearray(whole[: BUNDLE_HEADER_BYTES - 4])
    newer[4] = 2
    newer += zlib.crc32(newer).to_bytes(4, "little")
    for data, words in (
        (b"", "no bundle"),
        (b"something else entirely, and long enough for a header", "no bundle"),
        (whole[:-1], "not whole"),
        (whole + b"x", "not whole"),
        (bytes(newer) + whole[BUNDLE_HEADER_BYTES:], "newer version"),
        (BundleHeader(0, 1, 1 << 20, 0, redacted=False).packed(), "not sound"),
        (BundleHeader(0, 1, 5, 0, redacted=False).packed(), "damaged"),
    ):
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(PastError, match=words):
            open_past(tmp_path / "other")
        with pytest.raises(MalformedError, match=words):
            unpack_bundle(tmp_path / "other", tmp_path / "made")
        assert not (tmp_path / "made").exists()


def test_flipped_bits_of_a_bundle_are_refused_or_said(
    store: Path, ticks: list[Tick], tmp_path: Path
) -> None:
    export(store, tmp_path / "bundle", BEGAN, BEGAN + 130)
    whole = (tmp_path / "bundle").read_bytes()
    wanted = sums_of_ticks(ticks, BEGAN, BEGAN + 130)
    chance = random.Random(3)
    for _ in range(100):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "other").write_bytes(data)
        try:
            message = open_past(tmp_path / "other").message(BEGAN, BEGAN + 130)
        except PastError:
            continue
        assert message.health["reasons"] or sums_of(message) == wanted


def hostile(tmp_path: Path, tier: int, sections: dict[str, bytes], claims: dict[str, int]) -> Path:
    """Write a bundle of one block with these sections, inflated; ``claims``: inflated bytes."""
    packed = {name: zlib.compress(raw, 9) for name, raw in sections.items()}
    listed = msgpack.packb(
        {
            name: [len(data), claims.get(name, len(sections[name])), zlib.crc32(data)]
            for name, data in packed.items()
        }
    )
    body = b"".join(packed.values())
    head = struct.pack(
        "<4sHBxIIIqqQQqqqI",
        *(b"pbmH", 1, tier, 1, len(listed), len(body), BEGAN, BEGAN + 1, 1, 2),
        *((BEGAN - 1) * SECOND, BEGAN * SECOND, SECOND, zlib.crc32(listed)),
    )
    block = head + struct.pack("<I", zlib.crc32(head)) + listed + body
    header = BundleHeader(BEGAN, BEGAN + 1, 1, len(block), redacted=False)
    file = tmp_path / "hostile"
    file.write_bytes(header.packed() + block)
    return file


@pytest.mark.parametrize(
    ("raw", "claim"),
    [
        (bytes(200 << 20), 1000),  # inflates to more than it claims
        (b"\xdd" + (50 << 20).to_bytes(4, "big") + b"\x90" * (50 << 20), 0),  # 50 million lists
        (b"\xdf\xff\xff\xff\xff", 0),
        (b"\x91" * 100_000, 0),
    ],
)
def test_a_bomb_is_told_and_does_not_go_off(tmp_path: Path, raw: bytes, claim: int) -> None:
    file = hostile(tmp_path, 0, {"host": raw}, {"host": claim} if claim else {})
    message = open_past(file).message(BEGAN, BEGAN + 1)
    assert message.health["status"] == "incomplete"
    assert not message.processes.length


def test_a_bundle_that_says_it_inflates_to_too_much_is_refused(tmp_path: Path) -> None:
    file = hostile(tmp_path, 0, {"host": b"\x80"}, {"host": 1 << 40})
    with pytest.raises(PastError, match="inflates"):
        open_past(file)


@pytest.mark.parametrize(
    ("name", "is_linked"), [("tail", False), ("tail", True), ("0-01790316000.pbh", True)]
)
def test_what_is_no_file_in_a_history_is_said_and_not_waited_for(
    store: Path, tmp_path: Path, name: str, is_linked: bool
) -> None:
    """A directory may come from anybody, too: a FIFO in it would be waited for without end."""
    shutil.copytree(store, tmp_path / "store")
    place = tmp_path / "store" / name
    place.unlink(missing_ok=True)
    os.mkfifo(tmp_path / "fifo" if is_linked else place)
    if is_linked:
        place.symlink_to(tmp_path / "fifo")
    missing = [each.why for each in open_past(tmp_path / "store").kept().missing]
    assert missing == ([f"{'the tail' if name == 'tail' else name}: not a regular file"])


def test_a_tail_without_end_is_not_read(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    os.truncate(tmp_path / "store" / "tail", 1 << 40)
    (missing,) = open_past(tmp_path / "store").kept().missing
    assert missing.why.startswith("the tail: it has more than ")


def test_blocks_of_a_newer_version_are_said_to_be_missing_of_a_bundle_and_what_is_made_of_it(
    store: Path, tmp_path: Path
) -> None:
    export(store, tmp_path / "bundle", BEGAN, BEGAN + 70)
    data = bytearray((tmp_path / "bundle").read_bytes())
    head = data[BUNDLE_HEADER_BYTES : BUNDLE_HEADER_BYTES + HEADER_BYTES - 4]
    head[4] = 9
    head += zlib.crc32(head).to_bytes(4, "little")
    data[BUNDLE_HEADER_BYTES : BUNDLE_HEADER_BYTES + HEADER_BYTES] = head
    (tmp_path / "bundle").write_bytes(data)
    unpack_bundle(tmp_path / "bundle", tmp_path / "made")
    for place in (tmp_path / "bundle", tmp_path / "made"):
        assert any("newer version" in each.why for each in open_past(place).kept().missing)


def test_a_bundle_is_written_where_there_are_no_hard_links(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: object, **_named: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    export(store, tmp_path / "bundle")
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("call", ["pread", "write"])
def test_an_error_of_an_import_names_what_could_not_be_read_or_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    bundle, made = tmp_path / "bundle", tmp_path / "made"
    export(store, bundle)

    def fail(*_given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if call == "pread":
        monkeypatch.setattr(os, "pread", fail)
    else:
        monkeypatch.setattr("pbmon_client.history.exporting._append", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as told:
        unpack_bundle(bundle, made)
    assert told.value.filename == str(bundle if call == "pread" else made)
    assert [*tmp_path.iterdir()] == [bundle]
