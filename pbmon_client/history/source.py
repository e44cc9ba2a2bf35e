"""Where the past is read from, whatever it is: the directory of a store, or a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from pbmon_client.history.layout import PROCESSES
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.past import Kept, Past, Series
from pbmond.wire import Message

DEFAULT_DIRECTORY: Final = Path("/var/lib/pbmon/history")


class PastError(Exception):
    """The past cannot be read; the message says why, and what to do."""


class PastSource(Protocol):
    """What can be asked about the past. Times are seconds of the epoch; see ``Past``.

    PastError if it cannot be read any more.
    """

    def refresh(self) -> None:
        """Take note of what was recorded since."""

    def message(
        self,
        since: int,
        until: int,
        *,
        flows: bool = True,
        top: int | None = None,
        by: Sequence[str] | None = None,
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
    """Open the past that a user named, or the host's own. PastError if there is none."""
    directory = DEFAULT_DIRECTORY if given is None else given
    try:
        return Past(directory)
    except OSError as error:
        raise PastError(
            f"cannot read the history in {directory}: {error.strerror}; "
            "`pbmon-client record` writes one"
        ) from None
    except MalformedError as error:
        raise PastError(f"cannot read {directory}: {error}") from None
