"""Claims about what root's daemon takes from its caller's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pbmond.patience import VARIABLE
from pbmond.system import environment

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH", "TMPDIR"),
        *("OPENSSL_CONF", "GCONV_PATH", "LOCPATH", "TZ", "BCC_LIBBPF", "HOME", "SSL_CERT_FILE"),
        *("OPENBLAS_NUM_THREADS", "NUMPY_X", "BASH_ENV", "IFS", "MALLOC_ARENA_MAX"),
    ],
)
def test_what_chooses_code_or_files_is_left_out(name: str) -> None:
    assert name not in environment.own({name: "/tmp/evil"})


def test_the_path_is_the_systems() -> None:
    assert environment.own({"PATH": "/tmp/evil"}) == {"PATH": environment.PATH}


@pytest.mark.parametrize("name", ["LANG", "LC_ALL", "TERM", "NOTIFY_SOCKET", VARIABLE])
def test_how_to_show_text_and_what_systemd_says_stays(name: str) -> None:
    assert environment.own({name: "x"})[name] == "x"


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "GLIBC_TUNABLES", "TMPDIR"])
def test_also_the_dynamic_linker_forgets_it(name: str) -> None:
    """What the kernel shows is what the process was executed with: the linker obeyed that."""
    code = (
        "import os; from pathlib import Path; from pbmond.system.environment import shed; shed()\n"
        "print(sorted(os.environ)); print(Path('/proc/self/environ').read_bytes())"
    )
    ended = subprocess.run(
        [sys.executable, "-s", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), name: "/tmp"},
        capture_output=True,
        check=True,
        text=True,
    )
    names, executed = ended.stdout.splitlines()
    assert name not in names
    assert "PYTHONPATH" not in names
    assert (f"{name}=" in executed) == (name == "TMPDIR")
