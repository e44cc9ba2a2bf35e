"""Which connections there are, and who may have one more: limits in all, and for each user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pbmond.publish.peers import Peer
from pbmond.publish.shares import Shares

#: The most connections of one user, and in all; root and the access group have room of their own.
PER_USER: Final = 256
IN_ALL: Final = 2048
RESERVED: Final = 512


class FullError(Exception):
    """There is no room for a connection. The message holds nothing of the peer's."""


class Peers:
    """The connections, by descriptor and by user."""

    def __init__(
        self, places: int = IN_ALL, account: Callable[[int], int] = lambda uid: uid
    ) -> None:
        """``account``: as whose a uid is counted."""
        self._account = account
        reserved = places * RESERVED // IN_ALL
        self._trusted = Shares(reserved)
        self._ordinary = Shares(places - reserved)
        self._all: dict[int, Peer] = {}
        # account -> descriptor -> peer, oldest first
        self._of: dict[int, dict[int, Peer]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._all.values())

    def get(self, fd: int) -> Peer | None:
        """Return the connection with a descriptor, if there is one."""
        return self._all.get(fd)

    def shares(self, *, trusted: bool) -> Shares:
        """Return where a connection of such a user is counted."""
        return self._trusted if trusted else self._ordinary

    def victim(self, uid: int, shares: Shares) -> Peer | None:
        """Return which connection must end so that ``uid`` can have one more, if any must.

        FullError if none may be ended for it.
        """
        account = self._account(uid)
        own = self._of.get(account, {})
        if len(own) >= PER_USER:
            # One that has not said who it is gives way: it may be one of thousands that never will.
            silent = next((peer for peer in own.values() if not peer.ready), None)
            if silent is None:
                raise FullError(f"more than {PER_USER} connections")
            return silent
        yielding = shares.who_yields(account)
        if yielding == account:
            raise FullError("no room for more connections")
        if yielding is None:
            return None
        newest = reversed(self._of[yielding].values())
        return next(peer for peer in newest if peer.shares is shares)

    def add(self, peer: Peer) -> None:
        """Count a connection in."""
        account = self._account(peer.uid)
        peer.shares.take(account)
        self._all[peer.fd] = peer
        self._of.setdefault(account, {})[peer.fd] = peer

    def remove(self, peer: Peer) -> None:
        """Count a connection out."""
        account = self._account(peer.uid)
        peer.shares.give_back(account)
        del self._all[peer.fd]
        del self._of[account][peer.fd]
        if not self._of[account]:
            del self._of[account]
