"""Keeps results in the checkout and makes the README's table of kernels from them.

    python -m tests.kernels.publish DIR

DIR has what ``tests.kernels --results DIR`` wrote. Each replaces what was kept of the same series
with the same userland; the others stay.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.kernels import results, tables
from tests.kernels.cache import CHECKOUT

KEPT: Final = CHECKOUT / "tests/data/kernels/runs"
README: Final = CHECKOUT / "README.md"
_BEGIN: Final = "<!-- kernels: made by `packaging/check --kernels`, not by hand -->\n"
_END: Final = "<!-- kernels: end -->\n"


def main(arguments: Sequence[str]) -> int:
    """Keep the results of the directory that is the only argument."""
    for file in Path(arguments[0]).glob("*.json"):
        shutil.copyfile(file, KEPT / file.name)
    README.write_text(replaced(README.read_text(), tables.markdown(results.load(KEPT))))
    return 0


def replaced(readme: str, part: str) -> str:
    """Return the README with ``part`` between its two comments."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{part}{_END}{after}"


def published(readme: str) -> str:
    """Return what is between the two comments."""
    return readme.partition(_BEGIN)[2].partition(_END)[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
