"""The environment: what the caller's says has no effect on root's daemon.

Python itself is started isolated (``-I``) by what quickstart and the packages install. The rest is
taken away here, before anything reads it: TMPDIR, PATH, OPENSSL_CONF, and what else libraries obey.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from pbmond.patience import VARIABLE

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How to show text, and what systemd tells a service.
_KEPT: Final = frozenset(
    {"LANG", "LANGUAGE", "TERM", "COLUMNS", "LINES", "NO_COLOR", VARIABLE}
    | {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"}
)
#: What the dynamic linker and the C library obeyed when this process started.
_OBEYED: Final = ("LD_", "GLIBC_", "MALLOC_", "GCONV_")


def own(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is left of the environment ``given``."""
    kept = {name: value for name, value in given.items() if name in _KEPT or name[:3] == "LC_"}
    return {**kept, "PATH": PATH}


def shed() -> None:
    """Leave nothing else of the caller's environment, for this process and its children.

    If the dynamic linker has obeyed some of it, this executes Python again.
    """
    left = own(os.environ)
    if any(name.startswith(_OBEYED) for name in os.environ):
        if not sys.flags.ignore_environment:  # where Python found us, which is looked at
            left |= {name: value for name, value in os.environ.items() if name[:6] == "PYTHON"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], left)  # noqa: S606
    os.environ.clear()
    os.environ.update(left)
