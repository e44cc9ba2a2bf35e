"""Who may come in: the token, its file, and the cookie that a browser gets for it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pbmond.given_file import open_given

#: Shorter tokens could be guessed.
_LEAST: Final = 16
_MOST: Final = 512
#: A browser has started by then.
_TICKET_S: Final = 120.0


class TokenError(Exception):
    """A token file cannot be used; the message says why."""


def new_token() -> str:
    """Make a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def token_of(path: Path) -> str:
    """Read the token in a file, which is made with a new one if there is none.

    TokenError unless it belongs to this user or to root, and no one else may read or write it.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise TokenError(f"cannot make {str(path)!r}: {error.strerror}") from None
    token = new_token()
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{token}\n")
    except OSError as error:  # a full disk; half a token would be refused from then on
        path.unlink(missing_ok=True)
        raise TokenError(f"cannot write {str(path)!r}: {error.strerror}") from None
    return token


def _read(path: Path) -> str:
    try:
        with open_given(path) as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in (0, os.geteuid()):
                raise TokenError(f"{str(path)!r} belongs to somebody else")
            if status.st_mode & 0o077:
                raise TokenError(f"others may use {str(path)!r}; chmod 600 keeps them out")
            raw = file.read(_MOST + 2).strip()
    except OSError as error:
        raise TokenError(f"cannot read {str(path)!r}: {error.strerror}") from None
    if not _LEAST <= len(raw) <= _MOST or not all(0x21 <= byte <= 0x7E for byte in raw):
        raise TokenError(
            f"{str(path)!r} holds no token: {_LEAST} to {_MOST} printable ASCII characters"
        )
    return raw.decode()


class Tickets:
    """Stand for the token in the address that a browser is started with, once and not for long.

    Every user of the host can read that in its command line, as long as it runs.
    """

    def __init__(self) -> None:
        self._ends_s: dict[str, float] = {}

    def new(self) -> str:
        """Make a ticket that nobody can guess."""
        ticket = secrets.token_urlsafe(32)
        self._ends_s[ticket] = time.monotonic() + _TICKET_S
        return ticket

    def take(self, given: str) -> bool:
        """Whether this is a ticket that is still good; it is not any more then."""
        end_s = self._ends_s.pop(given, None)
        return end_s is not None and time.monotonic() < end_s


@dataclass(frozen=True, slots=True)
class Access:
    """Recognizes the token, and the cookie made of it.

    The cookie is not the token itself, but follows from it: it stays valid when a server with a
    token file starts again, and is of no use as a bearer token.
    """

    token: str
    cookie_name: str
    path: str = "/"  # below which the cookie is sent
    secure: bool = False  # only over TLS
    tickets: Tickets = field(default_factory=Tickets)

    @property
    def cookie(self) -> str:
        """The value of the cookie."""
        return hmac.new(self.token.encode(), b"pbmon cookie", hashlib.sha256).hexdigest()

    @property
    def set_cookie(self) -> str:
        """The value of the header Set-Cookie. It ends with the browser's session."""
        flags = "; Secure" if self.secure else ""
        return (
            f"{self.cookie_name}={self.cookie}; Path={self.path}; HttpOnly; SameSite=Strict{flags}"
        )

    def is_token(self, given: bytes) -> bool:
        """Whether these bytes are the token, in constant time."""
        return hmac.compare_digest(given, self.token.encode())

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the headers of a request have the token, or the cookie made of it."""
        for name, value in headers:
            if name == b"authorization":
                scheme, _, given = value.partition(b" ")
                if scheme.lower() == b"bearer" and self.is_token(given.strip()):
                    return True
            elif name == b"cookie" and any(map(self._is_cookie, value.split(b";"))):
                return True
        return False

    def _is_cookie(self, pair: bytes) -> bool:
        name, _, given = pair.strip().partition(b"=")
        same = hmac.compare_digest(given, self.cookie.encode())
        return same and name == self.cookie_name.encode()
