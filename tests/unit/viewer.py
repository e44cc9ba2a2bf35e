"""A viewer as another user would run it: subscribes, and prints the topic of each frame it gets.

Run as ``python viewer.py SOCKET UID COMMAND...``; it becomes UID only after its imports, so that
the interpreter may live where that user cannot read. Each COMMAND is one letter and what it takes:
``+TOPIC`` subscribe, ``-TOPIC`` unsubscribe, ``#N`` print N frames however long they take, ``=MS``
print frames until none came for MS, ``sHEX`` send raw bytes upstream, ``.`` wait for a line on
stdin.
"""

from __future__ import annotations

import os
import sys

import zmq


def run(path: str, uid: int, commands: list[str]) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    sock = zmq.Context().socket(zmq.XSUB)
    sock.setsockopt(zmq.LINGER, 0)
    sock.connect(f"ipc://{path}")
    for command in commands:
        verb, rest = command[0], command[1:]
        if verb in "+-":
            sock.send((b"\1" if verb == "+" else b"\0") + rest.encode())
        elif verb == "s":
            sock.send(bytes.fromhex(rest))
        elif verb == ".":
            sys.stdin.readline()
        elif verb == "#":
            for _ in range(int(rest)):
                show(sock.recv())
        elif verb == "=":
            while sock.poll(int(rest)):
                show(sock.recv())
    print("done", flush=True)


def show(frame: bytes) -> None:
    print(len(frame), frame.partition(b"\0")[0].decode(), flush=True)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    os._exit(0)
