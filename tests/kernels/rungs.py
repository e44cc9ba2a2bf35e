"""The ways of counting that are tried in a guest: what the daemon takes by itself, and each forced.

Only here is it said which there are, and that from the daemon's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pbmond.config import FILE_RUNGS, READ_RUNGS, SOCKET_RUNGS

_CHOICES: Final = {"sockets": SOCKET_RUNGS, "files": FILE_RUNGS, "reads": READ_RUNGS}
#: Values that force nothing, or leave the class of descriptors out.
_NOT_A_WAY: Final = ("auto", "off")


class Forced(NamedTuple):
    """One key of the configuration and the value it is forced to."""

    key: str
    value: str

    @property
    def name(self) -> str:
        """Return how it is called in results: "reads=probe"."""
        return f"{self.key}={self.value}"

    @property
    def configuration(self) -> str:
        """Return the configuration file that forces it."""
        return f'{self.key} = "{self.value}"\n'


def forced(chosen: Mapping[str, str]) -> Iterator[Forced]:
    """Yield each way that ``chosen`` (the rungs that the daemon took by itself) is not."""
    for key, values in _CHOICES.items():
        for value in values:
            if value not in _NOT_A_WAY and chosen.get(key) != value:
                yield Forced(key, value)
