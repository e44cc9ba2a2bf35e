"""What the clipboard gets, and which terminals get nothing."""

from __future__ import annotations

import base64

import pytest

from pbmon_client.tui import clipboard


@pytest.mark.parametrize("text", ["a", "\x1b]0;title\a", "f\udcff", "ö" * 5000])
def test_no_character_of_the_text_reaches_the_terminal_as_a_command(text: str) -> None:
    sent = clipboard.sequence(text, "xterm-256color")
    assert sent[:7] == "\x1b]52;c;"
    assert sent[-1] == "\a"
    assert base64.b64decode(sent[7:-1], validate=True) == text.encode("utf-8", "replace")


@pytest.mark.parametrize("term", ["linux", "linux-16color", "dumb", "fbterm"])
def test_a_terminal_without_clipboard_gets_nothing(term: str) -> None:
    assert clipboard.sequence("a", term) == ""
