"""What stands in the way of the loader, or of the daemon before it, is one line and soon."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from one_line import refusal_of
from waiting import wait_until

from pbmond.kernel import loading
from pbmond.selftest.private_daemon import switches

_PBMOND = [sys.executable, "-s", "-P", "-m", "pbmond"]
_ROOT = Path(__file__).parents[2]


def refused(directory: Path, *prefix: str, **settings: str) -> str:
    """Start pbmond, which must end with one line and status 1; return the line."""
    said = {"run_dir": f"{directory}/run", "publisher_user": "nobody", **settings}
    config = directory / "pbmond.toml"
    config.write_text("".join(f'{key} = "{value}"\n' for key, value in said.items()))
    options = ("--config", str(config), "--log-file", str(directory / "log"), *switches())
    environment = {"PYTHONPATH": str(_ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return refusal_of([*prefix, *_PBMOND, *options], cwd=_ROOT, env=environment)


def script(directory: Path, text: str) -> str:
    """Make a program that is started as ``PROGRAM -I -S loader.py DESCRIPTOR``."""
    path = directory / "python"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("text", ["sleep 1000; :", "while :; do printf x; printf y >&2; done"])
def test_an_interpreter_that_hangs_or_babbles_is_ended_after_ten_seconds(
    tmp_path: Path, text: str
) -> None:
    began = time.monotonic()
    python = script(tmp_path, f"echo $$ > {tmp_path}/pid; {text}")
    said = refused(tmp_path, bcc_python=python)
    assert said.startswith(f"pbmond: {python} did not start within 10 s: ")
    assert time.monotonic() - began >= loading.READY_TIMEOUT_S
    session = (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not subprocess.run(["pgrep", "--session", session], check=False).returncode)


@pytest.mark.parametrize(
    "text",
    [
        "exec yes >&$4",
        "printf '%2000000d' 0 >&$4; sleep 1000",
        "echo '[]' >&$4; sleep 1000",
        """printf '{"ready": true}\\n{"count": -1}\\n' >&$4; sleep 1000""",
        """printf '{"ready": true}\\n{"count": "x", "maps": []}\\n' >&$4; sleep 1000""",
        """printf '{"done": true}\\n' >&$4; sleep 1000""",
    ],
)
def test_an_interpreter_that_answers_like_no_loader_is_refused(tmp_path: Path, text: str) -> None:
    python = script(tmp_path, text)
    said = refused(tmp_path, bcc_python=python)
    assert said.startswith(f"pbmond: {python} answers like no loader: set bcc_python ")


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_bytes(b"\0\1\2")
    python.chmod(0o755)
    assert f"{python} is not a program" in refused(tmp_path, bcc_python=str(python))


def test_an_access_group_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, access_group="no-such-group")
    assert said.startswith("pbmond: access_group: there is no group 'no-such-group'; create it")
