"""Asks a server of the past as another user: ``python history_asker.py SOCKET UID SINCE UNTIL``.

It becomes that user after its imports, because the interpreter may live where the user cannot read.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pbmon_client.history.remote import RemotePast


def run(path: Path, uid: int, since: int, until: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    past = RemotePast(path)
    message = past.message(since, until)
    assert message.connections is not None
    assert message.files is not None
    series = past.series(since, until, 60)
    asked = past.series(since, until, 60, {"uid": uid + 1})
    said = {
        "scope": past.scope,
        "uids": sorted({*message.processes.columns["uid"]}),
        "pids": sorted(message.processes.columns["pid"]),
        "owners": sorted({*message.connections.columns["pid"], *message.files.columns["pid"]}),
        "received": message.totals["net_rx_bytes"],
        "retired": message.retired.length,
        "steps": int(series.sums[:, series.counters.index("net_rx_bytes")].sum()),
        "of_others": int(asked.sums.sum()),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    run(Path(sys.argv[1]), *(int(each) for each in sys.argv[2:5]))
