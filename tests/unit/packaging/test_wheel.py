"""Claims about the wheel and the sdist: what an installation needs is in them, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from pbmond import __version__

ROOT = Path(__file__).parents[3]
DATA = f"pbmon-{__version__}.data/data/"
DIST_INFO = f"pbmon-{__version__}.dist-info/"
PAGE = "pbmon_client/web/page/"


def build(source: Path, target: str, place: Path) -> Path:
    hatchling = [sys.executable, "-m", "hatchling"]
    command = [*hatchling, "build", "--target", target, "--directory", str(place)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (made,) = place.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def text(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name).decode()


def below(place: Path) -> set[str]:
    return {
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_the_programs_that_the_kernel_runs(wheel: Path) -> None:
    found = {name for name in names(wheel) if name.startswith("pbmond/bpf/")}
    assert found == {f"pbmond/bpf/{name}" for name in below(ROOT / "bpf")}


def test_the_wheel_has_every_module_of_both_packages_and_no_others(wheel: Path) -> None:
    inside = {name for name in names(wheel) if name.endswith(".py")}
    modules = {
        f"{package}/{name}"
        for package in ("pbmond", "pbmon_client")
        for name in below(ROOT / package)
        if name.endswith(".py") and "node_modules" not in name
    }
    assert inside == modules


def test_the_wheel_has_the_manual_and_the_completions_where_pipx_puts_them(wheel: Path) -> None:
    shared = {name.removeprefix(DATA) for name in names(wheel) if name.startswith(DATA)}
    manual = {f"share/man/man{name[-1]}/{name}" for name in below(ROOT / "packaging/man")}
    completions = set()
    for name in below(ROOT / "packaging/completions"):
        place = {
            ".bash": f"bash-completion/completions/{name.removesuffix('.bash')}",
            ".fish": f"fish/vendor_completions.d/{name}",
        }.get(Path(name).suffix, f"zsh/site-functions/{name}")
        completions.add(f"share/{place}")
    assert shared == manual | completions


def test_the_wheel_has_the_units_and_the_configuration(wheel: Path) -> None:
    assert {f"pbmond/systemd/{name}" for name in below(ROOT / "packaging/systemd")} <= names(wheel)
    assert text(wheel, "pbmond/pbmond.toml") == (ROOT / "packaging/pbmond.toml").read_text()


def test_the_wheel_has_the_page_as_it_was_built_and_not_its_source(wheel: Path) -> None:
    inside = {name.removeprefix(PAGE) for name in names(wheel) if name.startswith(PAGE)}
    built = ROOT / PAGE / "dist"
    assert inside == {f"dist/{name}" for name in (below(built) if built.exists() else ())}


def test_the_client_needs_neither_numpy_nor_bcc(wheel: Path) -> None:
    needed = message_from_string(text(wheel, f"{DIST_INFO}METADATA")).get_all("Requires-Dist", [])
    always = {re.split(r"\W", each)[0] for each in needed if "extra ==" not in each}
    assert always == {"lark", "msgpack", "urwid"}
    assert any(re.match(r"numpy.*extra == ['\"]daemon['\"]", each) for each in needed)


def test_the_version_is_written_once(wheel: Path) -> None:
    assert message_from_string(text(wheel, f"{DIST_INFO}METADATA"))["Version"] == __version__
    listed = subprocess.run(
        ["git", "grep", "-l", "-F", __version__, "--", "*.py", "*.toml", "packaging", ".github"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode == 0:  # a checkout rather than an unpacked sdist
        wrong = [name for name in listed.stdout.split() if "lock" not in name]
        same = re.compile(rf'(?<![\d.]){re.escape(__version__)}(?![\d.])"?$', re.MULTILINE)
        assert [name for name in wrong if same.search((ROOT / name).read_text())] == [
            "pbmond/__init__.py"
        ]


def test_the_sdist_builds_the_same_wheel_again(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    place = tmp_path / "source"
    place.mkdir()
    subprocess.run(["tar", "--extract", "--file", sdist, "--directory", place], check=True)
    (source,) = place.iterdir()
    again = build(source, "wheel", tmp_path / "again")
    assert names(again) == names(wheel)
    shutil.rmtree(source)


def test_the_sdist_has_what_packages_and_tests_are_made_of(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= {
        *("packaging/build", "packaging/debian/rules", "packaging/rpm/pbmon.spec"),
        *("packaging/CHANGELOG.md", "bpf/pbmon.c", "tests/conftest.py", "LICENSE"),
    }
