"""pipx and uv, from PyPI, install the client from the wheel, each in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pbmond import __version__

DEMO = Path(__file__).resolve().parents[1] / "data/demo.ndjson"
#: How each installs from a file.
INSTALLERS = {
    "pipx": ("pipx", "install"),
    "uv": ("uv", "tool", "install", "--python", sys.executable),
}


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs pipx and uv."""
    place = tmp_path_factory.mktemp("tools")
    venv.create(place, with_pip=True)
    pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", *INSTALLERS]
    subprocess.run(pip, check=True, capture_output=True)
    return place / "bin"


class Home:
    """A user's home in which one of the installers has installed pbmon."""

    def __init__(self, place: Path, tools: Path) -> None:
        self.place = place
        self._environment = {
            name: os.environ[name] for name in os.environ if name[:3] in ("PIP", "SSL")
        }
        index = os.environ.get("UV_INDEX_URL")
        self._environment |= {
            "HOME": str(place),
            "PATH": f"{place}/.local/bin:{tools}:/usr/bin:/bin",
            "PIPX_DEFAULT_PYTHON": sys.executable,
            "LC_ALL": "C.UTF-8",
            **({"UV_INDEX_URL": index} if index else {}),
        }

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, check=False, cwd=self.place, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip


@pytest.fixture(params=INSTALLERS)
def home(request: pytest.FixtureRequest, tmp_path: Path, tools: Path, built: Path) -> Home:
    """A home with pbmon, by either installer."""
    made = Home(tmp_path, tools)
    wheel = built / f"pbmon-{__version__}-py3-none-any.whl"
    done = made.run(*INSTALLERS[request.param], wheel)
    assert done.returncode == 0, done.stderr
    return made


def test_the_client_runs_and_the_daemon_says_what_it_lacks(home: Home) -> None:
    assert home.run("pbmon-client", "--version").stdout == f"pbmon-client {__version__}\n"
    shown = home.run("pbmon-client", "--demo", DEMO, "--once")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "nginx" in shown.stdout
    refused = home.run("pbmond")
    assert refused.returncode == 1
    assert refused.stderr.startswith("pbmond: ")
    assert refused.stderr.count("\n") == 1
    if os.geteuid() == 0:
        assert "pip install 'pbmon[daemon]'" in refused.stderr
    refused = home.run("pbmon-client", "web")
    assert refused.returncode == 1
    assert "'pbmon[web]'" in refused.stderr


def test_the_manual_is_where_the_installer_leaves_it(home: Home) -> None:
    """pipx links it to where man looks; uv leaves it in the tool's own environment."""
    found = [path for path in home.place.rglob("pbmon-client.1*") if path.exists()]
    assert found
    if (home.place / ".local/pipx").exists() or (home.place / ".local/share/pipx").exists():
        assert (home.place / ".local/share/man/man1/pbmon-client.1").exists()
