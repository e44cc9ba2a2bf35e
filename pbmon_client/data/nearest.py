"""What to say of a field that does not exist: its nearest neighbours (difflib)."""

from __future__ import annotations

import difflib

from pbmond.fields import FIELDS


def unknown_field(name: str) -> str:
    """Say that there is no such field, and which ones are near."""
    near = difflib.get_close_matches(name, FIELDS, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "--help lists them"
    return f"no field {name!r} ({hint})"
