"""The filter language: what it reads, what it means, and how it shows mistakes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmon_client.data.filters import Comparison, FilterError, Junction, Negation, number, parse
from pbmond.fields import FIELDS

ROW: dict[str, Any] = {
    "pid": 7,
    "name": "nginx",
    "cmdline": 'nginx: "worker" process',
    "container": None,
    "state": "running",
    "net_rx_bytes": 2_000_000,
    "net_rx_bytes_per_s": None,
    "remote_address": "10.1.2.3",
    "local_address": "2001:db8::1",
    "remote_port": 443,
    "open": True,
}


def matches(text: str, row: Mapping[str, Any] = ROW) -> bool | None:
    def values_of(name: str) -> Sequence[Any] | None:
        return [row[name]] if name in row else None

    yes, no = parse(text).evaluate(values_of, 1)
    assert not (yes[0] and no[0])
    return yes[0] if yes[0] or no[0] else None


@pytest.mark.parametrize(
    "text",
    [
        "name = nginx",
        "name=nginx",
        "name='nginx'",
        'name = "nginx"',
        "name != bash",
        "name ~ ^ngin.$",
        "name ~ gin",
        "name in (bash, nginx)",
        "name in nginx",
        "name < o",
        r'cmdline ~ "\"worker\""',
        r"cmdline ~ 'nginx: .work.r'",
        r'cmdline ~ "nginx:\s"',
        "pid = 7 AND name = nginx",
        "pid = 8 or pid = 7",
        "pid = 7 or pid = 8 and pid = 9",  # and binds tighter
        "not pid = 8",
        "not (pid = 8 or pid = 9)",
        "not not pid=7",
        "pid in (1,7)",
        "net_rx_bytes >= 2M",
        "net_rx_bytes < 2Mi",
        "net_rx_bytes > 1.5MB",
        "net_rx_bytes <= 2000kB",
        "remote_address in 10.0.0.0/8",
        "remote_address in 10.1.2.9/24",
        "remote_address in (192.0.2.0/24, 10.1.2.3)",
        "remote_address in (fe80::/10, 10.0.0.0/8)",
        "remote_address = ::ffff:10.1.2.3",
        "remote_address ~ ^10[.]",
        "local_address in 2001:db8::/32",
        "local_address = 2001:0DB8:0::1",
        "not local_address in 10.0.0.0/8",
        "open = true",
        "open != null",
        "container = null",
        "container != abc",
        "not container = abc",
        "not container ~ .",
        "container in (abc, null)",
        "net_rx_bytes_per_s = null",
        "not net_rx_bytes_per_s > 0",
        "state in (running, exited)",
        "(((pid = 7)))",
        "pid = 7\n  and name = nginx",
    ],
)
def test_these_match(text: str) -> None:
    assert matches(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "name = Nginx",
        "name ~ ^gin",
        "net_rx_bytes > 2M",
        "remote_address in 10.0.0.0/16",
        "remote_address in fe80::/10",
        "remote_address in (192.0.2.1)",
        "container != null",
        'container = "null"',  # the text, not the missing value
        "net_rx_bytes_per_s <= 0",
        "net_rx_bytes_per_s > 0",
        "open = false",
        "open in (false, null)",
    ],
)
def test_these_do_not_match(text: str) -> None:
    assert matches(text) is False


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("path = x", None),
        ("not path = x", None),
        ("path = x or pid = 7", True),
        ("path = x or pid = 8", None),
        ("path = x and pid = 7", None),
        ("path = x and pid = 8", False),
        ("not (path = x and pid = 8)", True),
    ],
)
def test_a_field_missing_in_the_table_leaves_the_answer_to_the_others(
    text: str, answer: bool | None
) -> None:
    assert matches(text) is answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("10k", 10_000),
        ("10K", 10_000),
        ("10M", 10_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1.5GiB/s", 1_610_612_736),
        ("0.1", 0.1),
        ("2kB/s", 2000),
        ("2/s", 2),
        ("1Ei", 1 << 60),
        ("12345678901234567890", 12345678901234567890),
        *((wrong, None) for wrong in ("", "10m", "10 M", "1e6", "0x10", "inf", "nan", "1.", ".5")),
        *((wrong, None) for wrong in ("10Mb", "iB", "1,5", "9" * 5000, "\u0661")),
    ],
)
def test_sizes(text: str, value: float | None) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        ("nme = x", "nme", "no field 'nme' (did you mean name"),
        ("pid = 1 and net_rx_byte > 2", "net_rx_byte", "did you mean net_rx_bytes"),
        ("zzzzzz = 1", "zzzzzz", "--help lists them"),
        ("pid = 1 and pid = abc", "abc", "pid is a number"),
        ("pid = 10m", "10m", "10M"),
        ("state = runing", "runing", "state is one of running, exited"),
        ("tcp_state = OPEN", "OPEN", "tcp_state is one of ESTABLISHED, SYN_SENT"),
        ("open = 1", "1", "true, false or null"),
        ("open < true", "true", "by = or !="),
        ("pid < null", "null", "null has no order"),
        ("pid ~ 7", "7", "~ is for text"),
        ("name ~ '('", "'('", "not a regular expression"),
        ("name ~ a{99999999999}", "a{99999999999}", "not a regular expression"),
        ("remote_address in 300.0.0.0/8", "300.0.0.0/8", "not a network"),
        ("remote_address < 10.0.0.1", "10.0.0.1", "no order"),
        ("name == x", "=", "expected a value"),
        ("name", "", "expected one of ="),
        ("", "", "expected a field, not or ("),
        ("(pid = 1", "", "expected )"),
        ("pid = 1)", ")", "expected the end of the expression"),
        ("pid = 1 pid = 2", "pid", "expected and, or"),
        ('name = "abc', '"', "expected a value"),
        ("pid in (1,", "", "expected a value"),
        ("名前 = 1", "名前", "expected a field"),
    ],
)
def test_a_mistake_is_shown_with_carets_under_it(text: str, marked: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    first, shown, carets = str(caught.value).split("\n")
    assert message in first
    assert shown == f"  {text}"
    if not text.isascii():
        assert carets == "  ^^^^"  # two cells wide
    elif marked:
        assert shown[carets.index("^") : carets.index("^") + carets.count("^")] == marked
    else:
        assert carets == "  " + " " * len(text) + "^"


def test_carets_stay_in_place_under_hostile_text() -> None:
    with pytest.raises(FilterError) as caught:
        parse("name = 名前\tand \x1b[2J")
    _first, shown, carets = str(caught.value).split("\n")
    assert shown == "  name = 名前 and  [2J"
    assert carets == " " * 18 + "^^^^"


@pytest.mark.parametrize("nest", ["not ", "(pid = 1 or ", "(((("])
def test_no_depth_of_nesting_exhausts_the_stack(nest: str) -> None:
    closing = ")" * (2000 * nest.count("("))
    text = nest * 2000 + "pid = 1" + closing
    if nest == "((((":
        assert parse(text) == parse("pid = 1")
    else:
        with pytest.raises(FilterError, match="nested deeper than 50"):
            parse(text)


def test_a_long_list_of_terms_is_not_deep() -> None:
    assert matches(" or ".join(f"pid = {pid}" for pid in range(1000))) is True


# --- properties ---------------------------------------------------------------------------------

_PLAIN = st.text("abcxyz09_-./:", min_size=1).filter(lambda text: text != "null")


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comparisons() -> st.SearchStrategy[tuple[str, Comparison]]:
    text = st.builds(
        lambda field, op, value: (
            f"{field} {op} {_quoted(value)}",
            Comparison(field, op, (value,)),
        ),
        st.sampled_from(["name", "exe", "path"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.text(max_size=20),
    )
    bare = st.builds(lambda value: (f"name={value}", Comparison("name", "=", (value,))), _PLAIN)
    numbers = st.builds(
        lambda op, value: (f"pid{op}{value}", Comparison("pid", op, (value,))),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.integers(-(10**18), 10**18),
    )
    among = st.builds(
        lambda values: (
            f"uid in ({', '.join(map(str, values))})",
            Comparison("uid", "in", tuple(values)),
        ),
        st.lists(st.integers(0, 1 << 32), min_size=1, max_size=5),
    )
    networks = st.builds(
        lambda net: (f"remote_address in {net}", Comparison("remote_address", "in", (net,))),
        st.builds(
            lambda raw, bits: ipaddress.ip_network((raw, bits), strict=False),
            st.integers(0, (1 << 32) - 1),
            st.integers(0, 32),
        ),
    )
    return st.one_of(text, bare, numbers, among, networks)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def join(word: Any, terms: list[tuple[str, Any]]) -> tuple[str, Any]:
        text = f" {word} ".join(f"({text})" for text, _tree in terms)
        return text, Junction(word, tuple(tree for _text, tree in terms))

    negated = inner.map(lambda item: (f"not ({item[0]})", Negation(item[1])))
    joined = st.builds(
        join, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)
    )
    return negated | joined


@given(st.recursive(_comparisons(), _larger, max_leaves=12))
@settings(max_examples=150)
def test_what_is_written_is_what_is_read(item: tuple[str, Any]) -> None:
    text, tree = item
    assert parse(text) == tree
    assert parse(text).fields == tree.fields


_SYNTAX = (
    "= != < <= > >= ~ in and or not ( ) , null true 10M 10.0.0.0/8 'a \" \\ nginx [ * \0 \ud800"
)
_PIECES = [*list(FIELDS)[:12], *_SYNTAX.split(" ")]


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=12).map(" ".join))
@settings(max_examples=300)
def test_any_text_is_an_expression_or_a_filter_error(text: str) -> None:
    try:
        tree = parse(text)
    except FilterError as error:
        shown = str(error)
        assert shown.count("\n") == 2
        return
    assert tree.fields <= FIELDS.keys()
    for value in (None, 1, "x", True):
        types = {"text": str, "address": str, "bool": bool}
        wanted = {name: types.get(FIELDS[name].type, int) for name in tree.fields}
        row = {name: value for name, kind in wanted.items() if value is None or type(value) is kind}
        assert matches(text, row) in (True, False, None)
