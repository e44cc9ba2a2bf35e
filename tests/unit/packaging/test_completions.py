"""The completions in the shells that they are for: what is offered is what the commands take."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pbmond.fields import FIELDS
from pbmond.patience import patient
from tests.commands import COMMANDS, Command

PLACE = Path(__file__).parents[3] / "packaging/completions"
EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed: packaging/check does it"
    )


def typed(command: Command, rest: str) -> str:
    return " ".join(filter(None, (command.program, *command.words, rest)))


def long_flags(command: Command) -> set[str]:
    return {flag for option in command.options for flag in option.flags if flag.startswith("--")}


# --- fish -----------------------------------------------------------------------------------------


def offered_by_fish(program: str, line: str) -> list[str]:
    script = f"source '{PLACE / program}.fish'; complete --do-complete '{line}'"
    ran = subprocess.run(
        ["fish", "--no-config", "-c", script], check=True, capture_output=True, text=True
    )
    assert ran.stderr == ""
    return [each.split("\t")[0] for each in ran.stdout.splitlines()]


@needs("fish")
@EVERY_COMMAND
def test_fish_offers_exactly_the_options(command: Command) -> None:
    assert {*offered_by_fish(command.program, typed(command, "--"))} == long_flags(command)


@needs("fish")
def test_fish_offers_commands_fields_and_choices() -> None:
    assert {"probes", "selftest"} <= {*offered_by_fish("pbmond", "pbmond ")}
    assert {*offered_by_fish("pbmon-client", "pbmon-client --sort ")} == FIELDS.keys()
    levels = offered_by_fish("pbmond", "pbmond --log-level ")
    assert {*levels} == {"debug", "info", "warning", "error"}


@needs("fish")
def test_fish_tells_a_command_from_one_of_the_same_name_below_another() -> None:
    below = {*offered_by_fish("pbmon-client", "pbmon-client history ")}
    assert {"export", "import", "serve"} <= below
    assert "web" not in below
    assert "export" not in {*offered_by_fish("pbmon-client", "pbmon-client history export ")}
    above = {*offered_by_fish("pbmon-client", "pbmon-client ")}
    assert {"web", "export", "record", "history"} <= above
    assert not {"import", "serve"} & above


@needs("fish")
def test_fish_offers_files_where_the_command_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "night.pbmon").touch()
    monkeypatch.chdir(tmp_path)
    for line in ("export n", "import n", "import night.pbmon n", "export --history n"):
        assert offered_by_fish("pbmon-client", f"pbmon-client history {line}") == ["night.pbmon"]
    assert "night.pbmon" not in offered_by_fish("pbmon-client", "pbmon-client history n")


# --- zsh ------------------------------------------------------------------------------------------


class Zsh:
    """An interactive zsh with the completions, typed at as a user does."""

    def __init__(self, home: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=home,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "200"},
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        setup = (
            f"unsetopt zle_bracketed_paste; fpath=({PLACE} $fpath); autoload -Uz compinit; "
            "compinit -u -D; LISTMAX=100000; PS1=ready'> '\n"
        )
        os.write(self._ours, setup.encode())
        self._until("ready> ")

    def _until(self, pattern: str) -> str:
        seen, end = "", time.monotonic() + patient(30)
        while not re.search(pattern, seen, re.DOTALL):
            assert time.monotonic() < end, seen
            if select.select([self._ours], [], [], 0.2)[0]:
                seen += os.read(self._ours, 65536).decode(errors="replace")
        return seen

    def offers(self, line: str) -> set[str]:
        """Return the options in the list that zsh shows for a line."""
        os.write(self._ours, line.encode() + b"\x04")  # lists what could stand there
        os.write(self._ours, b"\x15" + f"echo e''nd{len(line)}\n".encode())
        # Up to the next prompt: what is typed before it would be the terminal's to edit.
        listed = self._until(f"end{len(line)}.*ready> ")
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", listed))

    def close(self) -> None:
        """End the shell."""
        os.close(self._ours)
        self._process.wait(patient(30))


@needs("zsh")
def test_zsh_offers_exactly_the_options(tmp_path: Path) -> None:
    shell = Zsh(tmp_path)
    try:
        for command in COMMANDS:
            listed = shell.offers(typed(command, "--"))
            mentioned = re.findall(r"--[a-z-]+", " ".join(each.help for each in command.options))
            assert listed >= long_flags(command), command.name
            assert listed <= long_flags(command) | {*mentioned}, command.name
    finally:
        shell.close()
