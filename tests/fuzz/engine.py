"""One target under atheris: ``python -m tests.fuzz.engine NAME CORPUS -libFuzzer-option…``."""

from __future__ import annotations

import sys
from typing import Final

import atheris

from tests.fuzz.targets import all_targets

#: Readers below ours whose branches guide the search too.
BELOW: Final = {"config": ["tomllib"], "filter": ["lark"]}


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer ends the process, which it does itself."""
    name, *options = arguments
    with atheris.instrument_imports(include=["pbmond", "pbmon_client", *BELOW.get(name, ())]):
        target = all_targets()[name]
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
