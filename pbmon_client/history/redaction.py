"""Redaction: names and addresses become pseudonyms, each the same everywhere in a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from pbmon_client.history.buckets import Bucket
from pbmon_client.history.handles import Handles, HandlesByTable, RowValues
from pbmon_client.history.layout import LAYOUTS
from pbmon_client.history.packing import Ints
from pbmond.fields import NO_UID

_ADDRESSES: Final = ("local", "remote")
_IPV6: Final = 10
_MAPPED: Final = bytes(10) + b"\xff\xff"
_DOCUMENTATION: Final = bytes.fromhex("20010db8")
#: Reserved IPv4 addresses, 240.0.0.0/4: they are nobody's.
_RESERVED: Final = 240 << 24
#: Users of a bundle are no users of whoever opens it.
_USERS: Final = 4_000_000_000


class Pseudonyms:
    """Gives pseudonyms, numbered in the order in which their originals come."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Any], int] = {}
        self._counts: dict[str, int] = {}

    def number(self, kind: str, original: Any) -> int:  # noqa: ANN401 - whatever can be a key
        """Return the number of an original; the first of a kind is 1."""
        key = (kind, original)
        if key not in self._numbers:
            self._counts[kind] = self._numbers[key] = self._counts.get(kind, 0) + 1
        return self._numbers[key]

    def bucket(self, bucket: Bucket) -> Bucket:
        """Return a bucket whose own words are pseudonyms."""
        words = ("host", "boot_id", "epoch")
        made = {name: f"{name}-{self.number(name, getattr(bucket, name))}" for name in words}
        return replace(bucket, host=made["host"], boot_id=made["boot_id"], epoch=made["epoch"])

    def handles(self) -> HandlesByTable:
        """Return empty handles that take rows and keep them redacted."""
        return {table: _RedactedHandles(table, self) for table in LAYOUTS}

    def rows(self, table: str, rows: RowValues) -> RowValues:
        """Return rows without names and addresses. Rows that differ still differ."""
        place = LAYOUTS[table].place
        numbers = rows.numbers.copy()
        texts: dict[str, list[bytes | None]] = {}
        for name in rows.texts:
            column = rows.column(name)
            if name in _ADDRESSES:
                families = numbers[:, place["family"]].tolist()
                texts[name] = [*map(self._address, column, families)]
            else:
                texts[name] = [text and self._name(name, text) for text in column]
        for name in ("uid", "viewer"):
            users = [self._user(user) for user in numbers[:, place[name]].tolist()]
            numbers[:, place[name]] = np.array(users, np.uint64)
        # The start time of a folded process is a hash of its names.
        folded = numbers[:, place["pid"]] == 0
        starts = [self.number("start_ns", it) for it in numbers[folded, place["start_ns"]].tolist()]
        numbers[folded, place["start_ns"]] = np.array(starts, np.uint64)
        return RowValues.in_order(numbers, texts)

    def _name(self, column: str, name: bytes) -> bytes:
        return b"%s-%d" % (column.encode(), self.number(column, name))

    def _user(self, uid: int) -> int:
        return uid if uid in (0, NO_UID) else _USERS + self.number("uid", uid)

    def _address(self, address: bytes | None, family: int) -> bytes | None:
        if address is None or not any(address):
            return address
        if family == _IPV6 and not address.startswith(_MAPPED):
            return _DOCUMENTATION + self.number("IPv6", address).to_bytes(12, "big")
        mapped = family == _IPV6
        original = address[12:] if mapped else address
        number = self.number("IPv4", original.rstrip(b"\0"))
        made = (_RESERVED + number).to_bytes(4, "big")
        return _MAPPED + made if mapped else made + bytes(12)


class _RedactedHandles(Handles):
    def __init__(self, table: str, pseudonyms: Pseudonyms) -> None:
        super().__init__(LAYOUTS[table])
        self._table, self._pseudonyms = table, pseudonyms

    def of(self, rows: RowValues) -> Ints:
        """Return the handles of rows, of which only pseudonyms are kept."""
        return super().of(self._pseudonyms.rows(self._table, rows))
