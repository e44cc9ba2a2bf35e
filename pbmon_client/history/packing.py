"""Arrays of integers: sums by key, and byte planes for the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]
Chosen = npt.NDArray[np.bool_]
_WORD: Final = np.dtype("<u8")
#: Values that differ in their lowest bits are told apart by those.
_HASHES: Final = 1 << 12
_Name = TypeVar("_Name")


class MalformedError(ValueError):
    """Bytes of a file are not what the format says."""


def pack(values: Any) -> bytes:  # noqa: ANN401 - anything that makes an array
    """Return the byte planes of integers below 2**64: their width in bytes, then each plane.

    The lowest bytes of all values come first. The high ones are mostly equal, so they compress.
    """
    array = np.ascontiguousarray(values, _WORD)
    width = max(1, (int(array.max(initial=0)).bit_length() + 7) // 8)
    planes = array.view(np.uint8).reshape(-1, 8)[:, :width]
    return bytes([width]) + planes.T.tobytes()


def unpack(packed: bytes) -> Unsigned:
    """Return the integers of ``pack``. MalformedError unless the bytes are whole."""
    every = planes(packed)
    if len(every) == 1:
        numbers: Unsigned = every[0].astype(np.uint64)
        return numbers
    words = np.zeros((every.shape[1], 8), np.uint8)
    for place, plane in enumerate(every):  # quicker than all of them at once
        words[:, place] = plane
    return _numbers(words)


def planes(packed: bytes) -> npt.NDArray[np.uint8]:
    """Return the planes of ``pack``, each a row. MalformedError unless the bytes are whole."""
    width = packed[0] if packed else 0
    if not 1 <= width <= 8 or (len(packed) - 1) % width:
        raise MalformedError("a column is not whole")
    return np.frombuffer(packed, np.uint8, offset=1).reshape(width, -1)


def widest_first(packed: Iterable[tuple[_Name, bytes]]) -> list[tuple[_Name, bytes]]:
    """Return several ``pack``, each with its name, in the order that ``unpack_runs`` wants."""
    return sorted(packed, key=lambda each: each[1][0], reverse=True)


def unpack_runs(
    packed: Sequence[bytes], counts: Sequence[int], places: Ints | None = None
) -> Unsigned:
    """Return the integers of several ``pack``, the widest first, one after the other.

    They are those at some places, which are in order, or all (None). MalformedError unless each
    has as many as its count.
    """
    runs = [(each, each[0], count) for each, count in zip(packed, counts, strict=True)]
    if any(not 1 <= width <= 8 or len(each) != 1 + width * count for each, width, count in runs):
        raise MalformedError("a column is not whole")
    words = np.zeros((sum(counts) if places is None else len(places), 8), np.uint8)
    for plane in range(runs[0][1] if runs else 0):
        # Only the first ones, which are wide, have this plane.
        parts = [
            each[1 + plane * count : 1 + (plane + 1) * count]
            for each, width, count in runs
            if width > plane
        ]
        those = np.frombuffer(b"".join(parts), np.uint8)
        if places is not None:
            those = those[places[: np.searchsorted(places, len(those))]]
        words[: len(those), plane] = those
    return _numbers(words)


def unpack_columns(packed: Mapping[str, bytes], rows: int) -> dict[str, Unsigned]:
    """Return the integers of several ``pack`` by name; each has as many as there are rows.

    It is for many short ones: each of those would take longer by itself than all of them do.
    """
    ordered = widest_first(packed.items())
    words = np.zeros((len(ordered), rows, 8), np.uint8)
    end = 0
    for width, group in groupby([column for _name, column in ordered], itemgetter(0)):
        same = [*group]
        begin, end = end, end + len(same)
        size = 1 + width * rows
        if not 1 <= width <= 8 or any(len(each) != size for each in same):
            raise MalformedError("a column is not whole")
        bodies = np.frombuffer(b"".join(same), np.uint8).reshape(-1, size)[:, 1:]
        words[begin:end, :, :width] = bodies.reshape(-1, width, rows).transpose(0, 2, 1)
    values = words.view(_WORD)[:, :, 0].astype(np.uint64, copy=False)
    return {name: column for (name, _packed), column in zip(ordered, values, strict=True)}


def _numbers(words: npt.NDArray[np.uint8]) -> Unsigned:
    return words.view(_WORD)[:, 0].astype(np.uint64, copy=False)


def steps(values: Ints) -> Ints:
    """Return each value less the one before."""
    result = values.copy()
    result[1:] -= values[:-1]
    return result


def signed(packed: bytes) -> Ints:
    """Return the integers of ``pack`` that are below 2**63; larger ones wrap."""
    return unpack(packed).view(np.int64)


def starts(ordered: npt.NDArray[Any]) -> Ints:
    """Return where each run of equal values begins."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    differs = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=differs[1:])
    return np.flatnonzero(differs)


def row_starts(ordered: npt.NDArray[Any]) -> Ints:
    """Return where each run of equal rows of a matrix begins."""
    differs = np.ones(len(ordered), np.bool_)
    np.any(ordered[1:] != ordered[:-1], axis=1, out=differs[1:])
    return np.flatnonzero(differs)


def once(values: Ints) -> Ints:
    """Return the values, each once and in order. np.unique() takes several times as long."""
    ordered = np.sort(values)
    return ordered[starts(ordered)]


def among(values: Unsigned, wanted: Unsigned) -> Chosen:
    """Return which values are ``wanted``, in a fraction of the time of np.isin()."""
    some = np.zeros(_HASHES, np.bool_)
    some[wanted & _HASHES - 1] = True
    hashes = (values & _HASHES - 1).view(np.int64)  # unsigned numbers take three times as long
    chosen: Chosen = some[hashes]
    if chosen.any():
        chosen[chosen] = are_in(values[chosen], np.sort(wanted))
    return chosen


def are_in(values: npt.NDArray[Any], ordered: npt.NDArray[Any]) -> Chosen:
    """Return which values are among some that are in order; np.isin() takes much longer."""
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: Chosen = ordered[place] == values
    return found


def summed(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Return the keys, each once and in order, and the sums of their values."""
    if (keys[1:] > keys[:-1]).all():
        return keys, values
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    first = starts(keys)
    return keys[first], (np.add.reduceat(values, first) if len(first) else values)


def places_of(rows: Unsigned, others: Unsigned) -> Ints:
    """Return where each row of a matrix is among the rows of another, -1 if it is not."""
    places = {row: place for place, row in enumerate(whole(others))}
    return np.array([places.get(row, -1) for row in whole(rows)], np.int64)


def whole(rows: Unsigned) -> list[bytes]:
    """Return each row of a matrix as bytes."""
    if not rows.shape[1]:
        return [b""] * len(rows)
    wide: Any = np.ascontiguousarray(rows).view(_void(rows.shape[1]))
    found: list[bytes] = wide.ravel().tolist()
    return found


@cache
def _void(columns: int) -> np.dtype[np.void]:
    return np.dtype((np.void, columns * _WORD.itemsize))
