"""The command ``pbmon-client record``: records, and ends well when it is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from pbmon_client.command_line import complain
from pbmon_client.record import options
from pbmon_client.subscription import SubscriptionError, SubscriptionRefused, wrong_schema_words
from pbmond.allocator import give_large_blocks_back
from pbmond.wire import WireError


def main(arguments: Sequence[str]) -> int:
    """Record until the end; return the exit status. Mistakes in ``arguments`` are SystemExit 2."""
    chosen = options.parse(arguments)
    if not chosen.settings.record:
        return complain(f"recording is off: {chosen.config} says [history] record = false", 0)
    if find_spec("numpy") is None:
        return complain("record needs numpy: install python3-numpy, or pip install 'pbmon[daemon]'")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # or numpy starts a thread per core, with buffers
    from pbmon_client.record import recorder  # noqa: PLC0415 - loads numpy

    give_large_blocks_back()
    signal.signal(signal.SIGTERM, _end)
    try:
        recorder.run(chosen)
    except (SubscriptionError, SubscriptionRefused, WireError, OSError) as error:
        return complain(_words(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _words(error: SubscriptionError | SubscriptionRefused | WireError | OSError) -> str:
    if isinstance(error, SubscriptionRefused):
        return f"{error}: only root and the group that sees everybody can record"
    if isinstance(error, WireError):
        return wrong_schema_words(error)
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        return f"cannot record: {where}{error.strerror or error}"
    return str(error)


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)
