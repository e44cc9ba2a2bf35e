"""Each distribution's packages ask for what pyproject.toml asks for, and say the same version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from pbmond import __version__

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTROL = (ROOT / "packaging/debian/control").read_text()
SPEC = (ROOT / "packaging/rpm/pbmon.spec").read_text()
#: Names that differ from "python3-" and PyPI's.
NAMES = {"pyzmq": "python3-zmq", "google-re2": "python3-re2"}


def floors(requirements: list[str]) -> dict[str, str]:
    pairs = (re.split(r">=", each) for each in requirements)
    return {NAMES.get(name, f"python3-{name}"): version for name, version in pairs}


CLIENT = floors(PROJECT["dependencies"])
EXTRAS = PROJECT["optional-dependencies"]
WEB = floors(EXTRAS["web"])
#: Of the client's, what the daemon imports too.
DAEMON = floors(EXTRAS["daemon"]) | {"python3-msgpack": CLIENT["python3-msgpack"]}


def debian(package: str, field: str) -> dict[str, str]:
    stanza = next(each for each in CONTROL.split("\n\n") if f"Package: {package}\n" in each)
    found = re.search(rf"^{field}:\n((?: .*\n)+)", stanza + "\n", re.MULTILINE)
    assert found
    versioned = re.findall(r"^ (python3-[\w-]+) \(>= (?:\d+:)?([\d.]+)\)", found[1], re.MULTILINE)
    return dict(versioned)


def rpm(package: str) -> dict[str, str]:
    part = SPEC.split(f"%package -n {package}\n")[1].split("%description")[0]
    return dict(re.findall(r"^Requires: +(python3-[\w-]+) >= ([\d.]+)$", part, re.MULTILINE))


@pytest.mark.parametrize(("package", "needed"), [("pbmond", DAEMON), ("pbmon-client", CLIENT)])
def test_both_distributions_packages_need_what_the_project_needs(
    package: str, needed: dict[str, str]
) -> None:
    assert debian(package, "Depends") == needed
    assert rpm(package) == needed


def test_debian_suggests_what_the_page_needs() -> None:
    assert debian("pbmon-client", "Suggests") == WEB


# --- versions and changes -------------------------------------------------------------------------


def changes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "packaging/changes.py", *arguments],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_the_changes_are_those_of_the_version_in_both_formats() -> None:
    assert changes("version").stdout == f"{__version__}\n"
    debian_log = changes("debian").stdout
    assert debian_log.startswith(f"pbmon ({__version__}) unstable; urgency=medium\n\n  * ")
    when = r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}"
    assert re.search(rf"\n -- pbmon maintainers <\S+>  {when}\n$", debian_log)
    assert re.match(rf"\* \w{{3}} \w{{3}} \d\d \d{{4}} .* - {re.escape(__version__)}-1\n- ",
                    changes("rpm").stdout)  # fmt: skip


def test_a_tag_must_be_that_of_the_version() -> None:
    refused = changes("check", "v99.0")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"changes.py: the tag is v99.0, but pbmond/__init__.py says {__version__}\n"
    )


def test_a_wrong_word_is_one_line_and_2() -> None:
    assert changes("frobnicate").returncode == 2


@pytest.mark.parametrize("heading", ["## 1.2.3 - 2026-01-31", "## Unreleased"])
def test_the_section_of_a_version_is_taken_and_no_other(
    heading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "packaging"))
    module = import_module("changes")  # a script, and in no package
    body = "### Fixed\n\n- A `b`\n  c.\n\n## 1.2.2 - 2025-01-01\n\n- Old.\n"
    text = f"# Changes\n\n{heading}\n\n{body}"
    found = module.section(text, "1.2.3", 7)
    assert module.items(found.text) == ["Fixed: A b c."]
    assert found.is_released == ("1.2.3" in heading)
    assert found.when == (1769860800 if found.is_released else 7)
    assert "* Sat Jan 31 2026" in module.rpm(found) or not found.is_released
