"""The command ``pbmon-client web``: checks that what it needs is installed, and serves.

A distribution may have what it needs in versions that are too old for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import Final

#: What the extra pbmon[web] brings.
_NEEDED: Final = ("fastapi", "uvicorn", "websockets", "re2", "prometheus_client", "numpy")


def main(arguments: Sequence[str]) -> int:
    """Serve until the end; return the exit status. Mistakes in ``arguments`` are SystemExit 2."""
    from pbmon_client.data.text import safe_text  # noqa: PLC0415 - as below
    from pbmon_client.web import options  # noqa: PLC0415 - only this command needs it

    chosen = options.parse(arguments)
    missing = [name for name in _NEEDED if find_spec(name) is None] or [*_too_old()]
    if missing:
        sys.stderr.write(
            f"pbmon-client: web needs {', '.join(missing)}: pip install 'pbmon[web]'\n"
        )
        return 1
    from pbmon_client.web import serve  # noqa: PLC0415 - loads all of FastAPI

    try:
        serve.run(chosen)
    except serve.ServeError as error:
        sys.stderr.write(f"pbmon-client: {safe_text(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _too_old() -> Iterator[str]:
    """Yield what is older than pbmon's own metadata asks for with the extra."""
    try:
        wanted = metadata.requires("pbmon") or []
    except metadata.PackageNotFoundError:  # a checkout without an installation
        return
    for each in wanted:
        found = re.match(r"([\w.-]+)\s*>=\s*([\d.]+).*;.*extra\s*==\s*['\"]web['\"]", each)
        if found is None:
            continue
        try:
            have = metadata.version(found[1])
        except metadata.PackageNotFoundError:  # the module is there, if not by this name
            continue
        if _numbers(have) < _numbers(found[2]):
            yield f"{found[1]} {found[2]} or newer (here is {have})"


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version; what follows them, as in 1.2rc1, is of no account."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
