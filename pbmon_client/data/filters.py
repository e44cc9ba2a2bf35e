"""The filter language: its grammar (lark), its values, and its tests of rows.

For example ``name = nginx and (net_tx_bytes_per_s > 1.5MiB or remote_address in 10.0.0.0/8)``.
"""

from __future__ import annotations

import functools
import ipaddress
import operator
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import lark

from pbmon_client.data.model import Answers, ValuesOf, joined
from pbmon_client.data.nearest import unknown_field
from pbmon_client.data.text import width
from pbmond.fields import FIELDS, Field

_GRAMMAR: Final = r"""
    ?start: either
    ?either: both (_OR both)*
    ?both: term (_AND term)*
    ?term: comparison | "(" either ")" | _NOT term -> negation
    ?comparison: FIELD OP value -> compare
               | FIELD _IN value -> among
               | FIELD _IN "(" value ("," value)* ")" -> among
    value: WORD | STRING
    _OR.2: /or\b/i
    _AND.2: /and\b/i
    _NOT.2: /not\b/i
    _IN.2: /in\b/i
    OP: "!=" | "<=" | ">=" | "=" | "<" | ">" | "~"
    FIELD: /[A-Za-z_]\w*/
    STRING: /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
    WORD: /[^\s()"',=<>~!][^\s()"',]*/
    %ignore /\s+/
"""
_EXPECTED: Final = {
    "FIELD": "a field",
    "_NOT": "not",
    "LPAR": "(",
    "RPAR": ")",
    "OP": "one of = != < <= > >= ~",
    "_IN": "in",
    "WORD": "a value",
    "COMMA": ",",
    "_AND": "and",
    "_OR": "or",
    "$END": "the end of the expression",
}
_MAX_DEPTH: Final = 50
#: How many values are sampled to see whether those of a column repeat.
_SAMPLE: Final = 500
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Pattern(Protocol):
    """A compiled regular expression, hashable."""

    def search(self, text: str, /) -> object | None:
        """Return something if it matches anywhere in the text."""


#: Compiles a regular expression; ``re.error`` says why it is none.
Compile = Callable[[str], Pattern]


class FilterError(ValueError):
    """A mistake in an expression; ``str()`` shows it with a caret under it.

    ``start`` and ``end`` are its place in the text, in characters.
    """

    def __init__(self, text: str, start: int, end: int, message: str) -> None:
        self.message: Final = message
        self.start: Final = start
        self.end: Final = end
        shown = "".join(char if char.isprintable() else " " for char in text)
        indent = " " * width(shown[:start])
        carets = "^" * max(1, width(shown[start:end]))
        super().__init__(f"filter: {message}\n  {shown}\n  {indent}{carets}")


# --- the tree -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """``field op value``; ``values`` has one item unless ``op`` is "in".

    A value is None, text, a number, a bool, a compiled pattern (``~``) or a network (``in``).
    """

    field: str
    op: str
    values: tuple[Any, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The field compared."""
        return frozenset((self.field,))

    def evaluate(self, values_of: ValuesOf, count: int) -> Answers:
        """Test each value; the answer is neither yes nor no where there is no such field."""
        column = values_of(self.field)
        if column is None:
            return Answers([False] * count, [False] * count)
        holds = _holds(self.op, self.values)
        if self.op == "in" or _repeats(column):  # test each address or name only once
            holds = {value: holds(value) for value in set(column)}.__getitem__
        yes = list(map(holds, column))
        return Answers(yes, list(map(operator.not_, yes)))


@dataclass(frozen=True, slots=True)
class Negation:
    """``not term``."""

    term: Expression

    @property
    def fields(self) -> frozenset[str]:
        """The fields named."""
        return self.term.fields

    def evaluate(self, values_of: ValuesOf, count: int) -> Answers:
        """Swap the answers; what is undecided stays undecided."""
        yes, no = self.term.evaluate(values_of, count)
        return Answers(no, yes)


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more terms joined by "and" or "or"."""

    word: Literal["and", "or"]
    terms: tuple[Expression, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The fields named."""
        return frozenset().union(*(term.fields for term in self.terms))

    def evaluate(self, values_of: ValuesOf, count: int) -> Answers:
        """Combine the answers; an undecided term leaves the decision to the others."""
        yes, no = zip(*(term.evaluate(values_of, count) for term in self.terms), strict=True)
        if self.word == "or":
            return Answers(joined(operator.or_, yes), joined(operator.and_, no))
        return Answers(joined(operator.and_, yes), joined(operator.or_, no))


