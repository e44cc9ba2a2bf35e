"""The recorder as its unit runs it: as the publisher's user, with the unit's system calls."""

from __future__ import annotations

import grp
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmon_client.history.past import Past
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "packaging/systemd/pbmon-record.service").read_text()
#: Runs the client; its standard input has the system calls that it may make.
_UNDER_FILTER = """
import sys
from pbmond.system.seccomp import allow_only
from pbmond.system.syscalls import Calls
allow_only(Calls(frozenset(sys.stdin.read().split()), (), ()))
from pbmon_client.cli import main
sys.exit(main(sys.argv[1:]))
"""
_PATIENCE_S = patient(60.0)


def setting(name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert found
    return found[1]


def calls_of(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups, and of those in it."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    listed = subprocess.check_output(command, text=True).splitlines()[1:]
    names = [line.strip() for line in listed if not line.strip().startswith("#")]
    return {call for name in names for call in (calls_of(name) if name[0] == "@" else {name})}


def allowed() -> set[str]:
    """Return what the unit's two lines of SystemCallFilter= leave."""
    only, without = re.findall(r"^SystemCallFilter=(.*)$", UNIT, re.MULTILINE)
    assert without.startswith("~")
    left = calls_of("@default") | calls_of(only)
    return left.difference(*(calls_of(group) for group in without[1:].split()))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user reaches, with one for the recorder as StateDirectory= makes it."""
    with tempfile.TemporaryDirectory(prefix="pbmon-unit-", dir="/var/tmp") as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "run").mkdir(mode=0o755)
        (history := place / "history").mkdir()
        user = pwd.getpwnam(setting("User"))
        os.chown(history, user.pw_uid, grp.getgrnam(setting("Group")).gr_gid)
        history.chmod(int(setting("StateDirectoryMode"), 8))
        yield place


def recorder(place: Path, user: str, group: str) -> subprocess.Popen[str]:
    """Start one in a network of its own, which has nothing but what is in the file system."""
    process = subprocess.Popen(
        [
            *("unshare", "--net", "setpriv", f"--reuid={user}", f"--regid={group}"),
            *("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            *(sys.executable, "-c", _UNDER_FILTER, "record", "--directory", str(place / "history")),
            *("--socket", str(place / "run/pbmond.sock")),
        ],
        cwd=ROOT, umask=int(setting("UMask"), 8), text=True,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(" ".join(allowed()))
    process.stdin.close()
    process.stdin = None
    return process


def recorded(history: Path) -> bool:
    now = int(time.time())
    message = Past(history).message(now - 3600, now + 60, flows=False)
    return bool(message.totals["file_read_bytes"])


def test_the_publishers_user_records_what_its_group_may_read(place: Path) -> None:
    user, history = pwd.getpwnam(setting("User")), place / "history"
    with Daemon(place / "run", topic=b"all/processes", publisher_user=user.pw_name):
        process = recorder(place, setting("User"), setting("Group"))
        deadline = time.monotonic() + _PATIENCE_S
        while not recorded(history):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=_PATIENCE_S)
    # It may have waited for a tick on a busy machine; any call that is refused ends it otherwise.
    waited = ("; trying again", "pbmon-client: recording again")
    assert [line for line in said.splitlines() if not line.endswith(waited)] == []
    assert process.returncode == 0
    files = {path.name: path.stat() for path in history.iterdir()}
    assert files
    assert {(each.st_uid, each.st_gid) for each in files.values()} == {(user.pw_uid, user.pw_gid)}
    assert {stat.S_IMODE(each.st_mode) for each in files.values()} == {0o640}


def test_another_user_is_refused_everybodys_past(place: Path) -> None:
    os.chown(place / "history", pwd.getpwnam("nobody").pw_uid, -1)
    with Daemon(place / "run", topic=b"all/processes", publisher_user=setting("User")):
        process = recorder(place, "nobody", "nogroup")
        _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 1
    assert "only root and the group that sees everybody can record" in said
