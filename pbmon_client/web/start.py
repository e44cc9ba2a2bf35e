"""The command ``pbmon-client web``: checks that what it needs is installed, and serves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

#: What the extra pbmon[web] brings.
_NEEDED: Final = ("fastapi", "uvicorn", "websockets", "re2", "prometheus_client")


def main(arguments: Sequence[str]) -> int:
    """Serve until the end; return the exit status. Mistakes in ``arguments`` are SystemExit 2."""
    from pbmon_client.data.text import safe_text  # noqa: PLC0415 - as below
    from pbmon_client.web import options  # noqa: PLC0415 - only this command needs it

    chosen = options.parse(arguments)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"pbmon-client: web needs {' and '.join(missing)}: pip install 'pbmon[web]'\n"
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
