"""Claims about packaging/: what it says of the programs is what the programs do."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbmon_client.cli import main as client
from pbmond.cli import main as daemon
from pbmond.config import KEYS
from pbmond.fields import FIELDS
from tests import completions, manpages, pages

PACKAGING = Path(__file__).parents[3] / "packaging"
NOBODY = 65534
Program = Callable[[list[str]], int]


def probes(arguments: list[str]) -> int:
    return daemon(["probes", *arguments])


def selftest(arguments: list[str]) -> int:
    return daemon(["selftest", *arguments])


def web(arguments: list[str]) -> int:
    return client(["web", *arguments])


def export(arguments: list[str]) -> int:
    return client(["export", *arguments])


def record(arguments: list[str]) -> int:
    return client(["record", *arguments])


def history(arguments: list[str]) -> int:
    return client(["history", *arguments])


def history_export(arguments: list[str]) -> int:
    return client(["history", "export", *arguments])


def history_import(arguments: list[str]) -> int:
    return client(["history", "import", *arguments])


def history_serve(arguments: list[str]) -> int:
    return client(["history", "serve", *arguments])


PROGRAMS = pytest.mark.parametrize(
    ("name", "program", "section"),
    [
        ("pbmond", daemon, 8),
        ("pbmond-probes", probes, 8),
        ("pbmond-selftest", selftest, 8),
        ("pbmon-client", client, 1),
        ("pbmon-client-web", web, 1),
        ("pbmon-client-export", export, 1),
        ("pbmon-client-record", record, 1),
        ("pbmon-client-history", history, 1),
        ("pbmon-client-history-export", history_export, 1),
        ("pbmon-client-history-import", history_import, 1),
        ("pbmon-client-history-serve", history_serve, 1),
    ],
)


def options_of(program: Program, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """All options, short and long, that the program's own help describes."""
    with pytest.raises(SystemExit):
        program(["--help"])
    described = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    return {option for line in described for option in re.findall(r"--?[a-z][a-z-]*", line)}


def long(options: set[str]) -> set[str]:
    return {option for option in options if option.startswith("--")}


