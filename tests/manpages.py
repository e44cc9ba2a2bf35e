"""The parts of the manual pages that programs make: of the options, and of pbmond.toml's keys.

What a page says of an option beyond the option's own help stays: it follows a line ``.\\" more``.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmond.config import KEYS
from tests.commands import COMMANDS, Command, Option

_PACKAGING: Final = Path(__file__).parents[1] / "packaging"
CONFIGURATION: Final = _PACKAGING / "man/pbmond.toml.5"
_MORE: Final = '.\\" more'


def path_of(command: Command) -> Path:
    """Return where the manual page of a command is."""
    return _PACKAGING / "man" / f"{command.name}.{command.section}"


PAGES: Final[Mapping[Path, Command]] = {path_of(command): command for command in COMMANDS}


def _text(text: str) -> str:
    """Return plain text as lines of mdoc: a line for each sentence, none taken for a macro."""
    text = re.sub(r"(?<![\w-])-(?=[\w-])|(?<=-)-(?=\w)", r"\-", text.replace("\\", r"\e"))
    sentences = re.split(r"(?<=[.:]) (?=[A-Z\"])", text)
    lines = itertools.chain.from_iterable(
        textwrap.wrap(each, 78, break_on_hyphens=False, break_long_words=False)
        for each in sentences
    )
    return "\n".join(rf"\&{line}" if line[0] in ".'" else line for line in lines)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


# --- options ------------------------------------------------------------------------------------


def _flag(flag: str, metavar: str | None) -> str:
    return f"Fl {flag[1:]}" + (f" Ar {metavar}" if metavar else "")


def synopsis(command: Command) -> str:
    """Return the options as the synopsis has them; those that exclude each other in one line."""
    lines, done = [], set[str]()
    for option in command.options:
        if option.flags[-1] in done or option.flags[-1] == "--help":
            continue
        together = [option.flags[-1], *option.excludes]
        done |= {*together}
        first = _flag(option.flags[0], option.metavar)
        rest = "".join(f" | {flag[1:]}" for flag in option.excludes)
        lines.append(f".{first}" if option.required else f".Op {first}{rest}")
    return "".join(f"{line}\n" for line in lines)


def options(command: Command, before: str) -> str:
    """Return the lists of options, a list for each group; ``before``: the part as it is now."""
    more = _more(before)
    lines = []
    for group, members in itertools.groupby(command.options, lambda option: option.group):
        if group != "options":
            lines += [".Pp", f"{_sentence(group)[:-1]}:"]
        lines += [".Bl -tag -width Ds"]
        for option in members:
            lines += _item(option, more)
        lines.append(".El")
    return "\n".join(lines) + "\n"


def _item(option: Option, more: Mapping[str, str]) -> Iterator[str]:
    yield ".It " + " , ".join(_flag(flag, option.metavar) for flag in option.flags)
    yield _text(_sentence(option.help))
    if by_hand := more.get(option.flags[-1]):
        yield f"{_MORE}\n{by_hand}"


def _more(part: str) -> dict[str, str]:
    """Return what was added by hand, by the last flag of the option."""
    found = {}
    for item in re.split(r"^\.It ", part, flags=re.MULTILINE)[1:]:
        head, _, body = item.partition("\n")
        by_hand = body.partition(f"{_MORE}\n")[2].partition("\n.El")[0].rstrip("\n")
        if by_hand:
            found["-" + re.findall(r"Fl (\S+)", head)[-1]] = by_hand
    return found


# --- pbmond.toml --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A comment of pbmond.toml with the keys below it, and what they are set to there."""

    table: str
    text: str
    keys: tuple[tuple[str, str], ...]


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of pbmond.toml, in which every key is a comment with its default."""
    for paragraph in text.split("\n\n")[1:]:
        lines = paragraph.splitlines()
        words = [line[2:] for line in lines if line.startswith("# ")]
        table = next((line for line in lines if line.startswith("[")), "")
        keys = [re.match(r"#(\w+) = (.*?)(?:\s{2,}#.*)?$", line) for line in lines]
        found = tuple((match[1], match[2]) for match in keys if match)
        yield Block(table.strip("[]"), " ".join(words), found)


def configuration() -> str:
    """Return what pbmond.toml(5) says of each key: the file's own words, and what is allowed."""
    lines = []
    for block in blocks((_PACKAGING / "pbmond.toml").read_text()):
        lines.append(f".Ss [{block.table}]" if block.table else ".Pp")
        if block.text:
            lines.append(_text(block.text.replace("`", "")))
        lines.append(".Bl -tag -width Ds")
        for name, default in block.keys:
            key = KEYS[f"{block.table}.{name}" if block.table else name]
            lines += [f".It Cm {name} No = {_plain(default)}", _text(_sentence(key.allowed))]
        lines.append(".El")
    return "\n".join(lines) + "\n"


def _plain(value: str) -> str:
    """Return a value of TOML as an argument of a macro, in which quotation marks are doubled."""
    quoted = value.replace('"', '""')
    return f'"{quoted}"'
