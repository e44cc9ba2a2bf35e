"""Names of addresses and services, looked up by other threads so that nothing waits for them."""

from __future__ import annotations

import queue
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pbmon_client.data.text import safe_text

_THREADS: Final = 2
_MOST: Final = 10_000
_WAITING: Final = 1_000


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


class Names:
    """Answers at once with what is known, and asks for the rest; ``found`` is called from a thread.

    Nothing is asked before the first question.
    """

    def __init__(
        self,
        found: Callable[[], None],
        look_up: Callable[[str], str | None] = host_name,
        service: Callable[[str, int], str | None] = service_name,
    ) -> None:
        self._found = found
        self._look_up = look_up
        self._service = service
        self._known: OrderedDict[object, str | None] = OrderedDict()
        self._waiting: queue.Queue[tuple[object, Callable[[], str | None]]] = queue.Queue(_WAITING)
        self._threads: list[threading.Thread] = []

    def host(self, address: str) -> str | None:
        """Return the name of an address if it is known by now."""
        return self._ask(address, lambda: self._look_up(address))

    def service(self, protocol: str, port: int) -> str | None:
        """Return the name of a service if it is known by now."""
        return self._ask((protocol, port), lambda: self._service(protocol, port))

    def _ask(self, key: object, question: Callable[[], str | None]) -> str | None:
        if key in self._known:
            return self._known[key]
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name="names", daemon=True)
                for _ in range(_THREADS)
            ]
            for thread in self._threads:
                thread.start()
        with suppress(queue.Full):  # asked again when it is drawn again
            self._waiting.put_nowait((key, question))
            self._known[key] = None
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return None

    def _work(self) -> None:
        while True:
            key, question = self._waiting.get()
            name = question()
            if name is not None:
                self._known[key] = name
                self._found()
