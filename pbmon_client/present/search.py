"""The filter line: an expression as for ``--filter``, or words to find in a row."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, compress, repeat
from operator import and_, eq, or_
from typing import Any, Final

from pbmon_client.data import network
from pbmon_client.data.columns import UserName
from pbmon_client.data.model import Filter, Flags, Rows, joined
from pbmon_client.data.users import user_name
from pbmon_client.present.listing import numbered
from pbmond.fields import FIELDS, SHOWN

#: Signs of an expression; without any, the text is words.
_EXPRESSION: Final = re.compile(r"[=<>~()!\"']|\bin\b", re.IGNORECASE)
_PROCESS_TEXTS: Final = (
    *("name", "cmdline", "exe", "unit", "container"),
    *("container_name", "image", "pod", "namespace"),
)
_WORD: Final = re.compile(r"[a-z_]+")
_DIGITS: Final = 10  # a pid or a port has no more
_SIDES: Final = ("local", "remote")
_NAMES: Final = {"connections": ("local_name", "remote_name"), "files": ("path",)}


@dataclass(frozen=True, slots=True)
class Words:
    """Words that a row's texts must all contain, ignoring case.

    Tests work on whole columns without a Python-level step per row, and what they read is made
    once per snapshot, because a key press waits for the result.
    """

    words: tuple[str, ...]

    def rows(self, rows: Rows, user: UserName = user_name) -> list[int]:
        """Return the rows that match, by their own texts and their process's."""
        flags = [_containing(rows, word, user) for word in self.words]
        return list(compress(range(len(rows)), joined(and_, flags)))


def preparations(rows: Rows) -> list[Callable[[], object]]:
    """Return functions that make what words are searched in, piece by piece."""
    if rows.kind == "processes":
        return [partial(_process_texts, rows)]
    sides = _SIDES if rows.kind == "connections" else ()
    names = _NAMES.get(rows.kind, ())
    return [
        rows.owner_rows,
        *(partial(_lowered, rows, name) for name in names),
        *(partial(_ends, rows, side) for side in sides),
    ]


def _containing(rows: Rows, word: str, user: UserName) -> Flags:
    if rows.kind == "processes":
        return _processes(rows, word, user)
    raw = word.encode()
    tests = [[False] * len(rows)]
    tests += [
        [raw in text for text in texts]
        for name in _NAMES.get(rows.kind, ())
        if (texts := _lowered(rows, name)) is not None
    ]
    if rows.owners is not None:
        tests.append(_owned(rows, _processes(rows.owners, word, user)))
    if rows.kind == "connections":
        for side in _SIDES:
            tests += _at_ends(rows, side, word)
    return joined(or_, tests)


def _lowered(rows: Rows, name: str) -> list[bytes] | None:
    """Return a column's texts in lower case, None if all of them are unknown."""

    def make() -> list[bytes] | None:
        column = rows.table.columns[name]
        return list(map(bytes.lower, _known(column))) if any(column) else None

    return rows.derived(("lowered", name), make)


def _known(column: Sequence[bytes | None]) -> Sequence[Any]:
    return [text or b"" for text in column] if None in column else column


@dataclass(frozen=True, slots=True)
class _RowTexts:
    """Texts of rows, one after another in one: ``ends`` says where each ends there."""

    joined: bytes
    ends: list[int]

    def containing(self, raw: bytes) -> Flags:
        """Return which texts contain something."""
        found, start = [False] * len(self.ends), 0
        while (at := self.joined.find(raw, start)) >= 0:
            row = bisect_right(self.ends, at)
            start = self.ends[row]
            found[row] = at + len(raw) <= start  # else it goes on into the next text
        return found


def _process_texts(rows: Rows) -> _RowTexts:
    """Return the text in which each process is searched, in lower case, joined by NUL."""

    def make() -> _RowTexts:
        every = [rows.table.columns[name] for name in _PROCESS_TEXTS]
        columns = [_known(column) for column in every if any(column)] or [[b""] * len(rows)]
        texts = list(map(b"\0".join, zip(*columns, strict=True)))
        return _RowTexts(b"".join(texts).lower(), list(accumulate(map(len, texts))))

    return rows.derived("texts", make)


def _owned(rows: Rows, chosen: Flags) -> Flags:
    """Return whether each row belongs to a chosen process; rows without a process do not."""
    return list(map([*chosen, False].__getitem__, rows.owner_rows()))


def _processes(rows: Rows, word: str, user: UserName) -> Flags:
    raw = word.encode()
    columns = rows.table.columns
    tests = [_process_texts(rows).containing(raw)]
    uids = rows.derived("uids", lambda: {*columns["uid"]})
    users = {uid for uid in uids if word in user(uid).lower()}
    if users:
        tests.append(list(map(users.__contains__, columns["uid"])))
    if _is_number(word) and str(int(word)) == word:
        tests.append(list(map(eq, columns["pid"], repeat(int(word)))))
    return joined(or_, tests)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _DIGITS


