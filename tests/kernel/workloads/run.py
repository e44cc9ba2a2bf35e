"""Runs one workload program: ``python -I -S run.py NAME DIRECTORY``, led over stdin and stdout.

It prints {"ready": pid}, waits for a line, runs, prints {"rows": [...]}, and waits for a line
before it exits, so that its rows are live while the harness looks. In place of either line it may
print {"unavailable": reason}.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  light start

if TYPE_CHECKING:
    from .programs import program as contract
    from .programs.kernel import exit_thread
else:
    from programs import program as contract
    from programs.kernel import exit_thread


def _say(**answer: object) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _wait() -> None:
    """Wait for the harness's next line; end if the harness is gone."""
    if not os.read(0, 64):
        raise SystemExit(1)


def _lead(body: contract.Program, run: contract.Run) -> None:
    try:
        steps = body(run)
        next(steps)
        _say(ready=os.getpid())
        _wait()
        next(steps, None)
        _say(rows=run.report())
    except contract.UnavailableError as reason:
        _say(unavailable=str(reason))
    _wait()


def _serve(body: contract.Program, run: contract.Run) -> None:
    """Lead the program through its steps, undo what it made, and end the whole process."""
    status = 1
    try:
        with run.at_exit:
            _lead(body, run)
        status = 0
    except SystemExit:
        pass
    except BaseException:  # noqa: BLE001  the last frame of a thread: report, then end
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(name: str, directory: str) -> None:
    """Run the program ``name`` in the empty directory ``directory``."""
    import_module(f"programs.{name.partition('.')[0]}")
    body, run = contract.PROGRAMS[name], contract.Run(Path(directory))
    if body not in contract.LEADERLESS:
        _serve(body, run)
    Thread(target=_serve, args=(body, run)).start()
    exit_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