@PROGRAMS
def test_the_man_page_describes_exactly_the_options(
    name: str, program: Program, section: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (PACKAGING / "man" / f"{name}.{section}").read_text()
    items = "\n".join(re.findall(r"^\.It Fl .*$", page, re.MULTILINE))
    described = {f"-{option}" for option in re.findall(r"Fl (-?[a-z][a-z-]*)", items)}
    assert described == options_of(program, capsys)


@PROGRAMS
def test_the_bash_completion_offers_exactly_the_long_options(
    name: str, program: Program, section: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(completed_by_bash(*words_of(name), "--")) == long(options_of(program, capsys))


@PROGRAMS
def test_the_zsh_completion_offers_exactly_the_options(
    name: str, program: Program, section: int, capsys: pytest.CaptureFixture[str]
) -> None:
    text = of_command(name, (PACKAGING / "completions" / f"_{words_of(name)[0]}").read_text())
    specs = re.sub(r"\([^)]*-[^)]*\)", "", text)  # the lists of options that exclude each other
    offered = set(re.findall(r"(?<=['\"{,*])(--?[a-z][a-z-]*)(?=[\[},])", specs))
    assert offered == options_of(program, capsys)


@PROGRAMS
def test_the_fish_completion_offers_exactly_the_options(
    name: str, program: Program, section: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *words = words_of(name)
    text = (PACKAGING / "completions" / f"{command}.fish").read_text()
    whose = "_".join(["in", *words]) if words else "own"
    condition = f'complete -c {command} -n "${whose}" '
    lines = [line for line in text.splitlines() if line.startswith(condition)]
    offered = {f"--{option}" for line in lines for option in re.findall(r" -l (\S+)", line)}
    offered |= {f"-{option}" for line in lines for option in re.findall(r" -s (\S)", line)}
    assert offered == options_of(program, capsys)


def words_of(name: str) -> list[str]:
    """The program and its command that a page is about; the program's files complete both."""
    program = next(each for each in ("pbmond", "pbmon-client") if name.startswith(each))
    return [program, *filter(None, name.removeprefix(program).split("-"))]


@PROGRAMS
def test_the_help_fits_a_terminal(
    name: str, program: Program, section: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program(["--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("word", ["web", "export", "record", "history"])
def test_the_help_and_the_page_of_the_client_name_its_commands(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        client(["--help"])
    assert f"pbmon-client {word}" in " ".join(capsys.readouterr().out.split())
    assert f"pbmon-client-{word} 1" in (PACKAGING / "man" / "pbmon-client.1").read_text()


def of_command(name: str, text: str) -> str:
    """The part of a zsh completion that is about ``name``, without its commands."""
    branch = r"^{0}if \[\[ \$words\[2\] == (\w+) \]\]; then\n(.*?)^{0}fi\n"
    for depth, word in enumerate(words_of(name)[1:]):
        found = re.findall(branch.format(" " * 4 * depth), text, re.MULTILINE | re.DOTALL)
        text = dict(found)[word]
    inner = branch.format(" " * 4 * len(words_of(name)[1:]))
    return re.sub(inner, "", text, flags=re.MULTILINE | re.DOTALL)


def test_bash_completes_sort_with_every_field() -> None:
    fields = completed_by_bash("pbmon-client", "--sort", "")
    assert sorted(fields) == sorted(FIELDS)


def test_bash_offers_files_where_a_command_takes_one_and_its_own_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "night.pbmon").touch()
    monkeypatch.chdir(tmp_path)
    offered = set(completed_by_bash("pbmon-client", "history", ""))
    assert {"export", "import", "serve", "--json"} <= offered
    for words in (["export", "n"], ["import", "night.pbmon", "n"], ["export", "--history", "n"]):
        assert completed_by_bash("pbmon-client", "history", *words) == ["night.pbmon"]
    assert completed_by_bash("pbmon-client", "export", "n") == []


@pytest.mark.parametrize("path", completions.files(), ids=lambda path: path.name)
def test_the_completions_are_made_of_the_options_as_they_are_now(path: Path) -> None:
    """If this fails: ``python -m tests.pages``."""
    assert path.read_text() == completions.files()[path]


def test_there_is_no_completion_that_nothing_makes() -> None:
    assert {*(PACKAGING / "completions").iterdir()} == completions.files().keys()


@pytest.mark.parametrize("path", manpages.PAGES, ids=lambda path: path.name)
def test_the_manual_has_the_options_as_they_are_now(path: Path) -> None:
    """If this fails: ``python -m tests.pages``."""
    assert path.read_text() == pages.manual(path.read_text(), manpages.PAGES[path])


def test_there_is_no_manual_that_nothing_makes() -> None:
    made = {*manpages.PAGES, manpages.CONFIGURATION}
    assert {*(PACKAGING / "man").iterdir()} == made


def test_what_a_manual_adds_by_hand_to_an_option_stays() -> None:
    page = (PACKAGING / "man/pbmond.8").read_text()
    by_hand = "\nSIGHUP reopens it.\n"
    assert by_hand in page
    assert by_hand in pages.manual(page, manpages.PAGES[PACKAGING / "man/pbmond.8"])


def completed_by_bash(name: str, *words: str) -> list[str]:
    script = (
        'source "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1));'
        '"_${2//-/_}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = PACKAGING / "completions" / f"{name}.bash"
    ran = subprocess.run(
        ["bash", "-c", script, "bash", path, name, *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout.split()


def test_the_man_page_names_every_key_of_the_configuration() -> None:
    """If this fails: ``python -m tests.pages``."""
    page = manpages.CONFIGURATION.read_text()
    assert pages.part_of(page, "keys") == manpages.configuration()
    table, named = "", set()
    for line in pages.part_of(page, "keys").splitlines():
        if line.startswith(".Ss "):
            table = line[5:-1] + "."
        elif line.startswith(".It Cm "):
            named.add(table + line.split()[2])
    assert named == KEYS.keys()


@pytest.fixture
def scripts() -> Iterator[Path]:
    """A copy of the scripts that every user can read: the checkout may be private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        copies = Path(directory) / "packaging"
        copies.mkdir(mode=0o755)
        for name in ("quickstart", "check", "common.sh", "page.sh", "install.sh", "recorder.sh"):
            shutil.copy(PACKAGING / name, copies)
        yield copies


def run(script: Path, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments], check=False, capture_output=True, text=True, user=user, cwd="/"
    )


@pytest.mark.parametrize("name", ["quickstart", "check"])
def test_without_root_the_scripts_say_so_in_one_line(scripts: Path, name: str) -> None:
    """Also for a test run as root: the script itself is then run as nobody."""
    user = NOBODY if Path("/proc/self").stat().st_uid == 0 else None
    ran = run(scripts / name, user=user)
    assert ran.returncode == 1
    assert re.fullmatch(rf"{name}: .* root.*: sudo packaging/{name}\n", ran.stderr)


def test_quickstart_refuses_an_unknown_option_in_one_line(scripts: Path) -> None:
    ran = run(scripts / "quickstart", "--frobnicate")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "quickstart: unknown option: --frobnicate (see --help)\n"


def test_quickstart_describes_its_options(scripts: Path) -> None:
    ran = run(scripts / "quickstart", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(re.findall(r"^  (--[a-z-]+)", ran.stdout, re.MULTILINE)) == {
        "--prefix", "--no-history", "--setup-only", "--dev", "--stop", "--uninstall", "--help"
    }  # fmt: skip


def test_check_runs_every_room_of_tests() -> None:
    rooms = tomllib.loads((PACKAGING.parent / "pyproject.toml").read_text())
    paths = set(rooms["tool"]["pytest"]["ini_options"]["testpaths"])
    both = (PACKAGING / "check").read_text().partition("\nrun_all_tests() {")[2].partition("\n}")[0]
    assert set(re.findall(r"tests/\w+(?![\w/])", both)) == paths
