"""A daemon that does not start says why in one line, and ends with status 1."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pbmond.patience import patient


def refusal_of(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit_s: float = 60,
) -> str:
    """Run what starts pbmond, which must end in one line and status 1; return the line."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        capture_output=True,
        check=False,
        text=True,
        timeout=patient(limit_s),
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("pbmond: ")
    return ended.stderr
