"""User names and numbers, from the host's user database (pwd), which may hang (LDAP, sssd).

It is asked in other threads. Who asks waits a moment for the first answer, and not at all while the
database hangs: until it answers, a user is a number, or has the name of the last answer.
"""

from __future__ import annotations

import pwd
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pbmon_client.data.text import safe_text

#: How long one look-up is waited for, by what shows names, and by what cannot go on without.
PATIENCE_S: Final = 0.25
LIMIT_S: Final = 5.0
#: An answer is used while it is younger than this, and then until there is a newer one.
FRESH_S: Final = 600.0
#: The most threads, each of which may hang, and the most users that are remembered or wait.
THREADS: Final = 4
_MOST: Final = 65_536
_WAITING: Final = 10_000

LookUp = Callable[[int], str | None]


def _name_of(uid: int) -> str | None:
    try:
        return safe_text(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError, OSError):
        return None


@dataclass(slots=True)
class _UserEntry:
    """What is known of a user; ``name`` None: nothing, or there is none."""

    name: str | None = None
    asked_s: float | None = None  # when it was asked about last
    answered: threading.Event = field(default_factory=threading.Event)


class UserNames:
    """Names of users. Any thread may ask; a question costs ``patience_s`` at most."""

    def __init__(
        self,
        look_up: LookUp = _name_of,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._known: OrderedDict[int, _UserEntry] = OrderedDict()
        self._questions: queue.Queue[tuple[int, _UserEntry]] = queue.Queue(_WAITING)
        self._threads = 0
        self._hangs = False  # somebody waited in vain, and no answer has come since

    def __call__(self, uid: int) -> str:
        """Name a user; the number as text where the host does not know it, or not yet."""
        entry = self._entry(uid)
        if not entry.answered.is_set() and not self._hangs:
            self._hangs = not entry.answered.wait(self._patience_s)
            if self._hangs:
                self._start()  # one thread may hang with this one: the others are for the rest
        return entry.name or str(uid)

    def _entry(self, uid: int) -> _UserEntry:
        now_s = self._clock()
        with self._lock:
            entry = self._known.get(uid)
            if entry is None:
                entry = self._known[uid] = _UserEntry()
            if entry.asked_s is not None and now_s - entry.asked_s < FRESH_S:
                return entry
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
            if not self._questions.full():
                entry.asked_s = now_s
                self._questions.put_nowait((uid, entry))
        if not self._threads:
            self._start()
        return entry

    def _start(self) -> None:
        with self._lock:
            if self._threads >= THREADS:
                return
            self._threads += 1
        # A daemon: one that hangs must not hold the program at its end.
        threading.Thread(target=self._run, name="users", daemon=True).start()

    def _run(self) -> None:
        while True:
            uid, entry = self._questions.get()
            entry.name = self._look_up(uid)
            entry.answered.set()
            self._hangs = False


user_name: Final = UserNames()


def user_id(text: str) -> int:
    """Find the uid of a name or a number in text; ValueError if there is no such user.

    ValueError, too, if the user database does not answer within LIMIT_S.
    """
    if text.isascii() and text.isdigit() and int(text[:11]) < 1 << 32:
        return int(text[:11])
    found: list[int | None] = []
    asking = threading.Thread(target=lambda: found.append(_id_of(text)), daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    if not found:
        raise ValueError(f"the user database does not answer: give the number of {text!r}")
    if found[0] is None:
        raise ValueError(f"no user {text!r} on this host")
    return found[0]


def _id_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError, OSError):
        return None
