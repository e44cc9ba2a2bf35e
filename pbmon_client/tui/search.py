"""What stands in the filter line: an expression of ``--filter``, or words to be found in a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pbmon_client import network
from pbmon_client.columns import TABLES, UserName
from pbmon_client.model import Filter, Rows
from pbmon_client.users import user_name

#: Signs that only an expression has; without one the text is words.
_EXPRESSION: Final = re.compile(r"[=<>~()!\"']|\bin\b", re.IGNORECASE)
_PROCESS_TEXTS: Final = ("name", "cmdline", "exe", "unit", "container")
_NAMES: Final = {"connections": ("local_name", "remote_name"), "files": ("path",)}


@dataclass(frozen=True, slots=True)
class Words:
    """Words that a row's texts must all contain, whatever their case."""

    words: tuple[str, ...]

    def rows(self, rows: Rows, user: UserName = user_name) -> list[int]:
        """Return the rows that match, by their own texts and their process's."""
        kept: list[int] | None = None
        for word in self.words:
            found = _containing(rows, word, user)
            kept = found if kept is None else sorted(set(kept) & set(found))
        return list(range(len(rows))) if kept is None else kept


def _containing(rows: Rows, word: str, user: UserName) -> list[int]:
    if rows.kind == "processes":
        return _processes(rows, word, user)
    owners = rows.owners
    own = set() if owners is None else set(_processes(owners, word, user))
    raw = word.encode()
    columns = rows.table.columns
    texts: list[Sequence[bytes | None]] = [columns[name] for name in _NAMES.get(rows.kind, ())]
    tests: list[Callable[[int], bool]] = []
    if rows.kind == "connections":
        tests = [_addresses(rows, side, word) for side in ("local", "remote")]
    return [
        row
        for row, owner in enumerate(rows.owner_rows())
        if owner in own
        or any((value := text[row]) is not None and raw in value.lower() for text in texts)
        or any(test(row) for test in tests)
    ]


def _processes(rows: Rows, word: str, user: UserName) -> list[int]:
    raw = word.encode()
    columns = rows.table.columns
    users = {uid for uid in set(columns["uid"]) if word in user(uid).lower()}
    texts = zip(*(columns[name] for name in _PROCESS_TEXTS), strict=True)
    return [
        row
        for row, (pid, uid, mine) in enumerate(
            zip(columns["pid"], columns["uid"], texts, strict=True)
        )
        if uid in users
        or str(pid) == word
        or any(text is not None and raw in text.lower() for text in mine)
    ]


def _addresses(rows: Rows, side: str, word: str) -> Callable[[int], bool]:
    """Make the test of one end; each address is written once, however many rows have it."""
    columns = rows.table.columns
    ends = list(zip(columns["family"], columns[side], columns[f"{side}_port"], strict=True))
    found = {end for end in set(ends) if word in _end(*end)}
    return lambda row: ends[row] in found


def _end(family: int, raw: bytes, port: int) -> str:
    address = network.inet_address(family, raw)
    return "" if address is None else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class Search:
    """A filter line that was understood. ``error`` is one line where it was not."""

    text: str = ""
    words: Words | None = None
    filter: Filter | None = None
    error: str = ""

    @property
    def needs_flows(self) -> bool:
        """Whether it asks for fields of connections or files."""
        return self.filter is not None and not self.filter.fields <= TABLES["processes"].keys()

    def rows(self, rows: Rows, flows: Sequence[Rows]) -> list[int] | None:
        """Return the rows that match, None for all.

        A process matches as well when one of its connections or files does.
        """
        if self.words is not None:
            return self.words.rows(rows)
        if self.filter is None:
            return None
        test = self.filter.bind(rows.find)
        kept = [row for row in range(len(rows)) if test(row)]
        if rows.kind != "processes" or not self.needs_flows:
            return kept
        more = set(kept)
        for table in flows:
            test = self.filter.bind(table.find)
            more.update(owners_of(rows, table, filter(test, range(len(table)))))
        return sorted(more)


def owners_of(processes: Rows, table: Rows, rows: Iterable[int]) -> list[int]:
    """Return the processes that some rows of connections or files belong to."""
    index = processes.index()
    pids, starts = (table.table.columns[name] for name in ("pid", "start_ns"))
    found = (index.get((pids[row], starts[row])) for row in rows)
    return sorted({owner for owner in found if owner is not None})


#: The empty line.
EVERYTHING: Final = Search()


def understand(text: str) -> Search:
    """Read a filter line; what is neither words nor a valid expression says so in ``error``."""
    stripped = text.strip()
    if not stripped:
        return EVERYTHING
    if not _EXPRESSION.search(stripped):
        return Search(text, words=Words(tuple(stripped.lower().split())))
    from pbmon_client import filters  # noqa: PLC0415 - the parser takes longer than all the rest

    try:
        return Search(text, filter=filters.parse(stripped))
    except filters.FilterError as error:
        return Search(text, error=str(error).partition("\n")[0].removeprefix("filter: "))
