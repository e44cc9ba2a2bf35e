"""The sockets that systemd gives: taken where they are meant for us, and hidden from children."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pbmond.system import given_sockets

#: Gives itself a socket of rtnetlink and two others, as systemd does, takes them, and says what it
#: has.
_CODE = """
import json, os, socket, sys
sockets = [
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE),
    socket.socket(socket.AF_UNIX),
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4),
]
copies = [os.dup(sock.fileno()) for sock in sockets]
for sock in sockets:
    sock.close()
for place, copy in enumerate(copies, 13):
    os.dup2(copy, place)
os.closerange(3, 13)
for place in (13, 14, 15):
    os.dup2(place, place - 10)
os.closerange(13, 16)
os.environ["LISTEN_PID"] = sys.argv[1] if len(sys.argv) > 1 else str(os.getpid())
os.environ["LISTEN_FDS"] = "3"
from pbmond.system import given_sockets
found = given_sockets.take()
print(json.dumps({
    "taken": [(sock.fileno(), sock.proto, os.get_inheritable(sock.fileno())) for sock in found],
    "open": [fd for fd in (3, 4, 5) if os.path.exists(f"/proc/self/fd/{fd}")],
    "told": [name for name in os.environ if name.startswith("LISTEN")],
    "again": len(given_sockets.take()),
}))
"""


def given(*arguments: str) -> dict[str, object]:
    done = subprocess.check_output([sys.executable, "-c", _CODE, *arguments])
    found: dict[str, object] = json.loads(done)
    return found


def test_those_of_rtnetlink_are_taken_and_no_child_gets_any() -> None:
    assert given() == {"taken": [[3, 0, False]], "open": [3], "told": [], "again": 0}


def test_those_of_another_process_are_left_alone() -> None:
    assert given("1") == {"taken": [], "open": [3, 4, 5], "told": [], "again": 0}


@pytest.mark.parametrize("count", ["", "-1", "x", "²"])
def test_a_number_that_is_none_is_none_given(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert given_sockets.take() == []
