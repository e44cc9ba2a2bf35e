"""What the daemon writes for people: one line, whatever names are in it."""

from __future__ import annotations

import logging
import sys

import hostile
import pytest

from pbmond.system.one_line import OneLineFormatter, one_line


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: ascii(name[:12]))
@pytest.mark.parametrize("how", ["replace", "surrogateescape", "backslashreplace"])
def test_a_hostile_name_is_one_printable_line(name: bytes, how: str) -> None:
    text = name.decode("utf-8", how)
    shown = one_line(f"container {text} is gone")
    assert shown.isprintable()
    shown.encode()


def test_printable_text_stays_as_it_is() -> None:
    assert one_line("größe 中文 'quoted' \\ back") == "größe 中文 'quoted' \\ back"


def test_a_message_is_one_line_and_a_traceback_has_nothing_to_obey() -> None:
    try:
        raise ValueError("evil\x1b[2J\u202e")
    except ValueError:
        record = logging.LogRecord("x", 20, "f", 1, "unit %s", ("a\nb\x1b",), sys.exc_info())
    first, *rest = OneLineFormatter("%(message)s").format(record).split("\n")
    assert first == r"unit a\nb\x1b"
    assert rest[0] == "Traceback (most recent call last):"
    assert all(line.isprintable() for line in rest)
