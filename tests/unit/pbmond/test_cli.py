"""The pbmond command: one line for every mistake, and what overrides what."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond import cli
from pbmond.config import Config, ConfigError
from pbmond.selftest.private_daemon import switches
from pbmond.system.rundir import hold

ROOT = Path(__file__).resolve().parents[3]


def configuration(*arguments: str) -> Config:
    return cli.configuration(cli._parser().parse_args(arguments))


@pytest.fixture(autouse=True)
def usual_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "total_bytes", lambda: 8 << 30)


def test_without_arguments_it_is_the_defaults() -> None:
    assert configuration() == Config()


def test_tables_grow_with_the_hosts_memory_unless_the_file_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "total_bytes", lambda: 64 << 30)
    assert configuration() == Config(
        flows_capacity=262_144, files_capacity=262_144, overflow_capacity=131_072
    )
    file = tmp_path / "c.toml"
    file.write_text("[maps]\nfiles = 5000\n")
    assert configuration("--config", str(file)) == Config(
        flows_capacity=262_144, files_capacity=5000, overflow_capacity=131_072
    )


@pytest.mark.parametrize("option", ["--run-dir", "--log-file"])
def test_an_empty_path_is_not_the_current_directory(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        configuration(option, "")
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert f"{option}: is empty" in said


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('interval = 5\nlog_level = "debug"\nhistory_length = 9\n')
    config = configuration("--config", str(file), "--interval", "0.5", "--run-dir", "/x/y/../z")
    assert config == Config(
        interval_s=0.5, log_level="debug", history_length=9, run_dir=Path("/x/z")
    )
    assert configuration("--baseline") == Config(baseline=True)
    assert configuration("--log-file", "/l", "--log-level", "error") == Config(
        log_file=Path("/l"), log_level="error"
    )


def test_the_limits_hold_on_the_command_line_too() -> None:
    with pytest.raises(ConfigError, match=r"^--interval 0\.0: must be .* 0\.1 to 3600"):
        configuration("--interval", "0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--check-config"], "name the file with --config"),
        (["--config", "/nonexistent/c.toml"], "/nonexistent/c.toml: cannot be read"),
        (["--interval", "0"], "--interval 0.0"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert err.startswith("pbmond: ")


@pytest.mark.parametrize("arguments", [["--bogus"], ["--interval", "x"], ["--int", "1"], ["extra"]])
def test_arguments_that_do_not_exist_are_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("pbmond: ")


def test_check_config_says_that_a_file_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = ROOT / "packaging" / "pbmond.toml"
    assert cli.main(["--config", str(shipped), "--check-config"]) == 0
    assert capsys.readouterr() == (f"{shipped}: valid\n", "")


def test_check_config_names_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[exclude]\nusers = ['no-such-user']\n")
    assert cli.main(["--config", str(file), "--check-config"]) == 2
    assert capsys.readouterr().err == (
        f"pbmond: {file}: key `exclude.users`: this host has no user 'no-such-user'\n"
    )


def test_only_root_may_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main([]) == 1
    assert capsys.readouterr().err == (
        "pbmond: must run as root: use sudo, or the systemd service\n"
    )


def test_where_only_the_client_is_installed_it_says_how_to_get_the_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pipx installs it, without numpy."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main([]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "packaging/quickstart; or pip install 'pbmon[daemon]'" in said


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pbmond.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments, *switches()],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if switches():  # the log, whose first line says so, goes to the same place
        ended.stderr = ended.stderr.partition("\n")[2]
    return ended


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the daemon")


@needs_root
def test_a_missing_publisher_user_is_one_line_that_creates_it(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('publisher_user = "no-such-user"')
    ended = start("--config", str(tmp_path / "c.toml"), "--run-dir", str(tmp_path / "run"))
    assert ended.returncode == 1
    assert ended.stderr == (
        "pbmond: there is no user 'no-such-user'; create it: useradd --system --user-group "
        "--no-create-home --shell /usr/sbin/nologin no-such-user\n"
    )


@needs_root
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('publisher_user = "root"', "publisher_user 'root' is root; name another user"),
        ('publisher_user = "nobody"\nlog_file = "/nonexistent/x"', "/nonexistent/x: No such file"),
        ('publisher_user = "nobody"\nrun_dir = "/proc/1"', "/proc/1: "),
        ('publisher_user = "nobody"\nbcc_python = "/nonexistent/py"', "/nonexistent/py"),
    ],
)
def test_what_stands_in_the_way_is_one_line_and_exit_1(
    tmp_path: Path, text: str, said: str
) -> None:
    assert pwd.getpwnam("nobody")
    (tmp_path / "c.toml").write_text(
        f'run_dir = "{tmp_path}/run"\n{text}' if "run_dir" not in text else text
    )
    ended = start("--config", str(tmp_path / "c.toml"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("pbmond: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


@needs_root
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo two >&2; exit 3", "the loader ended with status 3"),
        ("kill -9 $$", "the loader was killed"),
        ("kill -SEGV $$", "the loader ended by signal 11"),
    ],
)
def test_a_loader_that_ends_without_a_word_is_one_line(
    tmp_path: Path, script: str, said: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    settings = (
        'publisher_user = "nobody"',
        f'run_dir = "{tmp_path}/run"',
        f'bcc_python = "{python}"',
    )
    (tmp_path / "c.toml").write_text("\n".join(settings))
    ended = start("--config", str(tmp_path / "c.toml"))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pbmond: {said}")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@needs_root
def test_a_second_daemon_says_who_holds_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('publisher_user = "nobody"')
    with hold(tmp_path / "run"):
        ended = start("--config", str(tmp_path / "c.toml"), "--run-dir", str(tmp_path / "run"))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"pbmond: already running: process {os.getpid()} holds {tmp_path}/run; "
        "stop it first, or choose another --run-dir\n"
    )


# --- a crash ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["info", "error"])
def test_a_crash_is_one_line_and_its_traceback_is_in_the_log(tmp_path: Path, level: str) -> None:
    log = tmp_path / "log"
    code = (
        "import sys; from pbmond import cli; cli._publisher_account = lambda config: 1 / 0\n"
        "cli.os.geteuid = lambda: 0; cli.trials.raise_limits = lambda: None\n"
        "cli.refusals.lacking = lambda facts: None\n"
        "sys.exit(cli.main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "--log-file", str(log), "--log-level", level, *switches()],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr == "pbmond: unexpected ZeroDivisionError: division by zero\n"
    assert "CRITICAL pbmond: the daemon crashed" in log.read_text()
    assert "Traceback (most recent call last):" in log.read_text()
