"""The distribution's logrotate, with the packages' file for it, rotates a running daemon's log."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from waiting import wait_until

from pbmond.selftest.private_daemon import Daemon

_ROOT = Path(__file__).resolve().parents[2]
_REOPENED = "log file reopened"
#: What systemd does at that, for a daemon without systemd: the unit's ExecReload=.
_SYSTEMCTL = """#!/bin/sh
[ "$*" = "reload pbmond.service" ] && kill -HUP {pid}
"""


def rotate(place: Path, logs: Path, pid: int) -> None:
    """Run logrotate as its timer does, for the logs in ``logs``, as if they were a week older."""
    tools, rules, state = place / "tools", place / "pbmond", place / "state"
    tools.mkdir(exist_ok=True)
    (tools / "systemctl").write_text(_SYSTEMCTL.format(pid=pid))
    (tools / "systemctl").chmod(0o755)
    text = (_ROOT / "packaging/systemd/pbmond.logrotate").read_text()
    assert "/var/log/pbmon/*.log {" in text
    rules.write_text(text.replace("/var/log/pbmon/", f"{logs}/"))
    rules.chmod(0o644)
    state.write_text(f'logrotate state -- version 2\n"{logs}/pbmond.log" 2001-1-1-0:0:0\n')
    subprocess.run(
        ["logrotate", "--state", str(state), str(rules)],
        check=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )


def test_a_rotated_log_goes_on_in_a_new_file_and_loses_no_line(tmp_path: Path) -> None:
    if shutil.which("logrotate") is None:
        pytest.skip("logrotate is not installed")
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    log, before = logs / "pbmond.log", logs / "pbmond.log.1"
    append = ("/bin/sh", "-c", f'exec "$@" --log-file {shlex.quote(str(log))}', "sh")
    with Daemon(tmp_path, prefix=append) as daemon:
        written = log.read_text()
        rotate(tmp_path, logs, daemon.process.pid)
        wait_until(lambda: "" if _REOPENED in log.read_text() else _REOPENED)
        assert before.read_text().startswith(written)
        assert (log.stat().st_mode & 0o777, log.stat().st_uid) == (0o600, 0)
        kept = before.read_text()
        rotate(tmp_path, logs, daemon.process.pid)  # the second time, the first is older still
        wait_until(lambda: "" if log.exists() and _REOPENED in log.read_text() else _REOPENED)
        daemon.snapshot()
        assert daemon.stop() == 0
    assert (logs / "pbmond.log.2.gz").exists()
    assert before.read_text().count(_REOPENED) == 1
    assert kept not in log.read_text()
