"""The C header and the Python types describe the same bytes."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from pbmond.fields import CLASSES
from pbmond.kernel import events
from pbmond.kernel.attach import TABLE_SIZES
from pbmond.kernel.maps import LOST, TABLES, slot_type
from pbmond.kernel.records import (
    COUNTER,
    FILE_KEY,
    FLAG_ACCEPTED,
    FLAG_CONNECTED,
    FLAG_OPENED,
    FLAG_OTHER_DEVICE,
    FLAG_OWNER,
    FLAG_UNLINKED,
    FLAG_UNPLACED,
    FLOW_KEY,
    OVERFLOW_KEY,
)

HEADER = (Path(__file__).parents[4] / "bpf" / "pbmon.h").read_text()
_SIZES = {"__u8": 1, "__u16": 2, "__u32": 4, "__u64": 8, "char": 1}
#: C calls them by the kernel's name, Python by the user's.
_RENAMED = {"tgid": "pid"}


def fields(name: str) -> tuple[dict[str, tuple[int, int]], int]:
    """Return {field: (offset, size)} of a C struct, and its size, by the rules of the ABI."""
    (body,) = re.findall(rf"^struct {name} {{\n(.*?)^}};", HEADER, re.MULTILINE | re.DOTALL)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    found: dict[str, tuple[int, int]] = {}
    at = widest = 0
    for kind, names in re.findall(r"^\s*((?:struct )?\w+) (.*?);", body, re.MULTILINE):
        if kind.startswith("struct "):
            inner, size = fields(kind.removeprefix("struct "))
            align = 8
            assert inner
        else:
            size = align = _SIZES[kind]
        for declared in names.split(","):
            field, _, count = declared.strip().rstrip("]").partition("[")
            at = -(-at // align) * align
            found[_RENAMED.get(field, field)] = (at, size * int(count or 1))
            at += size * int(count or 1)
        widest = max(widest, align)
    return found, -(-at // widest) * widest


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flow_key", FLOW_KEY),
        ("file_key", FILE_KEY),
        ("overflow_key", OVERFLOW_KEY),
        ("counter", COUNTER),
    ],
)
def test_a_numpy_type_has_the_fields_of_its_struct(name: str, kind: np.dtype[np.void]) -> None:
    described = {
        field: (offset, each.itemsize) for field, (each, offset, *_) in (kind.fields or {}).items()
    }
    assert (described, kind.itemsize) == fields(name)


@pytest.mark.parametrize("table", TABLES)
def test_the_loader_gets_the_sizes_of_keys_and_slots(table: str) -> None:
    key = TABLES[table]
    assert TABLE_SIZES[table] == (key.itemsize, slot_type(key).itemsize)
    assert slot_type(key).itemsize == fields(f"{table}_slot")[1]


@pytest.mark.parametrize(
    ("name", "head", "rest"),
    [
        ("event", events.HEAD, None),
        ("name_event", events.HEAD, events.NAME),
        ("exit_event", events.HEAD, events.DISK),
        ("unix_event", events.HEAD, events.UNIX_NAMES),
    ],
)
def test_an_event_has_the_size_of_its_struct(
    name: str, head: struct.Struct, rest: struct.Struct | None
) -> None:
    assert fields(name)[1] == head.size + (rest.size if rest else 0)


def enumeration(name: str) -> dict[str, int]:
    (body,) = re.findall(rf"^enum {name} {{\n(.*?)^}};", HEADER, re.MULTILINE | re.DOTALL)
    numbers: dict[str, int] = {}
    for label, value in re.findall(r"^\t(\w+)(?: = (\d+))?,", body, re.MULTILINE):
        numbers[label] = int(value) if value else len(numbers)
    return numbers


def test_classes_have_their_numbers() -> None:
    assert enumeration("pbmon_class") == {
        f"CLASS_{name.upper()}": number for number, name in enumerate(CLASSES)
    }


def test_flags_have_their_bits() -> None:
    assert enumeration("pbmon_flag") == {
        "FLAG_ACCEPTED": FLAG_ACCEPTED,
        "FLAG_UNLINKED": FLAG_UNLINKED,
        "FLAG_CONNECTED": FLAG_CONNECTED,
        "FLAG_OPENED": FLAG_OPENED,
        "FLAG_OWNER": FLAG_OWNER,
        "FLAG_UNPLACED": FLAG_UNPLACED,
        "FLAG_OTHER_DEVICE": FLAG_OTHER_DEVICE,
    }


def test_every_loss_has_a_name() -> None:
    assert enumeration("pbmon_lost")["LOST_COUNT"] == len(LOST)


def test_events_have_their_numbers() -> None:
    assert enumeration("pbmon_event") == {
        "EVENT_PROCESS": events.PROCESS,
        "EVENT_EXIT": events.EXIT,
        "EVENT_FILE": events.FILE,
        "EVENT_UNIX": events.UNIX,
        "EVENT_SLOTS": events.SLOTS,
    }
