"""Root's daemon and code that others may change: refused in one line, before any of it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from one_line import refusal_of

from pbmond.patience import patient
from pbmond.selftest.private_daemon import switches

ROOT = Path(__file__).parents[2]
NOBODY = 65534
SWITCH = "--allow-unsafe-code"
pytestmark = pytest.mark.skipif(bool(switches()), reason="others may change this checkout itself")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what root runs."""
    for name in ("pbmond", "bpf"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=ignore)
    return tmp_path / "copy"


def command(code: Path, *options: str, bcc_python: str = "") -> list[str]:
    """What starts the daemon of a copy; its configuration and run directory are beside that."""
    config = code.parent / "pbmond.toml"
    config.write_text(
        f'run_dir = "{code.parent}/run"\npublisher_user = "nobody"\nbcc_python = "{bcc_python}"\n'
        f'log_file = "{code.parent}/log"\n'
    )
    program = "import sys; from pbmond.__main__ import main; sys.exit(main())"
    start = f"import sys; sys.path.insert(0, {str(code)!r}); {program}"
    return [sys.executable, "-I", "-c", start, "--config", str(config), *options]


def refused(code: Path, *options: str, bcc_python: str = "") -> str:
    """Start the daemon, which must end with one line and status 1; return the line."""
    return refusal_of(command(code, *options, bcc_python=bcc_python))


Change = Callable[[Path], None]


def give_away(path: Path) -> None:
    os.chown(path, NOBODY, 0)


def let_a_group_write(path: Path) -> None:
    os.chown(path, 0, 50)
    path.chmod(path.stat().st_mode | 0o020)


def let_everybody_write(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


@pytest.mark.parametrize("change", [give_away, let_a_group_write, let_everybody_write])
@pytest.mark.parametrize(
    "place",
    ["", "pbmond", "pbmond/loader/loader.py", "pbmond/system", "bpf/pbmon.c", "bpf/headers"],
)
def test_its_own_code_that_others_may_change_is_refused(
    copy: Path, place: str, change: Change
) -> None:
    change(copy / place)
    said = refused(copy)
    assert str(copy / place) in said
    assert SWITCH in said
    assert not (copy.parent / "run").exists()


@pytest.mark.parametrize("words", [("selftest", "--only", "tcp"), ("probes",)])
def test_its_commands_refuse_it_too(copy: Path, words: tuple[str, ...]) -> None:
    give_away(copy / "pbmond" / "kernel")
    start = command(copy)[:4]
    ended = subprocess.run([*start, *words], capture_output=True, check=False, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pbmond {words[0]}: {copy}/pbmond/kernel belongs to uid ")
    assert ended.stderr.count("\n") == 1


def test_a_folder_of_modules_that_the_caller_added_is_refused(copy: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    give_away(evil)
    ended = subprocess.run(
        [sys.executable, "-s", "-P", "-m", "pbmond", "--run-dir", str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{evil}"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith(f"pbmond: {evil} belongs to uid {NOBODY}")


def test_with_the_switch_it_runs_and_its_log_says_what_that_gives_up(copy: Path) -> None:
    give_away(copy / "bpf" / "pbmon.c")
    with subprocess.Popen(command(copy, SWITCH)) as daemon:
        log = copy.parent / "log"
        while daemon.poll() is None and not (log.exists() and "attached" in log.read_text()):
            time.sleep(0.05)
        daemon.terminate()
    assert daemon.returncode == 0
    assert f"{SWITCH}: {copy}/bpf/pbmon.c belongs to uid {NOBODY}: whoever" in log.read_text()


# --- the interpreter that has bcc -----------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtualenv whose every module of other packages leaves a mark when it runs."""
    place = tmp_path / "venv"
    subprocess.run(
        ["/usr/bin/python3", "-m", "venv", "--without-pip", place], check=True, timeout=patient(60)
    )
    (packages,) = place.glob("lib/python3*/site-packages")
    mark = f"open({str(tmp_path / 'mark')!r}, 'a').write('ran')\n"
    (packages / "bcc").mkdir()
    (packages / "bcc" / "__init__.py").write_text(mark)
    (packages / "hook.pth").write_text(f"import os; {mark}")
    return place


@pytest.mark.parametrize(
    "place",
    [
        *("", "bin", "lib/python3*/site-packages", "lib/python3*/site-packages/hook.pth"),
        *("lib/python3*/site-packages/bcc", "lib/python3*/site-packages/bcc/__init__.py"),
    ],
)
def test_an_interpreter_or_bcc_that_others_may_change_is_refused_before_it_runs(
    copy: Path, tmp_path: Path, environment: Path, place: str
) -> None:
    (path,) = environment.glob(place) if place else (environment,)
    give_away(path)
    said = refused(copy, bcc_python=str(environment / "bin" / "python3"))
    assert said.startswith(f"pbmond: {path} belongs to uid {NOBODY}")
    assert not (tmp_path / "mark").exists()


def test_the_environment_would_have_left_a_mark(
    copy: Path, tmp_path: Path, environment: Path
) -> None:
    said = refused(copy, bcc_python=str(environment / "bin" / "python3"))
    assert said.startswith("pbmond: no Python with bcc")
    assert (tmp_path / "mark").read_text().count("ran") >= 2  # hook.pth, and bcc


def test_a_link_of_roots_to_a_users_interpreter_is_refused(copy: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copy("/bin/sh", theirs)
    give_away(theirs)
    (tmp_path / "python").symlink_to(theirs)
    said = refused(copy, bcc_python=str(tmp_path / "python"))
    assert said.startswith(f"pbmond: {theirs} belongs to uid {NOBODY}")
