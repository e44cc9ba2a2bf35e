"""Claims about the unit: systemd understands it, and it has the rights that the daemon uses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond.system.rights import STARTING

_SYSTEMD = Path(__file__).parents[3] / "packaging/systemd"
_UNIT = (_SYSTEMD / "pbmond.service").read_text()
#: What systemd-analyze security may count against it, in tenths. The rest is explained in the unit.
_EXPOSED_MOST = 25


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit as it is installed, but for the manual, which systemd would look up."""
    path = tmp_path / "pbmond.service"
    installed = _UNIT.replace("ExecStart=pbmond", f"ExecStart={sys.executable} -m pbmond")
    path.write_text(re.sub(r"^Documentation=.*\n", "", installed, flags=re.MULTILINE))
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_systemd_understands_every_line(unit: Path) -> None:
    done = analyze("verify", str(unit))
    # Other units of this machine may have faults of their own.
    about = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (about, done.returncode) == ([], 0)


def test_it_is_not_more_exposed_than_explained(unit: Path) -> None:
    most = f"--threshold={_EXPOSED_MOST}"
    done = analyze("security", "--offline=true", "--no-pager", most, str(unit))
    assert done.returncode == 0, done.stdout


def test_its_bounding_set_is_what_the_daemon_starts_with() -> None:
    """SYS_ADMIN is for baseline=true, as a comment says; LimitMEMLOCK= is for SYS_RESOURCE."""
    bound = " ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", _UNIT, re.MULTILINE)).split()
    assert sorted(bound) == sorted(
        f"CAP_{name}" for name in STARTING - {"SYS_ADMIN", "SYS_RESOURCE"}
    )
    assert "LimitMEMLOCK=infinity" in _UNIT


def test_it_is_restarted_and_watched_and_dies_last() -> None:
    settings = dict(
        line.split("=", 1) for line in _UNIT.splitlines() if re.match(r"[A-Z]\w+=", line)
    )
    assert settings["Type"] == "notify"
    assert settings["Restart"] == "always"
    assert int(settings["WatchdogSec"]) > 0
    assert int(settings["OOMScoreAdjust"]) < 0
    assert settings["OOMPolicy"] == "continue"  # a publisher that dies so must not end the unit


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    copy = tmp_path / "pbmond"
    copy.write_text((_SYSTEMD / "pbmond.logrotate").read_text())
    copy.chmod(0o644)
    state = tmp_path / "state"
    done = subprocess.run(
        ["logrotate", "--debug", "--state", str(state), str(copy)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
