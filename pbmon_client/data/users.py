"""User names and numbers, from the host's user database (pwd), cached."""

from __future__ import annotations

import functools
import pwd

from pbmon_client.data.text import safe_text


@functools.lru_cache(maxsize=65536)
def user_name(uid: int) -> str:
    """Name a user; the number as text where the host does not know it."""
    try:
        return safe_text(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return str(uid)


def user_id(text: str) -> int:
    """Find the uid of a name or a number in text; ValueError if there is no such user."""
    if text.isascii() and text.isdigit() and int(text[:11]) < 1 << 32:
        return int(text[:11])
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"no user {text!r} on this host") from None
