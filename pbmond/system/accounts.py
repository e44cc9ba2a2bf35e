"""The host's users and groups, asked with a time limit: a directory (LDAP, sssd) may hang."""

from __future__ import annotations

import grp
import pwd
import threading
from collections.abc import Callable
from typing import Final, TypeVar

DatabaseEntry = TypeVar("DatabaseEntry", pwd.struct_passwd, grp.struct_group)

#: How long an answer is waited for when the daemon starts.
LIMIT_S: Final = 10.0


class AccountsError(Exception):
    """The database does not answer. The message is one line."""


def user(name: str) -> pwd.struct_passwd | None:
    """Return the entry of a user, None if there is no such user; AccountsError after LIMIT_S."""
    return _entry(lambda: pwd.getpwnam(name), "user", f"who {name!r} is")


def group(name: str) -> grp.struct_group | None:
    """Return the entry of a group, None if there is no such group; AccountsError after LIMIT_S."""
    return _entry(lambda: grp.getgrnam(name), "group", f"who is in {name!r}")


def _entry(
    look_up: Callable[[], DatabaseEntry], database: str, question: str
) -> DatabaseEntry | None:
    """Return what a database finds, None if nothing; AccountsError names database and question."""
    found: list[DatabaseEntry | None] = []

    def ask() -> None:
        try:
            found.append(look_up())
        except (KeyError, ValueError):
            found.append(None)

    # A daemon, because it cannot be ended. One that has answered is gone, with its capabilities.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    if not found:
        raise AccountsError(
            f"the {database} database does not say within {LIMIT_S:g} s {question}: "
            "see to the services in /etc/nsswitch.conf"
        )
    return found[0]
