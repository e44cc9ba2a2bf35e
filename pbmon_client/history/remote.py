"""The past as a server answers about it: a connection for each question."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from pbmon_client.history.errors import PastError
from pbmon_client.history.layout import LAYOUTS, PROCESSES, TOTALS
from pbmon_client.history.past import Kept, Series
from pbmon_client.history.queries import LENGTH, pack_query
from pbmon_client.history.replies import (
    REPLY_BYTES,
    QueryRefusedError,
    Reply,
    kept_in,
    message_in,
    parse_reply,
    series_in,
)
from pbmond.wire import Message, WireError

#: A question may have to wait for others of this user.
_PATIENCE_S: Final = 120.0
_PIECE: Final = 1 << 20
Believed = TypeVar("Believed", Message, Series, Kept)


class RemotePast:
    """Asks a server of the past; a PastSource. PastError if it does not answer as it should.

    ``scope`` is whose rows it shows: "all", or "own".
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.scope = "own"
        self._ask("refresh")  # whether it answers

    def refresh(self) -> None:
        """Do nothing: each answer is of the store as it is then."""

    def message(
        self,
        since: int,
        until: int,
        *,
        flows: bool = True,
        counts: bool = True,
        top: int | None = None,
        by: Sequence[str] | None = None,
        whole_ticks: bool = False,
    ) -> Message:
        """Return what moved from ``since`` to ``until``: see ``Past``."""
        _check_range(since, until)
        reply = self._ask(
            "message", since=since, until=until, flows=flows, counts=counts, top=top,
            by=None if by is None else list(by), whole_ticks=whole_ticks,
        )  # fmt: skip
        return self._believed(message_in, reply.value)

    def frame(self, at: int) -> Message:
        """Return the interval that ends next after second ``at``: see ``Past``."""
        return self._believed(message_in, self._ask("frame", at=at).value)

    def series(
        self,
        since: int,
        until: int,
        step: int,
        where: Mapping[str, Any] | None = None,
        table: str = PROCESSES,
    ) -> Series:
        """Return what moved in each step: see ``Past``."""
        _check_range(since, until, step)
        given = None if where is None else dict(where)
        reply = self._ask("series", since=since, until=until, step=step, where=given, table=table)
        counters = TOTALS if where is None else LAYOUTS[table].counters
        return self._believed(series_in, reply.value, counters)

    def kept(self) -> Kept:
        """Return what there is: see ``Past``."""
        return self._believed(kept_in, self._ask("kept").value)

    def _ask(self, method: str, **arguments: Any) -> Reply:  # noqa: ANN401 - of the method
        try:
            reply = parse_reply(self._exchange(pack_query(method, arguments)))
        except QueryRefusedError as error:
            raise PastError(f"the history server at {self.path} says: {error}") from None
        except WireError as error:
            raise self._nonsense(error) from None
        except TimeoutError:
            raise PastError(f"the history server at {self.path} does not answer") from None
        except OSError as error:
            words = error.strerror or str(error)
            raise PastError(f"cannot ask the history server at {self.path}: {words}") from None
        self.scope = reply.scope
        return reply

    def _exchange(self, query: bytes) -> bytes:
        until = time.monotonic() + _PATIENCE_S
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(_PATIENCE_S)
            sock.connect(str(self.path))
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have said why
                sock.sendall(query)
            (size,) = LENGTH.unpack(_received(sock, LENGTH.size, until))
            if size > REPLY_BYTES:
                raise WireError(f"{size} bytes are too many")
            return _received(sock, size, until)

    def _believed(self, parse: Callable[..., Believed], *given: Any) -> Believed:  # noqa: ANN401
        try:
            return parse(*given)
        except (WireError, ValueError) as error:
            raise self._nonsense(error) from None

    def _nonsense(self, error: ValueError) -> PastError:
        return PastError(f"the history server at {self.path} sent what is no answer: {error}")


def _check_range(since: int, until: int, step: int = 1) -> None:
    if since >= until or step <= 0:
        raise ValueError("the range is empty")


def _received(sock: socket.socket, size: int, until: float) -> bytes:
    """Return so many bytes; memory grows only with what came."""
    received = bytearray()
    while len(received) < size:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(min(size - len(received), _PIECE))
        if not piece:
            raise ConnectionAbortedError(0, "it ended in the middle of an answer")
        received += piece
    return bytes(received)
