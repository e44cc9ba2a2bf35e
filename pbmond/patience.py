"""How long to wait: limits are for a machine of today, and PBMON_PATIENCE multiplies them all.

An emulated or overloaded machine is twenty times slower, and nothing is wrong with it.
"""

from __future__ import annotations

import os
import re
from typing import Final

VARIABLE: Final = "PBMON_PATIENCE"


class PatienceError(Exception):
    """The variable is no factor; the message is one line that says what is allowed."""


def factor() -> int:
    """Return the factor of this process's environment, 1 by default; may raise PatienceError."""
    text = os.environ.get(VARIABLE, "1")
    if not re.fullmatch("[1-9][0-9]{0,2}|1000", text):
        raise PatienceError(f"{VARIABLE}={text!r}: must be a whole number from 1 to 1000")
    return int(text)


def patient(limit_s: float) -> float:
    """Return how many seconds to wait where ``limit_s`` are enough for a machine of today."""
    return limit_s * factor()


def handed_down() -> dict[str, str]:
    """Return the variable for a child that is given an environment of its own."""
    return {VARIABLE: str(factor())}
