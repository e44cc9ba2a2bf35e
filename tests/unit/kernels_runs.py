"""What a guest writes of its runs, for the tests of the matrix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.kernels.results import Result, collect

MODES = {"sockets": "tracepoint", "files": "syscall-exit", "reads": "cast"}
MAPPED = "memory-mapped files, which move bytes without a call"


def row(path: str, verdict: str, reason: str | None = None) -> dict[str, Any]:
    return {"path": path, "verdict": verdict, "reason": reason}


def report(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What the self-test says; one row is exact, the others are given."""
    every = [row("files.read_write", "exact"), *rows]
    verdicts = [each["verdict"] for each in every]
    return {
        "modes": MODES,
        "summary": {
            name.replace(" ", "_"): verdicts.count(name)
            for name in ("exact", "off", "unseen", "not offered")
        },
        "rows": every,
        "lost": {"bytes": 0, "names": 0},
        "seconds": 71.5,
        "verified_instructions": 12345,
        **changes,
    }


def said(forced: str = "auto", **changes: Any) -> dict[str, Any]:
    """What the guest says of one run."""
    return {"forced": forced, "report": report(), "words": "", **changes}


FACTS = {"userland": "Debian 12", "python": "3.11.2", "bcc": "0.26.0"}
DAEMON = {"seconds": 20.1, "status": 0, "health": {"status": "complete"}, "words": ["attached"]}


def left(
    job: Path,
    *runs: dict[str, Any],
    facts: Any = FACTS,
    daemon: Any = DAEMON,
    failed: str | None = None,
) -> Result:
    """What comes of a job directory in which a guest has left that."""
    for name, what in (("facts", facts), ("daemon", daemon)):
        (job / f"{name}.json").write_text(json.dumps(what))
    for number, run in enumerate(runs):
        (job / f"run-{number:02}.json").write_text(json.dumps(run))
    return collect(job, "6.12.117+deb13-amd64", failed)
