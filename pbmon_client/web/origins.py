"""Under which names the server is known: the origins that a browser may come from."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?/?")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """A scheme, a host in lower case (IPv6 in brackets), and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        shown = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{shown}"

    def has_host(self, host: str) -> bool:
        """Whether the header Host names this host and port."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        port = _PORTS[self.scheme] if match[2] is None else int(match[2])
        return (match[1].lower(), port) == (self.host, self.port)


def parse(text: str) -> Origin:
    """Read ``https://host:port``; ValueError unless it is one."""
    match = _ORIGIN.fullmatch(text)
    port = 0 if match is None else int(match[3] or _PORTS[match[1]])
    if match is None or not 0 < port < 1 << 16:
        raise ValueError(f"{text!r} is no origin, such as https://pbmon.example.org")
    return Origin(match[1], match[2].lower(), port)


def of_address(scheme: str, host: str, port: int) -> tuple[Origin, ...]:
    """Return the origins by which a browser reaches an address; none for "any address"."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return ()
    hosts = [f"[{host}]" if address.version == 6 else host]
    if address.is_loopback:
        hosts = list(dict.fromkeys([*hosts, "127.0.0.1", "localhost", "[::1]"]))
    return tuple(Origin(scheme, each.lower(), port) for each in hosts)
