"""The packages of this checkout, built once for all tests here: ``packaging/check --packages``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond import __version__
from tests.packages.debian_root import Root

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with everything that ``packaging/build`` makes."""
    place = tmp_path_factory.mktemp("built")
    command = [str(CHECKOUT / "packaging/build"), "--output", str(place)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return place


@pytest.fixture(scope="session")
def debs(built: Path) -> list[Path]:
    """The Debian packages, the client's first."""
    return [built / f"{name}_{__version__}_all.deb" for name in ("pbmon-client", "pbmond")]


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    """A clean root of the suite that is the test's parameter."""
    if os.geteuid() != 0:
        pytest.skip("only root makes roots")
    made = Root(request.param, tmp_path / "root")
    yield made
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", made.place], check=True)
