"""A crowd of living processes, each with one UDP socket that talks to several peers.

    PYTHON -I -S crowd.py PROCESSES FLOWS_EACH ACTIVE_EACH

Every ACTIVE_EACH-th process sends on all its flows once a second, the others only once. Says
"ready" on standard output when all have sent, and ends them when standard input ends.
"""

import os
import signal
import socket
import sys
import time

_FIRST_PORT = 20_000  # nobody need listen: what is sent counts


def live(flows: int, *, active: bool) -> None:
    """Send on every flow, and again each second if ``active``; never returns."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        for port in range(_FIRST_PORT, _FIRST_PORT + flows):
            sender.sendto(b"x", ("127.0.0.1", port))
        if not active:
            signal.pause()
        time.sleep(1)


def main() -> None:
    """Fork them all, wait, and end them all."""
    processes, flows, every = map(int, sys.argv[1:])
    children: list[int] = []
    try:
        for number in range(processes):
            child = os.fork()
            if not child:
                try:
                    live(flows, active=number % every == 0)
                finally:
                    os._exit(1)
            children.append(child)
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
