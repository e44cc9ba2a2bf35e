"""The tests of faults use what those of the kernel do: daemons of their own, and their programs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "kernel"))
