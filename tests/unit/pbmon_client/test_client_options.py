"""The command line: what it means, and how it refuses."""

from __future__ import annotations

import pytest

from pbmon_client import options


@pytest.mark.parametrize(
    ("line", "output", "count"),
    [
        ("", "screen", 0),
        ("-n 2", "table", 2),
        ("--once", "once", 1),
        ("--json", "json", 1),
        ("--json -n 2", "json", 2),
        ("--ndjson", "ndjson", 0),
        ("--ndjson --count 3", "ndjson", 3),
        ("--csv", "csv", 1),
        ("--csv -n 0", "csv", 0),
    ],
)
def test_the_count_has_a_default_for_each_output(line: str, output: str, count: int) -> None:
    chosen = options.parse(line.split())
    assert (chosen.output, chosen.count) == (output, count)


def test_options_become_a_selection() -> None:
    line = "-p 1 --pid 2 -u root --user 7 --name a --name b* --active --top 3 --reverse --flows"
    chosen = options.parse([*line.split(), "--sort", "rx_bytes", "--filter", "pid = 1"])
    asked = chosen.selection
    assert asked.pids == frozenset({1, 2})
    assert asked.uids == frozenset({0, 7})
    assert asked.names == ("a", "b*")
    assert (asked.active, asked.top, asked.reverse, asked.flows) == (True, 3, True, True)
    assert asked.sort == "rx_bytes"
    assert asked.filter is not None
    assert asked.filter.fields == {"pid"}


def test_only_the_table_is_sorted_by_traffic_unasked() -> None:
    assert options.parse([]).selection.busiest_first
    assert not options.parse(["--json"]).selection.busiest_first


def test_the_socket_comes_from_the_option_the_environment_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PBMON_SOCKET", raising=False)
    assert options.parse([]).socket == "/run/pbmon/pbmond.sock"
    monkeypatch.setenv("PBMON_SOCKET", "ipc:///tmp/a.sock")
    assert options.parse([]).socket == "/tmp/a.sock"
    assert options.parse(["--socket", "/tmp/b.sock"]).socket == "/tmp/b.sock"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--jsn", "unrecognized arguments: --jsn"),
        ("--js", "unrecognized arguments: --js"),  # no abbreviations: they break when options grow
        ("--json --csv", "not allowed with"),
        ("extra", "unrecognized arguments: extra"),
        ("-n -1", "'-1' is not a whole number from 0 up"),
        ("-n two", "'two' is not a whole number from 0 up"),
        ("-p 4294967296", "not a whole number"),
        ("--top 0", "'0' is not a whole number from 1 up"),
        ("-d 0", "not a number of seconds above 0"),
        ("-d nan", "not a number of seconds above 0"),
        ("--wait inf", "not a number of seconds above 0"),
        ("-u no-such-user", "no user 'no-such-user' on this host"),
        ("--sort net_rx_byte", "no field 'net_rx_byte' (did you mean net_rx_bytes"),
        ("--sort rx_bytes", "add --flows"),
        ("--socket tcp://127.0.0.1:1", "is not the path of a socket"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(line.split())
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert words in text
    assert text.startswith("pbmon-client: ")
    assert text.endswith("; see pbmon-client --help\n")
    assert text.count("\n") == 1


def test_a_mistake_in_a_filter_is_shown_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(["--filter", "nme = x"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "pbmon-client: filter: no field 'nme' (did you mean name?)\n  nme = x\n  ^^^\n"
    )


@pytest.mark.parametrize("option", ["--sort", "--user", "-n", "--unknown"])
def test_a_hostile_argument_does_not_reach_the_terminal(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options.parse([option, "\x1b[2J\udcff"])
    assert capsys.readouterr().err.strip().isprintable()


def test_help_fits_eighty_columns_and_names_every_field(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        options.parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name in ("exited_ns", "remote_address", "inode", "disk_write_bytes", "CLASS_rx_calls"):
        assert name in text