def _repeats(column: Sequence[Any]) -> bool:
    sample = column[:: len(column) // _SAMPLE + 1]
    return len(set(sample)) * 2 < len(sample)


Expression = Comparison | Negation | Junction


def _holds(op: str, values: tuple[Any, ...]) -> Callable[[Any], bool]:
    """Return the test of one value; unknown (None) equals only null."""
    if op == "~":
        pattern = values[0]
        return lambda value: value is not None and pattern.search(value) is not None
    if op in _ORDER:
        compare, bound = _ORDER[op], values[0]
        return lambda value: value is not None and compare(value, bound)
    networks = [value for value in values if isinstance(value, _Network)]
    others = frozenset(values).difference(networks)
    if networks:
        return lambda value: value in others or _inside(value, networks)
    return (lambda value: value not in others) if op == "!=" else (lambda value: value in others)


def _inside(value: str | None, networks: Sequence[_Network]) -> bool:
    address = None if value is None else _address(value)
    return address is not None and any(address in network for network in networks)


@functools.lru_cache(maxsize=65536)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address (a mapped one as IPv4), or return None."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# --- values -------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,9}))?(?:([kKMGTPE])(i?))?B?(?:/s)?")


def number(text: str) -> int | float | None:
    """Read ``10``, ``10M`` (10,000,000), ``1.5GiB`` (1,610,612,736) or ``2kB/s``, else None."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, prefix, binary = match.groups()
    power = "KMGTPE".index(prefix.upper()) + 1 if prefix else 0
    scaled = int(whole + (fraction or "")) * (1024 if binary else 1000) ** power
    divisor = 10 ** len(fraction or "")
    value: int | float = scaled / divisor if scaled % divisor else scaled // divisor
    return -value if sign else value


class _MistakeError(ValueError):
    """A value that does not fit its field."""


def _value(
    field: Field,
    op: str,
    text: str,
    compile_: Compile,
    *,
    quoted: bool,
) -> Any:  # noqa: ANN401 - see Comparison
    """Read a value for a field; _MistakeError says what would have been right."""
    if op == "~":
        return _pattern(field, text, compile_)
    if text == "null" and not quoted:
        if op in _ORDER:
            raise _MistakeError("null has no order: use = or !=")
        return None
    if field.type == "address":
        return _address_value(text, op)
    if field.type == "text":
        if field.words and text not in field.words:
            raise _MistakeError(f"{field.name} is one of {', '.join(field.words)}")
        return text
    if field.type == "bool":
        if text not in ("true", "false") or op in _ORDER:
            raise _MistakeError(f"{field.name} is compared by = or != with true, false or null")
        return text == "true"
    value = number(text)
    if value is None:
        raise _MistakeError(f"{field.name} is a number, such as 10, 10M (SI) or 1.5GiB")
    return value


def _pattern(field: Field, text: str, compile_: Compile) -> Pattern:
    if field.type not in ("text", "address"):
        raise _MistakeError(f"~ is for text, and {field.name} is not text")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about patterns that a later Python may read differently
            return compile_(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise _MistakeError(f"not a regular expression: {error}") from None


def _address_value(text: str, op: str) -> Any:  # noqa: ANN401 - an address's text or a network
    if op in _ORDER:
        raise _MistakeError("addresses have no order: use = != ~ or in")
    if "/" in text[1:] and op == "in" and not text.startswith("/"):
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise _MistakeError("not a network, such as 10.0.0.0/8 or fe80::/10") from None
    address = _address(text)
    return text if address is None else str(address)


# --- parsing ------------------------------------------------------------------------------------

_Literal = tuple[lark.Token, str]  # the token, for its position, and the text it stands for


class _PlacedError(Exception):
    """A mistake at a position in the text."""

    def __init__(self, start: int, end: int, message: str) -> None:
        super().__init__(message)
        self.start = start
        self.end = end


class _ExpressionBuilder(lark.Transformer[lark.Token, Expression]):
    """Builds the tree while lark parses, so that deep nesting cannot exhaust the stack."""

    def __init__(self, compile_: Compile) -> None:
        super().__init__()
        self._compile = compile_

    def either(self, terms: list[Expression]) -> Expression:
        return self._shallow(Junction("or", tuple(terms)))

    def both(self, terms: list[Expression]) -> Expression:
        return self._shallow(Junction("and", tuple(terms)))

    def negation(self, terms: list[Expression]) -> Expression:
        return self._shallow(Negation(terms[0]))

    def value(self, tokens: list[lark.Token]) -> _Literal:
        token = tokens[0]
        if token.type == "WORD":
            return token, str(token)
        quote = token[0]
        return token, re.sub(rf"\\([\\{quote}])", r"\1", token[1:-1])

    def compare(self, parts: list[Any]) -> Expression:
        field, op, value = parts
        return self._comparison(field, str(op), [value])

    def among(self, parts: list[Any]) -> Expression:
        return self._comparison(parts[0], "in", parts[1:])

    def _comparison(self, field: lark.Token, op: str, values: list[_Literal]) -> Expression:
        named = FIELDS.get(field)
        if named is None:
            raise _misplaced(field, unknown_field(str(field)))
        read = []
        for token, text in values:
            try:
                quoted = token.type == "STRING"
                read.append(_value(named, op, text, self._compile, quoted=quoted))
            except _MistakeError as mistake:
                raise _misplaced(token, str(mistake)) from None
        return Comparison(str(field), op, tuple(read))

    def _shallow(self, node: Expression) -> Expression:
        if _depth(node) > _MAX_DEPTH:
            raise _PlacedError(0, 1, f"nested deeper than {_MAX_DEPTH}")
        return node


def _misplaced(token: lark.Token, message: str) -> _PlacedError:
    start = token.start_pos or 0
    return _PlacedError(start, start + len(token), message)


def _depth(node: Expression) -> int:
    if isinstance(node, Comparison):
        return 0
    terms = node.terms if isinstance(node, Junction) else (node.term,)
    return 1 + max(map(_depth, terms))


@functools.cache
def _parser(compile_: Compile) -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="lalr", transformer=_ExpressionBuilder(compile_))


def parse(text: str, compile_: Compile = re.compile) -> Expression:
    """Parse an expression; FilterError shows what is wrong with it, and where.

    ``compile_`` makes its patterns. Python's own may need time without end, so a server that
    takes expressions from others passes one that does not.
    """
    try:
        # lark types every parse as a tree, though the transformer makes it an Expression.
        return _parser(compile_).parse(text)  # type: ignore[return-value]
    except _PlacedError as error:
        raise FilterError(text, error.start, error.end, str(error)) from None
    except lark.exceptions.UnexpectedToken as error:
        start = len(text) if error.token.type == "$END" else error.token.start_pos or 0
        size = 1 if error.token.type == "$END" else len(error.token)
        raise FilterError(text, start, start + size, _expected(_accepted(error))) from None
    except lark.exceptions.UnexpectedCharacters as error:
        start = error.pos_in_stream or 0
        raise FilterError(text, start, start + 1, _expected(error.allowed)) from None


def _accepted(error: lark.exceptions.UnexpectedToken) -> set[str]:
    try:
        return error.accepts or error.expected
    except _PlacedError:  # lark before 1.1.6 makes the expression, with its mistakes
        return error.expected


def _expected(terminals: set[str] | None) -> str:
    words = [word for name, word in _EXPECTED.items() if name in (terminals or ())]
    head, tail = ", ".join(words[:-1]), "".join(words[-1:])
    return f"expected {head} or {tail}" if head else f"expected {tail or 'something else'}"
