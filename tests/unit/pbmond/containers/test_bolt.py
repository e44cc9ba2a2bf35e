"""Values of bbolt files are found, and any other bytes are refused."""

from __future__ import annotations

import tempfile
from contextlib import suppress

import pytest
from bolt_file import bolt_file
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond.containers.bolt import Bolt, BoltError

TREE = {
    b"containers": {b"%03d" % number: {b"name": b"web-%d" % number} for number in range(300)},
    b"version": b"4",
    b"long": b"x" * 10_000,
}


def found(data: bytes, *path: bytes) -> bytes | None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return Bolt(file.fileno()).get(*path)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("fan_out", [7, 1000])
def test_values_are_found_in_leaves_branches_long_pages_and_in_place(
    fan_out: int, inline: bool
) -> None:
    data = bolt_file(TREE, fan_out=fan_out, inline=inline)
    assert found(data, b"version") == b"4"
    assert found(data, b"long") == b"x" * 10_000
    for number in (0, 6, 7, 150, 299):
        name = found(data, b"containers", b"%03d" % number, b"name")
        assert name == b"web-%d" % number


@pytest.mark.parametrize(
    "path",
    [(b"",), (b"zzz",), (b"containers",), (b"version", b"x"), (b"containers", b"300", b"name")],
)
def test_what_is_not_there_and_what_is_no_value_is_none(path: tuple[bytes, ...]) -> None:
    assert found(bolt_file(TREE, fan_out=7), *path) is None


def test_a_tree_that_leads_back_to_itself_is_refused() -> None:
    data = bytearray(bolt_file({b"%02d" % n: b"" for n in range(20)}, fan_out=5))
    root = int.from_bytes(data[16 + 16 : 16 + 24], "little")
    for at in range(4):  # every branch leads to the root
        place = root * 4096 + 16 + 16 * at + 8
        data[place : place + 8] = root.to_bytes(8, "little")
    with pytest.raises(BoltError):
        found(bytes(data), b"03")


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 5 * 4096), st.integers(0, 5 * 4096))
def test_damaged_files_are_refused_and_nothing_else_happens(
    noise: bytes, at: int, size: int
) -> None:
    data = bytearray(bolt_file(TREE, fan_out=7))
    data[at : at + len(noise)] = noise
    with suppress(BoltError):
        found(bytes(data[: len(data) - size]), b"containers", b"006", b"name")
