"""Arrays of integers: sums by key, and byte planes for the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]
Chosen = npt.NDArray[np.bool_]
_WORD: Final = np.dtype("<u8")


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
    planes = _planes(packed)
    return planes[0].astype(np.uint64) if len(planes) == 1 else _joined([planes])


def unpack_runs(packed: Iterable[bytes], counts: Sequence[int]) -> Unsigned:
    """Return the integers of several ``pack``, one after the other.

    MalformedError unless they have so many integers each.
    """
    runs = [*map(_planes, packed)]
    if [planes.shape[1] for planes in runs] != [*counts]:
        raise MalformedError("a column is not whole")
    return _joined(runs)


def _planes(packed: bytes) -> npt.NDArray[np.uint8]:
    """Return the planes of ``pack``, each a row."""
    width = packed[0] if packed else 0
    if not 1 <= width <= 8 or (len(packed) - 1) % width:
        raise MalformedError("a column is not whole")
    return np.frombuffer(packed, np.uint8, offset=1).reshape(width, -1)


def _joined(runs: Sequence[npt.NDArray[np.uint8]]) -> Unsigned:
    words = np.zeros((sum(planes.shape[1] for planes in runs), 8), np.uint8)
    end = 0
    for planes in runs:
        begin, end = end, end + planes.shape[1]
        for place, plane in enumerate(planes):  # quicker than all of them at once
            words[begin:end, place] = plane
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


def once(values: Ints) -> Ints:
    """Return the values, each once and in order. np.unique() takes several times as long."""
    ordered = np.sort(values)
    return ordered[starts(ordered)]


def summed(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Return the keys, each once and in order, and the sums of their values."""
    if (keys[1:] > keys[:-1]).all():
        return keys, values
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    first = starts(keys)
    return keys[first], (np.add.reduceat(values, first) if len(first) else values)


def places_of(rows: Unsigned, among: Unsigned) -> Ints:
    """Return where each row of a matrix is among the rows of another, -1 if it is not."""
    places = {row: place for place, row in enumerate(whole(among))}
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
