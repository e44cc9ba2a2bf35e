"""quickstart from a user's checkout: what root runs afterwards is root's, whatever the caller says.

It builds and installs pbmon twice, which takes about a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.loader.ownership import Inspector
from pbmond.patience import patient

ROOT = Path(__file__).parents[2]
NOBODY = 65534
#: What the checkout has that is not copied: the page stays, so that it need not be built.
_LEFT_OUT = shutil.ignore_patterns(".*_cache", ".git", ".venv", "__pycache__", "node_modules")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a checkout that is nobody's, and with what quickstart installs from it."""
    with tempfile.TemporaryDirectory(prefix="pbmon-quickstart-", dir="/var/tmp") as directory:
        place = Path(directory)
        place.chmod(0o755)
        shutil.copytree(ROOT, place / "checkout", ignore=_LEFT_OUT, symlinks=True)
        for path in (place / "checkout", *(place / "checkout").rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        quickstart(place)
        yield place


def quickstart(place: Path) -> str:
    """Set up; return what it says."""
    evil = str(place / "evil")
    ended = subprocess.run(
        [
            str(place / "checkout" / "packaging" / "quickstart"),
            *("--setup-only", "--prefix", str(place / "prefix")),
        ],
        env={**os.environ, "PYTHONPATH": evil, "TMPDIR": evil, "VIRTUAL_ENV": evil},
        cwd="/",
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patient(280),
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def evil(place: Path) -> Path:
    """Make a folder of modules, each of which leaves a mark when it runs."""
    folder = place / "evil"
    folder.mkdir(exist_ok=True)
    for name in ("sitecustomize", "usercustomize", "json", "logging", "msgpack", "zmq", "bcc"):
        (folder / f"{name}.py").write_text(f"open({str(place / 'mark')!r}, 'a').write('{name}\\n')")
    return folder


def test_only_root_may_change_what_was_installed(place: Path) -> None:
    Inspector().tree(str(place / "prefix"))
    owners = {path.lstat().st_uid for path in (place / "prefix").rglob("*")}
    assert owners == {0}


def test_the_commands_are_there_for_everybody(place: Path) -> None:
    for name in ("pbmond", "pbmon-client"):
        command = [str(place / "prefix" / "bin" / name), "--version"]
        said = subprocess.run(command, user=NOBODY, check=True, capture_output=True, text=True)
        assert said.stdout.startswith(name.replace("pbmond", "pbmon"))


@pytest.mark.parametrize("linker", [False, True])
def test_nothing_that_the_caller_names_runs_in_the_daemon(place: Path, linker: bool) -> None:
    """PYTHONPATH with a sitecustomize and modules named like the standard library's, and more."""
    folder = evil(place)
    names = ("PYTHONPATH", "PYTHONSTARTUP", "TMPDIR", "PATH", "HOME", "OPENSSL_CONF")
    environment = dict.fromkeys((*names, *(("LD_LIBRARY_PATH",) if linker else ())), str(folder))
    run_dir, log = place / f"run{linker}", place / f"log{linker}"
    config = place / "pbmond.toml"
    config.write_text('publisher_user = "nobody"\n')
    daemon = subprocess.Popen(
        [
            *(str(place / "prefix" / "bin" / "pbmond"), "--config", str(config)),
            *("--run-dir", str(run_dir), "--log-file", str(log)),
        ],
        env=environment,
        cwd=folder,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + patient(60)
    while daemon.poll() is None and "attached" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes = [daemon.pid, *children(daemon.pid)]
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in processes]
    daemon.terminate()
    _, said = daemon.communicate()
    assert daemon.returncode == 0, said
    assert not (place / "mark").exists()
    assert len(environments) > 1
    for each in environments[0 if linker else 1 :]:  # without, it keeps what it was executed with
        assert str(folder).encode() not in each


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_second_run_changes_nothing_and_another_version_replaces_the_link(place: Path) -> None:
    prefix = place / "prefix"
    before, tree = (prefix / "bin").readlink(), sorted(path.name for path in prefix.iterdir())
    assert "installing" not in quickstart(place)
    assert ((prefix / "bin").readlink(), sorted(path.name for path in prefix.iterdir())) == (
        before,
        tree,
    )
    version = place / "checkout" / "pbmond" / "__init__.py"
    version.write_text(version.read_text().replace('"0.', '"99.'))
    assert "installing" in quickstart(place)
    after = (prefix / "bin").readlink()
    assert after != before
    assert sorted(path.name for path in prefix.iterdir() if path.is_dir()) == sorted(
        (after.parts[0], "bin")  # and not the version that was there before
    )
    said = subprocess.run(
        [str(prefix / "bin" / "pbmond"), "--version"], check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith("pbmond 99.")


def refused(*options: str) -> tuple[int, str]:
    """Run quickstart; return its status and what it says."""
    ended = subprocess.run(
        [str(ROOT / "packaging" / "quickstart"), *options],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return ended.returncode, ended.stderr


def test_a_folder_of_something_else_is_left_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--setup-only", "--uninstall"):
        status, said = refused(option, "--prefix", str(tmp_path))
        assert status == 1
        assert f"{tmp_path} has something else in it" in said
        assert (tmp_path / "file").exists()


# What root has below a sticky folder, others cannot replace; beside it they can put something.
@pytest.mark.parametrize(
    ("mode", "owner", "below"),
    [
        (0o777, 0, ""),
        (0o777, 0, "new/prefix"),
        (0o1777, 0, ""),
        (0o755, NOBODY, ""),
        (0o755, NOBODY, "new/prefix"),
    ],
)
def test_nothing_is_written_where_others_could_change_it(
    tmp_path: Path, mode: int, owner: int, below: str
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    os.chown(folder, owner, -1)
    folder.chmod(mode)
    status, said = refused("--setup-only", "--prefix", str(folder / below))
    assert status == 1
    assert f"others than root may write to {folder}" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("prefix", ["", "opt/pbmon", "/opt/../pbmon"])
def test_a_prefix_that_is_no_plain_path_is_a_mistake_in_usage(prefix: str) -> None:
    status, said = refused("--setup-only", "--prefix", prefix)
    assert status == 2
    assert "must be an absolute path without links" in said
    assert len(said.splitlines()) == 1
