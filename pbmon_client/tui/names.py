"""Names of addresses and services, looked up in other threads so that nothing waits."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pbmon_client.data.text import safe_text

_THREADS: Final = 2
_MOST: Final = 10_000
_WAITING: Final = 1_000
#: A lookup that failed is tried again after this long: a name server may only have been slow.
_RETRY_S: Final = 60.0


def host_name(address: str) -> str | None:
    """Ask for the name of an address; may take seconds."""
    try:
        return safe_text(socket.gethostbyaddr(address)[0])
    except (OSError, UnicodeError):
        return None


def service_name(protocol: str, port: int) -> str | None:
    """Ask for the name of a port; reads the host's table of services."""
    try:
        return safe_text(socket.getservbyport(port, protocol))
    except (OSError, OverflowError):
        return None


@dataclass(slots=True)
class _KnownName:
    """One lookup; ``name`` is None while it is unknown."""

    name: str | None = None
    retry_s: float | None = None  # when to ask again; None: never, or the lookup is running


class Names:
    """Answers at once with what is known, and looks up the rest in other threads.

    ``found`` is called from those threads. They start with the first question.
    """

    def __init__(
        self,
        found: Callable[[], None],
        look_up: Callable[[str], str | None] = host_name,
        service: Callable[[str, int], str | None] = service_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._found = found
        self._look_up = look_up
        self._service = service
        self._clock = clock
        self._known: OrderedDict[object, _KnownName] = OrderedDict()
        self._waiting: queue.Queue[tuple[_KnownName, Callable[[], str | None]]] = queue.Queue(
            _WAITING
        )
        self._threads: list[threading.Thread] = []

    def host(self, address: str) -> str | None:
        """Return the name of an address if it is known already."""
        return self._ask(address, lambda: self._look_up(address))

    def service(self, protocol: str, port: int) -> str | None:
        """Return the name of a service if it is known already."""
        return self._ask((protocol, port), lambda: self._service(protocol, port))

    def _ask(self, key: object, question: Callable[[], str | None]) -> str | None:
        entry = self._known.get(key)
        if entry is not None:
            retry_s = entry.retry_s
            if retry_s is None or self._clock() < retry_s:
                return entry.name
        if not self._threads:
            self._start()
        entry = entry or _KnownName()
        entry.retry_s = None
        # Stored before it is asked for: the answer may come before put_nowait() returns.
        self._known[key] = entry
        try:
            self._waiting.put_nowait((entry, question))
        except queue.Full:  # the next drawing asks again
            del self._known[key]
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return entry.name

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, name="names", daemon=True) for _ in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while True:
            entry, question = self._waiting.get()
            name = question()
            if name is None:
                entry.retry_s = self._clock() + _RETRY_S
            else:
                entry.name = name
                self._found()
