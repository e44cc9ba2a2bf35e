"""Forks workload programs on request: ``python -m pbmond.selftest.workloads.run DESCRIPTOR``.

Every message on the seqpacket socket DESCRIPTOR is a JSON object {"name", "directory", "seed"} with
two pipes: the standard input and output of a new process, which runs that program. One process
imports everything once, so that a program starts in a millisecond and reads no file.

A program prints {"ready": pid}, waits for a line, runs, prints {"rows": [...]}, waits for a line
before it cleans up, so that its rows are live while the harness looks, and prints {"done": true}.
Instead of any of these it may print {"unavailable": reason} or {"failed": reason}.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from threading import Thread

from pbmond.selftest.workloads.programs import PROGRAMS, kernel
from pbmond.selftest.workloads.programs import program as contract

_MAX_REQUEST = 65_536


def _say(**answer: object) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _wait() -> None:
    """Wait for the harness's next line. End if the harness is gone.

    Wait in poll(2), because a read that is in progress when a daemon starts may not be counted.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.poll()
    if not os.read(0, 64):
        raise SystemExit(1)


def _run_steps(body: contract.Program, run: contract.Run) -> None:
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
    """Take the program through its steps, clean up, and end the whole process."""
    try:
        with run.at_exit:
            _run_steps(body, run)
        _say(done=True)
    except SystemExit:
        pass
    except BaseException as error:  # noqa: BLE001  the last frame of a thread: report, then end
        _say(failed=_summary(error))
    finally:
        os._exit(0)


def _summary(error: BaseException) -> str:
    """Say what went wrong, and on which line of a program."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent.name == "programs"]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _become(request: dict[str, str], pipes: list[int]) -> None:
    """Turn this forked process into the program. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, fd in enumerate(pipes):
        os.dup2(fd, number)
        os.close(fd)
    kernel.stretch_sizes(int(request["seed"]))
    body, run = PROGRAMS[request["name"]], contract.Run(Path(request["directory"]))
    if body not in contract.LEADERLESS:
        _serve(body, run)
    Thread(target=_serve, args=(body, run)).start()
    kernel.exit_thread()


def main(descriptor: str) -> None:
    """Serve requests until the other end of the socket is closed."""
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # the programs say "done", so nobody waits for them
    control = socket.socket(fileno=int(descriptor))
    while True:
        data, pipes, _, _ = socket.recv_fds(control, _MAX_REQUEST, 2)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _become(json.loads(data), pipes)
        for fd in pipes:
            os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1])
