"""What stands in the filter line: an expression of ``--filter``, or words to be found in a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
    raw = word.encode()
    columns = rows.table.columns
    found: set[int] = set()
    if rows.owners is not None:
        found.update(rows_of(rows, rows.owners, _processes(rows.owners, word, user)))
    for name in _NAMES.get(rows.kind, ()):
        texts = columns[name]
        found.update(row for row, text in enumerate(texts) if text and raw in text.lower())
    if rows.kind == "connections":
        for side in ("local", "remote"):
            found.update(_addresses(rows, side, word))
    return sorted(found)


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


def _addresses(rows: Rows, side: str, word: str) -> list[int]:
    """Return the rows with an end that is written so: an address's part, a port, or both."""
    columns = rows.table.columns
    ends = rows.derived(
        ("ends", side), lambda: list(zip(columns["family"], columns[side], strict=True))
    )
    # Each address is written once, however many rows have it.
    texts = rows.derived(("addresses", side), lambda: {end: _address(*end) for end in set(ends)})
    ports = columns[f"{side}_port"]
    address, colon, digits = word.rpartition(":")
    number = int(digits) if digits.isascii() and digits.isdigit() else -1
    with_port = [row for row, port in enumerate(ports) if port == number]
    if colon:
        wanted = {end for end, text in texts.items() if text.endswith(address.strip("[]"))}
        with_port = [row for row in with_port if ends[row] in wanted]
    found = {end for end, text in texts.items() if word in text}
    return with_port + [row for row, end in enumerate(ends) if end in found] if found else with_port


def _address(family: int, raw: bytes) -> str:
    return network.inet_address(family, raw) or ""


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


def rows_of(rows: Rows, table: Rows, chosen: Iterable[int]) -> list[int]:
    """Return the connections or files of the processes that rows of another table belong to."""
    pids, starts = (table.table.columns[name] for name in ("pid", "start_ns"))
    owners = {(pids[row], starts[row]) for row in chosen}
    numbers = {pid for pid, _start in owners}
    times = rows.table.columns["start_ns"]
    # By the number alone first: making a pair for each row would cost more than all the rest.
    return [
        row
        for row, pid in enumerate(rows.table.columns["pid"])
        if pid in numbers and (pid, times[row]) in owners
    ]


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
