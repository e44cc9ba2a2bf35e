"""What a child says reaches the log escaped, in lines of a bounded length, and not often."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pbmond.children.stderr import LINE_CHARACTERS, LINES, WINDOW_NS, Budget, ErrorPipe

SECOND = 1_000_000_000


@pytest.fixture
def pipe(caplog: pytest.LogCaptureFixture) -> Iterator[ErrorPipe]:
    caplog.set_level(logging.INFO)
    made = ErrorPipe("publisher", logging.getLogger("test"), Budget())
    yield made
    with suppress(OSError):
        made.given()
    with suppress(OSError):
        made.close(0)


def say(pipe: ErrorPipe, text: bytes) -> None:
    os.write(pipe.childs, text)


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        (b"plain\n", "plain"),
        ("größer\n".encode(), "größer"),
        (b"\x1b[2Jred\n", r"\x1b[2Jred"),
        (b"\xff\xfe\n", r"\xff\xfe"),
        (b"a\rb\n", r"a\rb"),
        ("\u202etxt\n".encode(), r"\u202etxt"),
        (b"\n", ""),
    ],
)
def test_a_line_is_named_and_escaped(
    pipe: ErrorPipe, caplog: pytest.LogCaptureFixture, said: bytes, logged: str
) -> None:
    say(pipe, said)
    pipe.take(0)
    assert caplog.messages == [f"the publisher says: {logged}"]


def test_a_line_without_an_end_waits_for_it_or_for_the_childs(
    pipe: ErrorPipe, caplog: pytest.LogCaptureFixture
) -> None:
    say(pipe, b"half")
    pipe.take(0)
    assert caplog.messages == []
    say(pipe, b" and half\nthe rest")
    pipe.take(0)
    pipe.given()
    pipe.close(0)
    assert caplog.messages == [
        "the publisher says: half and half",
        "the publisher says: the rest",
    ]


def test_a_long_line_is_cut(pipe: ErrorPipe, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        say(pipe, b"x" * 5000)
        pipe.take(0)
    say(pipe, b"\n")
    pipe.take(0)
    assert caplog.messages == [f"the publisher says: {'x' * LINE_CHARACTERS}…"]


def test_a_flood_is_a_few_lines_and_one_more_and_then_it_may_speak_again(
    pipe: ErrorPipe, caplog: pytest.LogCaptureFixture
) -> None:
    for at in range(100):
        say(pipe, b"line\n" * 500)
        pipe.take(at * SECOND // 100)
    assert len(caplog.messages) == LINES + 1
    assert caplog.messages[-1] == "the publisher says more than is logged"
    say(pipe, b"later\n")
    pipe.take(2 * WINDOW_NS)
    assert caplog.messages[-1] == "the publisher says: later"


def test_a_child_that_fills_the_pipe_is_not_waited_for_and_does_not_wait(pipe: ErrorPipe) -> None:
    with suppress(BlockingIOError):
        while True:
            say(pipe, b"x" * 4096)
    pipe.take(0)
    say(pipe, b"there is room again")
