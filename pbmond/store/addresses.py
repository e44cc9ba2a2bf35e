"""Which interface of the host a connection's local address belongs to."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import CLASSES
from pbmond.kernel.records import HostReading

#: Index of no interface.
NOWHERE: Final = 0

_AF_INET: Final = 2
_LOOPBACK: Final = CLASSES.index("loopback")
_MAPPED: Final = np.uint64(0xFFFF0000)  # the last word of an IPv4 address in IPv6, without it
_LOW_HALF: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_FIRST_BYTE: Final = np.uint64(0xFF << 32)
_FIRST_BYTE_IS_127: Final = np.uint64(127 << 32)
#: 127.0.0.1 as the second of the two little-endian words of an address; the first is 0.
_LOCALHOST: Final = np.uint64(1 << 56 | 127 << 32 | 0xFFFF0000)
_LOCALHOSTS: Final = (bytes(10) + b"\xff\xff\x7f\0\0\1", bytes(15) + b"\1")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)


class Addresses:
    """The addresses that belong to exactly one interface, each with that interface."""

    def __init__(self, reading: HostReading) -> None:
        self.addresses = reading.addresses
        owners: dict[bytes, list[bytes]] = defaultdict(list)
        for name, addresses in (reading.addresses or {}).items():
            for address in addresses:
                owners[address].append(name)
        # An address of two interfaces, such as a link-local one, does not say which it is.
        own = {address: names[0] for address, names in owners.items() if len(names) == 1}
        loopback = next((own[each] for each in _LOCALHOSTS if each in own), None)
        if loopback is not None:
            own[_LOCALHOSTS[0]] = loopback  # where the kernel routes all of 127.0.0.0/8
        self.names: list[bytes | None] = [None, *dict.fromkeys(own.values())]
        words = np.frombuffer(b"".join(own), "<u8").reshape(-1, 2)
        order = np.argsort(_hash(words))
        self._words = words[order]
        self._hashes = _hash(self._words)
        codes = [self.names.index(name) for name in own.values()]
        self._codes = np.array(codes, np.intp)[order]

    def find(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return for each address, as two words, the index of its interface in ``names``."""
        if not len(self._codes):
            return np.full(len(words), NOWHERE, np.intp)
        at = np.searchsorted(self._hashes, _hash(words))
        at[at == len(self._hashes)] = 0
        found = self._words[at]
        same = (found[:, 0] == words[:, 0]) & (found[:, 1] == words[:, 1])
        return np.where(same, self._codes[at], NOWHERE)


def _hash(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return words[:, 0] * _MULTIPLIER ^ words[:, 1]


def local_words(
    keys: NDArray[np.void], classes: NDArray[np.uint8], index: NDArray[np.intp]
) -> NDArray[np.uint64]:
    """Return the local addresses of some flow keys as two words each, IPv4 mapped into IPv6.

    All of 127.0.0.0/8 becomes 127.0.0.1, and so does each end of a connection within the host: its
    bytes pass the loopback interface, whatever its addresses are.
    """
    words = keys["local"][index].view("<u8").reshape(-1, 2)
    first, second = words[:, 0], words[:, 1]
    inet = keys["family"][index] == _AF_INET
    second = np.where(inet, (first & _LOW_HALF) << _HALF | _MAPPED, second)
    first = np.where(inet, np.uint64(0), first)
    mapped = (first == 0) & (second & _LOW_HALF == _MAPPED)
    looped = (mapped & (second & _FIRST_BYTE == _FIRST_BYTE_IS_127)) | (classes == _LOOPBACK)
    second = np.where(looped, _LOCALHOST, second)
    return np.column_stack((np.where(looped, np.uint64(0), first), second))