@dataclass(frozen=True, slots=True)
class _Ends:
    """One end of each connection: ``numbers`` says which of ``texts`` it is."""

    texts: list[str]
    numbers: list[int]

    def among(self, found: Flags) -> Flags:
        """Return whether each connection's end is among those found."""
        return list(map(found.__getitem__, self.numbers))


def _ends(rows: Rows, side: str) -> _Ends:
    """Write the addresses of a side, each once however many connections have it."""

    def make() -> _Ends:
        pairs = list(zip(rows.table.columns["family"], rows.table.columns[side], strict=True))
        places, numbers = numbered(pairs)
        return _Ends([_address(*pair) for pair in places], numbers)

    return rows.derived(("ends", side), make)


def _at_ends(rows: Rows, side: str, word: str) -> list[Flags]:
    """Return whether each row has an end that matches: part of an address, a port, or both."""
    written = _ends(rows, side)
    found = [word in text for text in written.texts]
    tests = [written.among(found)] if any(found) else []
    address, colon, digits = word.rpartition(":")
    if _is_number(digits):
        ports = list(map(eq, rows.table.columns[f"{side}_port"], repeat(int(digits))))
        if colon:
            hosts = [text.endswith(address.strip("[]")) for text in written.texts]
            ports = list(map(and_, ports, written.among(hosts)))
        tests.append(ports)
    return tests


def _address(family: int, raw: bytes) -> str:
    return network.inet_address(family, raw) or ""


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed filter line.

    If it could not be parsed, ``error`` is one line, and ``place`` the mistake's start and end.
    """

    text: str = ""
    words: Words | None = None
    filter: Filter | None = None
    error: str = ""
    place: tuple[int, int] = (0, 0)

    @property
    def needs_flows(self) -> bool:
        """Whether it uses fields of connections or files."""
        return self.filter is not None and not self.filter.fields <= SHOWN["processes"].keys()

    def rows(self, rows: Rows, flows: Sequence[Rows]) -> list[int] | None:
        """Return the rows that match, None for all.

        A process matches as well when one of its connections or files does.
        """
        if self.words is not None:
            return self.words.rows(rows)
        if self.filter is None:
            return None
        kept = list(compress(range(len(rows)), self.filter.evaluate(rows.values, len(rows)).yes))
        if rows.kind != "processes" or not self.needs_flows:
            return kept
        more = set(kept)
        for table in flows:
            yes = self.filter.evaluate(table.values, len(table)).yes
            more.update(owners_of(rows, table, list(compress(range(len(table)), yes))))
        return sorted(more)


def rows_of(rows: Rows, table: Rows, chosen: Collection[int]) -> list[int]:
    """Return the connections or files of the processes that rows of another table belong to."""
    wanted = set(_identities(table, chosen))
    return list(compress(range(len(rows)), map(wanted.__contains__, rows.identities())))


def owners_of(processes: Rows, table: Rows, chosen: Collection[int]) -> list[int]:
    """Return the processes that some rows of connections or files belong to."""
    if processes is table.owners:
        rows = {*map(table.owner_rows().__getitem__, chosen)}
        return sorted(rows - {len(processes)})
    found = map(processes.index().get, _identities(table, chosen))
    return sorted({row for row in found if row is not None})


def _identities(table: Rows, chosen: Collection[int]) -> Iterable[tuple[int, int]]:
    pids, starts = (table.table.columns[name] for name in ("pid", "start_ns"))
    return zip(map(pids.__getitem__, chosen), map(starts.__getitem__, chosen), strict=True)


def named(text: str) -> frozenset[str]:
    """Return the fields that a line names, even if it is unfinished."""
    return frozenset(FIELDS.keys() & _WORD.findall(text))


#: The empty line.
EVERYTHING: Final = Search()


def understand(text: str, compile_: Callable[[str], Any] = re.compile) -> Search:
    """Parse a filter line; ``error`` is set if it is neither words nor a valid expression.

    ``compile_`` makes regular expressions, as in ``filters.parse``.
    """
    stripped = text.strip()
    if not stripped:
        return EVERYTHING
    if not _EXPRESSION.search(stripped):
        return Search(text, words=Words(tuple(stripped.lower().split())))
    from pbmon_client.data import filters  # noqa: PLC0415 - the parser takes longer than all the rest

    try:
        return Search(text, filter=filters.parse(stripped, compile_))
    except filters.FilterError as error:
        before = len(text) - len(text.lstrip())
        place = (before + error.start, before + error.end)
        return Search(text, error=error.message, place=place)
