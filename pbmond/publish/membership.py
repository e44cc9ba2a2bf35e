"""Who belongs to the access group, asked in the background: a directory service may hang.

An answer is used while a newer one is on its way. Only a user of whom nothing is known yet waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from pbmond.group_members import is_member

#: How often the user and group databases are reread, for each user that asks.
REREAD_NS: Final = 10_000_000_000
#: The most look-ups at a time. Those that hang keep their place until they answer.
LOOKUPS: Final = 8
#: The most users that are remembered; beyond that, those that were asked about first are forgotten.
_REMEMBERED: Final = 4096


class Membership:
    """Knows whether a user sees all processes: root, or a member of the access group."""

    def __init__(self, group: str, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._group = group
        self._now_ns = now_ns
        self._known: dict[int, tuple[int, bool]] = {}  # uid -> when, answer
        self._asked: set[int] = set()
        self._answers: deque[tuple[int, bool]] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def fd(self) -> int:
        """Readable once an answer has come."""
        return self._bell

    def __call__(self, uid: int) -> bool:
        """Return whether a user sees all; False also as long as nobody knows."""
        return self.ask(uid) or False

    def ask(self, uid: int) -> bool | None:
        """Return whether a user sees all; None: it is being looked up."""
        if uid == 0:
            return True
        at, answer = self._known.get(uid, (None, None))
        if at is None or self._now_ns() - at >= REREAD_NS:
            self._begin(uid)
        return answer

    def take(self) -> None:
        """Take the answers that have come."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        while self._answers:
            uid, answer = self._answers.popleft()
            self._asked.discard(uid)
            self._known.pop(uid, None)
            self._known[uid] = self._now_ns(), answer
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]

    def _begin(self, uid: int) -> None:
        if uid in self._asked or len(self._asked) >= LOOKUPS:
            return
        thread = threading.Thread(target=self._run, args=(uid,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no thread to be had now; the next question tries again
        self._asked.add(uid)

    def _run(self, uid: int) -> None:
        self._answers.append((uid, is_member(self._group, uid)))
        os.eventfd_write(self._bell, 1)
