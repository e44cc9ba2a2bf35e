"""Claims about the units: systemd understands them, and they have the rights that are used."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond.system.rights import STARTING
from pbmond.system.syscalls import COLLECTOR, EXPENDABLE, PUBLISHER, Calls

_SYSTEMD = Path(__file__).parents[3] / "packaging/systemd"
_UNIT = (_SYSTEMD / "pbmond.service").read_text()
#: What systemd-analyze security may count against each, in tenths. Each unit explains what is left.
_EXPOSED_MOST = {"pbmond": 20, "pbmon-web": 13, "pbmon-record": 2, "pbmon-history": 5}
#: Runs the client; its standard input has the system calls that it may make.
_UNDER_FILTER = """
import sys
from pbmond.system.seccomp import allow_only
from pbmond.system.syscalls import Calls
allow_only(Calls(frozenset(sys.stdin.read().split()), (), ()))
from pbmon_client.cli import main
sys.exit(main(sys.argv[1:]))
"""
_ASK = (
    b"GET /api/v1/processes HTTP/1.1\r\nHost: localhost\r\n"
    b"Authorization: Bearer %s\r\nConnection: close\r\n\r\n"
)


@pytest.fixture(params=_EXPOSED_MOST)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a unit as it is installed, but for the manual, which systemd would look up."""
    path = tmp_path / f"{request.param}.service"
    shutil.copy(_SYSTEMD / "pbmond.socket", tmp_path)
    text = (_SYSTEMD / path.name).read_text()
    installed = re.sub(
        r"^ExecStart=pbmon\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE
    )
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
    most = f"--threshold={_EXPOSED_MOST[unit.stem]}"
    done = analyze("security", "--offline=true", "--no-pager", most, str(unit))
    assert done.returncode == 0, done.stdout


def test_every_unit_is_held_to_its_exposure() -> None:
    assert {path.stem for path in _SYSTEMD.glob("*.service")} == _EXPOSED_MOST.keys()


def test_its_bounding_set_is_what_the_daemon_starts_with() -> None:
    """SYS_ADMIN is for baseline=true, as a comment says; LimitMEMLOCK= is for SYS_RESOURCE."""
    bound = " ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", _UNIT, re.MULTILINE)).split()
    assert sorted(bound) == sorted(
        f"CAP_{name}" for name in STARTING - {"SYS_ADMIN", "SYS_RESOURCE"}
    )
    assert "LimitMEMLOCK=infinity" in _UNIT


def calls_of(group: str) -> frozenset[str]:
    """Return the system calls of one of systemd's groups."""
    listed = analyze("syscall-filter", "--no-pager", group).stdout.splitlines()[1:]
    names = [line.strip() for line in listed if not line.strip().startswith("#")]
    return filtered([" ".join(names)], frozenset())


def filtered(lines: list[str], start: frozenset[str]) -> frozenset[str]:
    """Return what lines of SystemCallFilter= allow, of which the first is a list of names."""
    allowed = start
    for line in lines:
        words = line.lstrip("~").split()
        calls = {name for word in words for name in (calls_of(word) if word[0] == "@" else {word})}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def allowed_by(unit: str) -> frozenset[str]:
    lines = re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE)
    assert lines
    return filtered(lines, calls_of("@default"))


@pytest.mark.parametrize("calls", [COLLECTOR, PUBLISHER, EXPENDABLE])
def test_it_allows_what_the_daemons_own_filters_allow(calls: Calls) -> None:
    """Otherwise a call would fail under systemd alone."""
    known = calls_of("@known")  # not, for example, those of a newer kernel than this systemd's
    assert known
    assert calls.names & known - allowed_by(_UNIT) == set()


def test_the_web_server_answers_under_the_filter_of_its_unit(tmp_path: Path) -> None:
    """libzmq ended it, where that was not allowed sched_setscheduler(2)."""
    unit = (_SYSTEMD / "pbmon-web.service").read_text()
    program = [
        *(sys.executable, "-c", _UNDER_FILTER),
        *("web", "--socket", str(tmp_path / "none"), "--unix", str(tmp_path / "web.sock")),
        *("--token-file", str(tmp_path / "token")),
    ]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(" ".join(allowed_by(unit)))
        server.stdin.close()
        said = server.stdout.readline()
        assert str(tmp_path / "web.sock") in said
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.connect(str(tmp_path / "web.sock"))
            token = (tmp_path / "token").read_bytes().strip()
            viewer.sendall(_ASK % token)
            answer = viewer.recv(100)
        server.terminate()
        rest = server.stdout.read()
    # There is no daemon to be a viewer of, but the server lives.
    assert (answer[:13], server.returncode) == (b"HTTP/1.1 503 ", -signal.SIGTERM), said + rest


def settings_of(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))


@pytest.mark.parametrize("name", ["pbmon-record", "pbmon-history"])
def test_what_keeps_the_past_stays_off_when_the_configuration_says_so(name: str) -> None:
    """It ends with 0 then, and with 2 for a configuration that is wrong."""
    settings = settings_of((_SYSTEMD / f"{name}.service").read_text())
    assert (settings["Restart"], settings["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert (settings["User"], settings["Group"]) == ("pbmon", "pbmon")
    assert (settings["CapabilityBoundingSet"], settings["PrivateNetwork"]) == ("", "yes")
    assert settings["RestrictAddressFamilies"] == "AF_UNIX"


def test_the_server_of_the_past_sees_the_uids_of_its_peers() -> None:
    """In a user namespace of its own every other user would be the same one (SO_PEERCRED)."""
    assert "PrivateUsers" not in settings_of((_SYSTEMD / "pbmon-history.service").read_text())


def test_it_is_restarted_and_watched_and_dies_last() -> None:
    settings = settings_of(_UNIT)
    assert settings["Type"] == "notify"
    assert settings["Restart"] == "always"
    assert settings["KillMode"] == "mixed"  # not to the forker, without which the daemon fails
    assert int(settings["WatchdogSec"]) > 0
    assert int(settings["OOMScoreAdjust"]) < 0
    assert settings["OOMPolicy"] == "continue"  # a publisher that dies so must not end the unit


def test_no_mount_delays_the_daemon() -> None:
    """A server that hangs would, and what boots meanwhile would not be counted."""
    order = re.findall(r"^(?:After|Requires|Wants|BindsTo|RequiresMountsFor)=(.*)$", _UNIT, re.M)
    assert {name for line in order for name in line.split()} == {"pbmond.socket"}
    # Modules that an admin lists are loaded before it, as before every service.
    assert "DefaultDependencies" not in _UNIT


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
