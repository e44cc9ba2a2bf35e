"""How long to wait: limits suit a present-day machine, and PBMON_PATIENCE multiplies them.

An emulated or overloaded machine may be twenty times slower without being broken.
"""

from __future__ import annotations

import os
import re
from typing import Final

VARIABLE: Final = "PBMON_PATIENCE"


class PatienceError(Exception):
    """The variable is not a factor; the message is one line that says what is allowed."""


def factor() -> int:
    """Return the factor from the environment, by default 1; raises PatienceError."""
    text = os.environ.get(VARIABLE, "1")
    if not re.fullmatch("[1-9][0-9]{0,2}|1000", text):
        raise PatienceError(f"{VARIABLE}={text!r}: must be a whole number from 1 to 1000")
    return int(text)


def patient(limit_s: float) -> float:
    """Return how many seconds to wait if ``limit_s`` is enough on a present-day machine."""
    return limit_s * factor()


def handed_down() -> dict[str, str]:
    """Return the variable, for a child with an environment of its own."""
    return {VARIABLE: str(factor())}
