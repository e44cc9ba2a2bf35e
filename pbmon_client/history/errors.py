"""What keeps the past from being read."""

from __future__ import annotations


class PastError(Exception):
    """The past cannot be read; the message says why in one line, and what to do."""
