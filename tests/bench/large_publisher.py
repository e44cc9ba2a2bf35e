"""Publishes a made-up large host each second: ``large_publisher.py SOCKET PROCESSES FLOWS``.

Grants what ``--scope`` says, as the daemon would: "all", or "own" for ordinary users.
"""

from __future__ import annotations

import argparse
import os
import time

import zmq
from large_world import World, packed

from pbmond import wire


def topics(wanted: set[str], scope: str) -> list[wire.Topic]:
    """Return what to send of what is wanted."""
    prefix = "all/" if scope == "all" else f"uid/{os.geteuid()}/"
    return [wire.parse_topic(text.encode()) for text in sorted(wanted) if text.startswith(prefix)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("processes", type=int)
    parser.add_argument("flows", type=int)
    parser.add_argument("--scope", choices=("all", "own"), default="all")
    given = parser.parse_args()
    world = World(given.processes, given.flows)
    world.tick()
    world.tick()
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.SNDHWM, 4)
    publisher.bind(f"ipc://{given.socket}")
    print("ready", flush=True)
    wanted: set[str] = set()

    def send(topic: wire.Topic) -> None:
        flows = topic.kind == "flows"
        publisher.send(packed(topic, world.message(flows=flows, pid=topic.pid)))

    due = time.monotonic() + 1
    while True:
        if publisher.poll(max(0, round((due - time.monotonic()) * 1000))):
            frame = publisher.recv()
            text = frame[1:].decode()
            if not frame[0]:
                wanted.discard(text)
                continue
            wanted.add(text)
            for topic in topics({text}, given.scope):  # the last snapshot at once, as the daemon
                send(topic)
            continue
        due = max(due + 1, time.monotonic())
        world.tick()
        for topic in topics(wanted, given.scope):
            send(topic)


if __name__ == "__main__":
    main()
