"""What stands in the filter line: an expression of ``--filter``, or words to be found in a row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import compress
from operator import and_, or_
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
    # Each test is a flag for every row, made and joined without a step of Python for each: that
    # is what a key press waits for.
    tests: list[Iterable[bool]] = []
    if rows.owners is not None:
        tests += _owned(rows, rows.owners, _processes(rows.owners, word, user))
    tests += [
        [text is not None and raw in text.lower() for text in columns[name]]
        for name in _NAMES.get(rows.kind, ())
        if any(columns[name])
    ]
    if rows.kind == "connections":
        for side in ("local", "remote"):
            tests += _ends(rows, side, word)
    return list(compress(range(len(rows)), reduce(_either, tests))) if tests else []


def _either(one: Iterable[bool], other: Iterable[bool]) -> Iterable[bool]:
    return map(or_, one, other)


def _owned(rows: Rows, owners: Rows, chosen: Collection[int]) -> list[Iterable[bool]]:
    """Tell of each row whether it belongs to one of some processes; nothing if none does."""
    pids, starts = (owners.table.columns[name] for name in ("pid", "start_ns"))
    wanted = {(pids[row], starts[row]) for row in chosen}
    return [map(wanted.__contains__, rows.identities())] if wanted else []


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


def _ends(rows: Rows, side: str, word: str) -> list[Iterable[bool]]:
    """Tell of each row whether an end is written so: an address's part, a port, or both."""
    columns = rows.table.columns
    families, addresses = columns["family"], columns[side]
    # Each address is written once, however many rows have it.
    texts = rows.derived(
        ("addresses", side),
        lambda: {end: _address(*end) for end in set(zip(families, addresses, strict=True))},
    )

    def among(found: set[tuple[int, bytes]]) -> Iterable[bool]:
        return map(found.__contains__, zip(families, addresses, strict=True))

    found = {end for end, text in texts.items() if word in text}
    tests = [among(found)] if found else []
    address, colon, digits = word.rpartition(":")
    if digits.isascii() and digits.isdigit():
        ports: Iterable[bool] = map(int(digits).__eq__, columns[f"{side}_port"])
        if colon:
            hosts = {end for end, text in texts.items() if text.endswith(address.strip("[]"))}
            ports = map(and_, ports, among(hosts))
        tests.append(ports)
    return tests


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


def rows_of(rows: Rows, table: Rows, chosen: Collection[int]) -> list[int]:
    """Return the connections or files of the processes that rows of another table belong to."""
    return [
        row for flags in _owned(rows, table, chosen) for row in compress(range(len(rows)), flags)
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
