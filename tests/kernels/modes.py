"""The ways of counting that are tried in a guest: what the daemon takes by itself, and each forced.

Which there are is not said here again: it follows from the daemon's own tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pbmond.config import READ_MODES
from pbmond.loader.hooks import modes

#: Keys and values of the daemon's configuration.
Settings = Mapping[str, str]


def forced(chosen: Settings) -> Iterator[Settings]:
    """Yield what to force, so that every mode that loads is met once.

    ``chosen``: what "auto" has taken. Reads that are better have been refused then already.
    """
    for pair in modes("auto", "auto"):
        settings = {"sockets": pair.sockets, "files": pair.files}
        if not settings.items() <= chosen.items():
            yield settings
    for reads in READ_MODES[READ_MODES.index(chosen["reads"]) + 1 :]:  # the best are first
        yield {"reads": reads}


def name(settings: Settings) -> str:
    """Return how a choice is called in results: "auto", or what is forced."""
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "auto"


def configuration(settings: Settings) -> str:
    """Return the daemon's configuration file that forces it."""
    return "".join(f'{key} = "{value}"\n' for key, value in settings.items())
