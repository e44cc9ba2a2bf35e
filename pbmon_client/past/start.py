"""The command ``pbmon-client history``: finds what of it is meant."""

from __future__ import annotations

from collections.abc import Sequence

from pbmon_client.past import options


def main(arguments: Sequence[str]) -> int:
    """Do what is asked and return the exit status; mistakes in ``arguments`` are SystemExit 2."""
    if arguments and arguments[0] == "serve":
        options.parse_serve(arguments[1:])
    return options.nothing_else(arguments)
