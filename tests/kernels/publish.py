"""Keeps results in the checkout, and makes from them what the pages say about kernels.

    python -m tests.kernels.publish DIR

DIR has what ``tests.kernels --results DIR`` wrote. Each replaces what was kept of the same series
with the same userland; the others stay.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.kernels import results, tables
from tests.kernels.cache import CHECKOUT
from tests.kernels.results import Result
from tests.pages import with_part

KEPT: Final = CHECKOUT / "tests/data/kernels"
#: Each page, and what it shows of the results.
PAGES: Final[dict[Path, Callable[[Sequence[Result]], str]]] = {
    CHECKOUT / "README.md": tables.summary,
    CHECKOUT / "packaging/doc/exactness.md": tables.markdown,
}
PART: Final = "kernels"


def main(arguments: Sequence[str]) -> int:
    """Keep the results of the directory that is the only argument."""
    KEPT.mkdir(exist_ok=True)
    for file in Path(arguments[0]).glob("*.json"):
        shutil.copyfile(file, KEPT / file.name)
    kept = results.load(KEPT)
    for page, shown in PAGES.items():
        page.write_text(with_part(page.read_text(), PART, shown(kept)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
