"""The host's users by name, asked with a time limit: a directory service (LDAP, sssd) may hang."""

from __future__ import annotations

import pwd
import threading
from typing import Final

#: How long an answer is waited for when the daemon starts.
LIMIT_S: Final = 10.0


class AccountsError(Exception):
    """The user database does not answer. The message is one line."""


def user(name: str) -> pwd.struct_passwd | None:
    """Return the entry of a user, None if there is no such user; AccountsError after LIMIT_S."""
    found: list[pwd.struct_passwd | None] = []

    def look_up() -> None:
        try:
            found.append(pwd.getpwnam(name))
        except (KeyError, ValueError):
            found.append(None)

    # A daemon, because it cannot be ended. One that has answered is gone, with its capabilities.
    asking = threading.Thread(target=look_up, daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    if not found:
        raise AccountsError(
            f"the user database does not say within {LIMIT_S:g} s who {name!r} is: "
            "see to the services in /etc/nsswitch.conf"
        )
    return found[0]
