"""Where the past is read from, whatever it is: a server, the directory of a store, or a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pbmon_client.history.errors import PastError as PastError  # noqa: PLC0414 - it offers it
from pbmon_client.history.layout import PROCESSES
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.past import Kept, Past, Series
from pbmon_client.history.places import DEFAULT_DIRECTORY, DEFAULT_SOCKET
from pbmon_client.history.remote import RemotePast
from pbmon_client.history.segments import holds_store
from pbmond.wire import Message


class PastSource(Protocol):
    """What can be asked about the past. Times are seconds of the epoch; see ``Past``.

    PastError if it cannot be read any more.
    """

    @property
    def scope(self) -> str:
        """Whose rows it shows: "all", or "own"."""

    def refresh(self) -> None:
        """Take note of what was recorded since."""

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
        """Return what moved from ``since`` to ``until`` (exclusive)."""

    def frame(self, at: int) -> Message:
        """Return the interval of the finest tier that ends next after second ``at``."""

    def series(
        self,
        since: int,
        until: int,
        step: int,
        where: Mapping[str, Any] | None = None,
        table: str = PROCESSES,
    ) -> Series:
        """Return what moved in each step: the host's totals, or those of the rows ``where``."""

    def kept(self) -> Kept:
        """Return what there is."""


def open_past(given: Path | None = None) -> PastSource:
    """Open the past that a user named, or the host's own. PastError if there is none.

    The host's own is asked of its server; where none answers, its files are read.
    """
    if given is not None:
        return RemotePast(given) if given.is_socket() else _read(given)
    if not DEFAULT_SOCKET.is_socket():
        return _read(DEFAULT_DIRECTORY)
    try:
        return RemotePast(DEFAULT_SOCKET)
    except PastError as unanswered:
        try:
            return _read(DEFAULT_DIRECTORY)
        except PastError:
            raise unanswered from None


def _read(place: Path) -> Past:
    try:
        past = Past(place)
        if place.is_dir() and not holds_store(place):
            raise PastError(f"{place} has no history: `pbmon-client record` writes one")
    except OSError as error:
        hint = "; `pbmon-client record` writes one" if isinstance(error, FileNotFoundError) else ""
        raise PastError(f"cannot read the history in {place}: {error.strerror}{hint}") from None
    except MalformedError as error:
        raise PastError(f"cannot read {place}: {error}") from None
    return past
