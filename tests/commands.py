"""Every command of pbmon with its options, as its parser has them: for manual and completions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client import options as client
from pbmon_client.export import options as export
from pbmon_client.past import kept_options as history
from pbmon_client.past import serve_options as serve
from pbmon_client.record import options as record
from pbmon_client.web import options as web
from pbmond import cli as daemon
from pbmond.probes import cli as probes
from pbmond.selftest import cli as selftest

#: Options whose value is completed by more than their metavar says.
_VALUES: Final = {"--sort": "fields", "--only": "paths"}
_VALUES_OF_METAVARS: Final = {
    "FILE": "files", "PATH": "files", "DIR": "directories", "PID": "pids", "USER": "users",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    ``metavar`` None: it takes no value. ``values``: what its value is one of, "" if anything.
    ``excludes``: options that may not stand beside it. ``ends``: it prints something and exits.
    """

    flags: tuple[str, ...]
    metavar: str | None
    help: str
    group: str
    values: str
    choices: tuple[str, ...]
    excludes: tuple[str, ...]
    repeats: bool
    required: bool
    ends: bool

    @property
    def summary(self) -> str:
        """What it does, as far as a line in a shell's list holds it."""
        text = self.help
        for end in (" (", "; ", ". ", ": ", ", such as"):
            text = text.partition(end)[0]
        return text


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument that is no option; ``values`` is what it is one of."""

    metavar: str
    values: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program, or one of its commands, or one of theirs; without ``words`` the program itself."""

    program: str
    words: tuple[str, ...]
    about: str
    section: int
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """The name of its manual page."""
        return "-".join((self.program, *self.words))

    @property
    def commands(self) -> tuple[Command, ...]:
        """Its own commands."""
        return tuple(
            each
            for each in COMMANDS
            if each.program == self.program and each.words and each.words[:-1] == self.words
        )


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    exclusive = [each._group_actions for each in parser._mutually_exclusive_groups]
    for group in parser._action_groups:
        for action in group._group_actions:
            if not action.option_strings:
                continue
            others = [each for actions in exclusive if action in actions for each in actions]
            yield _option(action, group.title or "", [each for each in others if each != action])


def _option(action: argparse.Action, group: str, others: list[argparse.Action]) -> Option:
    takes: Any = action.metavar or (action.choices and "LEVEL")
    metavar = None if action.nargs == 0 else str(takes)
    values = _VALUES.get(action.option_strings[-1]) or _VALUES_OF_METAVARS.get(metavar or "", "")
    return Option(
        flags=tuple(action.option_strings),
        metavar=metavar,
        help=(action.help or "").replace("%%", "%"),
        group=group,
        values=values,
        choices=tuple(action.choices or ()),
        excludes=tuple(each.option_strings[-1] for each in others),
        repeats=isinstance(action, argparse._AppendAction),
        required=action.required,
        ends={"--help", "--version"} & {*action.option_strings} != set(),
    )


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    for action in parser._actions:
        if not action.option_strings:
            yield Argument(action.dest, _VALUES_OF_METAVARS[action.dest])


def _command(program: str, words: str, about: str, parser: argparse.ArgumentParser) -> Command:
    section = 8 if program == "pbmond" else 1
    options, arguments = tuple(_options(parser)), tuple(_arguments(parser))
    return Command(program, tuple(words.split()), about, section, options, arguments)


COMMANDS: Final = (
    _command("pbmond", "", "", daemon._parser()),
    _command("pbmond", "probes", "measure what each hook costs", probes._parser()),
    _command("pbmond", "selftest", "prove the counting on this kernel", selftest._parser()),
    _command("pbmon-client", "", "", client._parser()),
    _command("pbmon-client", "web", "show the same in a browser", web._parser()),
    _command("pbmon-client", "export", "push metrics", export._parser()),
    _command("pbmon-client", "record", "write down what moves", record._parser()),
    _command("pbmon-client", "history", "say what is kept of the past", history.kept_parser()),
    _command(
        "pbmon-client", "history export", "write a range of the past to a file",
        history.export_parser(),
    ),
    _command(
        "pbmon-client", "history import", "make a history of such a file", history.import_parser()
    ),
    _command(
        "pbmon-client", "history serve", "answer every user about the past", serve.serve_parser()
    ),
)  # fmt: skip
PROGRAMS: Final = ("pbmond", "pbmon-client")


def of_program(program: str) -> tuple[Command, tuple[Command, ...]]:
    """Return a program itself, and all its commands."""
    own, *commands = (each for each in COMMANDS if each.program == program)
    return own, tuple(commands)
