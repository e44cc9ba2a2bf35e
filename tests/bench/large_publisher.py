"""Publishes a made-up large host each second: ``large_publisher.py SOCKET PROCESSES FLOWS``.

Grants what ``--scope`` says, as the daemon would: "all", or "own" for ordinary users.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

import zmq
from large_world import World, packed

from pbmond import wire

_MOMENTS = 5


def topics(wanted: set[str], scope: str) -> list[wire.Topic]:
    """Return what to send of what is wanted."""
    prefix = "all/" if scope == "all" else f"uid/{os.geteuid()}/"
    return [wire.parse_topic(text.encode()) for text in sorted(wanted) if text.startswith(prefix)]


def made(world: World) -> Iterator[World]:
    """Yield some seconds of a world, made before they are sent over and over.

    To make one takes longer than a second on a busy machine, and the processor that the client is
    to be measured on.
    """
    for _ in range(_MOMENTS):
        world.tick()
        yield world.moment()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("processes", type=int)
    parser.add_argument("flows", type=int)
    parser.add_argument("--scope", choices=("all", "own"), default="all")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="a snapshot")
    given = parser.parse_args()
    moments = list(made(World(given.processes, given.flows)))
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.SNDHWM, 4)
    publisher.bind(f"ipc://{given.socket}")
    print("ready", flush=True)
    wanted: set[str] = set()
    seq = 0

    def send(topic: wire.Topic) -> None:
        flows = topic.kind == "flows"
        now = moments[seq % len(moments)]
        publisher.send(packed(topic, now.message(flows=flows, pid=topic.pid, seq=seq)))

    due = time.monotonic() + given.every
    while True:
        if publisher.poll(max(0, round((due - time.monotonic()) * 1000))):
            frame = publisher.recv()
            text = frame[1:].decode()
            if not frame[0]:
                wanted.discard(text)
                continue
            wanted.add(text)
            granted = topics({text}, given.scope)
            for topic in granted:  # the last snapshot at once, as the daemon
                send(topic)
            if not granted:
                refused = wire.parse_topic(text.encode())
                publisher.send(wire.refusal(refused, wire.NOT_YOURS))
            continue
        due = max(due + given.every, time.monotonic())
        seq += 1
        for topic in topics(wanted, given.scope):
            send(topic)


if __name__ == "__main__":
    main()
