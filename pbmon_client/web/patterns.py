"""Regular expressions whose time grows with the text only (RE2): strangers may send them."""

from __future__ import annotations

import functools
import re
from typing import Final

import re2

from pbmon_client.data.filters import Expression, FilterError, Junction, Negation, Pattern, parse
from pbmon_client.present.search import Search, understand

#: What one filter may cost: characters, and comparisons, each of which tests every row.
MOST_CHARACTERS: Final = 1000
MOST_COMPARISONS: Final = 40
_MEMORY_BYTES: Final = 4 << 20


@functools.cache
def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    return options


def compiled(text: str) -> Pattern:
    """Compile a pattern; re.error if Python's own does not take it, or RE2 does not."""
    re.compile(text)  # for messages that are the same everywhere; it only reads the pattern
    try:
        pattern: Pattern = re2.compile(text, _options())
    except re2.error:
        raise re.error(
            "in a browser, patterns cannot look around or refer back, and must be small"
        ) from None
    return pattern


@functools.lru_cache(maxsize=256)
def filter_of(text: str) -> Expression:
    """Parse an expression as ``--filter`` does; FilterError also if it would cost too much."""
    if len(text) > MOST_CHARACTERS:
        raise FilterError(text[:60], 0, 1, f"longer than {MOST_CHARACTERS} characters")
    found = parse(text, compiled)
    if _comparisons(found) > MOST_COMPARISONS:
        raise FilterError(text, 0, 1, f"more than {MOST_COMPARISONS} comparisons")
    return found


@functools.lru_cache(maxsize=256)
def search_of(text: str) -> Search:
    """Understand a filter line as the terminal does; ``error`` also if it would cost too much."""
    if len(text) > MOST_CHARACTERS:
        return Search(text, error=f"longer than {MOST_CHARACTERS} characters")
    found = understand(text, compiled)
    expression = found.filter
    many = len(found.words.words) if found.words else 0
    if expression is not None:
        many = _comparisons(expression)  # type: ignore[arg-type]  # what understand() parses
    if many > MOST_COMPARISONS:
        return Search(text, error=f"more than {MOST_COMPARISONS} comparisons or words")
    return found


def _comparisons(expression: Expression) -> int:
    if isinstance(expression, Junction):
        return sum(map(_comparisons, expression.terms))
    return _comparisons(expression.term) if isinstance(expression, Negation) else 1
