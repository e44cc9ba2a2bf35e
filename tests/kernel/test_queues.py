"""System V message queues: no file and no row, but bytes of the process."""

from __future__ import annotations

from pathlib import Path

from processes import row_of, run_python

from pbmond.selftest.private_daemon import Daemon

_MOVE = """
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
libc.msgrcv.restype = ctypes.c_ssize_t
queue = libc.msgget(0, 0o600)
block = ctypes.create_string_buffer((1).to_bytes(8, "little") + bytes(8184), 8192)
for size in (5000, 7, 0):
    assert not libc.msgsnd(queue, block, ctypes.c_size_t(size), 0)
copied = libc.msgrcv(queue, block, ctypes.c_size_t(8000), ctypes.c_long(0), 0o44000)
assert copied == 5000 or ctypes.get_errno() == errno.ENOSYS
taken = [libc.msgrcv(queue, block, ctypes.c_size_t(8000), ctypes.c_long(0), 0) for _ in range(3)]
assert taken == [5000, 7, 0], taken
assert libc.msgrcv(queue, block, ctypes.c_size_t(8000), ctypes.c_long(0), 0o4000) == -1
libc.msgctl(queue, 0, None)
print(json.dumps(os.getpid()))
"""


def test_system_v_messages_count_for_their_process_and_lose_nothing(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        pid = run_python(_MOVE)
        seen = daemon.snapshot()
    row = row_of(seen, pid)
    assert (row["device_read_bytes"], row["device_write_bytes"]) == (5007, 5007)
    assert row["name"] is not None
    assert set(seen.health["lost"].values()) == {0}
    assert seen.health["status"] == "complete"
