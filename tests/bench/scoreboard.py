"""The self-test's rows by area and verdict, as packaging/doc/exactness.md shows them.

``sudo pbmond selftest --json | .venv/bin/python tests/bench/scoreboard.py``
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict

import bench

#: The first pattern that a path begins with gives its area.
AREAS = {
    r"lossy\.|sockets\.(?!udp|error_queue|sctp)|stream_sockets\.(?!sent_w|received)": "TCP",
    r"sockets\.(udp|error_queue)": "UDP",
    r"families\.unix": "unix sockets",
    r"queues\.": "files, pipes, devices",
    r"families\.|sockets\.": "netlink, packet, ICMP, SCTP and other sockets",
    r"zero_copy\.|stream_sockets\.": "sendfile, splice and other zero-copy",
    r"files|identities\.": "files, pipes, devices",
    r"uring": "io_uring",
    r"aio\.": "libaio",
    r"brief\.|processes\.|namespaces\.": "processes, namespaces",
    r"foreign\.": "32-bit programs",
}
VERDICTS = ("exact", "off", "unseen", "not offered")


def area_of(path: str) -> str:
    """Return where a path belongs; StopIteration if AREAS lacks it."""
    return next(area for pattern, area in AREAS.items() if re.match(pattern, path))


def main() -> int:
    """Read the report from standard input and print the table."""
    report = json.load(sys.stdin)
    programs: defaultdict[str, set[str]] = defaultdict(set)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in report["rows"]:
        for area in (area_of(row["path"]), "all"):
            programs[area].add(row["path"])
            counts[area][row["verdict"]] += 1
    rows = [
        [area, str(len(programs[area])), *(str(counts[area][verdict]) for verdict in VERDICTS)]
        for area in [*dict.fromkeys(AREAS.values()), "all"]
        if area in programs
    ]
    print(f"Linux {report['kernel']}, {report['machine']}\n")
    print(bench.table(["", "programs", *VERDICTS], rows))
    reasons = {(row["path"], row["reason"]) for row in report["rows"] if row["verdict"] != "exact"}
    for path, reason in sorted(reasons):
        print(f"- {path}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
