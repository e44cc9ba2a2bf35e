"""The configuration file: the shipped one is the defaults, and each mistake names its key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbmond.config import KEYS, Config, ConfigError, ProcessMatcher, check_capacities, load, parse
from pbmond.history_settings import HistorySettings

SHIPPED = Path(__file__).resolve().parents[3] / "packaging" / "pbmond.toml"
USERS = {"alice": 1000, "www-data": 33}


def read(text: str) -> Config:
    return parse(text, "pbmond.toml", USERS.get)


def uncommented() -> str:
    return re.sub(r"^#(?=[a-z0-9_]+ = )", "", SHIPPED.read_text(), flags=re.M)


def test_the_shipped_file_is_exactly_the_defaults() -> None:
    assert load(SHIPPED, USERS.get) == Config()
    assert parse(uncommented(), "x", USERS.get) == Config()


def test_the_shipped_file_names_every_key_and_changes_nothing_by_itself() -> None:
    table = ""
    named = set()
    for line in SHIPPED.read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            table = header[1] + "."
        elif key := re.match(r"#([a-z0-9_]+) = ", line):
            named.add(table + key[1])
        else:
            assert not line or line.startswith("# "), line
    assert named == set(KEYS)


@pytest.mark.parametrize(
    ("gibibytes", "entries"),
    [
        (0.25, 16_384),
        (0.5, 16_384),
        (1, 32_768),
        (2, 65_536),
        (4, 131_072),
        (8, 131_072),
        (32, 131_072),
        (33, 135_168),
        (128, 524_288),
        (256, 1_048_576),
        (4096, 1_048_576),
    ],
)
def test_capacities_follow_from_the_hosts_memory(gibibytes: float, entries: int) -> None:
    config = Config.for_memory(round(gibibytes * (1 << 30)))
    capacities = config.flows_capacity, config.files_capacity, config.overflow_capacity
    assert capacities == (entries, entries, entries // 2)


def test_what_the_file_does_not_set_is_as_on_this_host() -> None:
    host = Config.for_memory(64 << 30)
    assert parse("", "pbmond.toml", USERS.get, host) == host
    assert parse("maps = { files = 256 }", "x", USERS.get, host).files_capacity == 256


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == Config()


def test_every_key_arrives() -> None:
    config = read(
        """
        interval = 2
        history_length = 30
        sockets = "syscall-exit"
        files = "off"
        run_dir = "/srv/pbmon"
        publisher_user = "nobody"
        access_group = "wheel"
        bcc_python = "/usr/bin/python3"
        log_level = "debug"
        baseline = true
        log_file = "/var/log/pbmond.log"
        linger = { exited = 0, idle = 1.5 }
        maps = { flows = 256, files = 4194304, overflow = 1000 }
        include = { pids = [1, 2], names = ["sshd", "kworker/*"], users = ["alice", 0] }
        history = { record = false, serve = false, size = "1G", keep_1s = "2h", keep_10s = "8d" }
        [exclude]
        users = ["www-data"]
        """
    )
    assert config == Config(
        interval_s=2.0,
        history_length=30,
        exited_linger_s=0.0,
        idle_linger_s=1.5,
        sockets="syscall-exit",
        files="off",
        flows_capacity=256,
        files_capacity=4194304,
        overflow_capacity=1000,
        include=ProcessMatcher(frozenset({1, 2}), (b"sshd", b"kworker/*"), frozenset({1000, 0})),
        exclude=ProcessMatcher(uids=frozenset({33})),
        run_dir=Path("/srv/pbmon"),
        publisher_user="nobody",
        access_group="wheel",
        bcc_python=Path("/usr/bin/python3"),
        baseline=True,
        log_level="debug",
        log_file=Path("/var/log/pbmond.log"),
        history=HistorySettings(
            record=False, serve=False, size=1 << 30, keep_1s=7200, keep_10s=691_200
        ),
    )


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("interval = 0.09", "interval", "0.1 to 3600"),
        ("interval = 3601", "interval", "0.1 to 3600"),
        ("interval = nan", "interval", "0.1 to 3600"),
        ("interval = inf", "interval", "0.1 to 3600"),
        ("interval = true", "interval", "number of seconds"),
        ('interval = "1"', "interval", "number of seconds"),
        ("interval = {}", "interval", "number of seconds"),
        ("history_length = 0", "history_length", "1 to 600"),
        ("history_length = 6.0", "history_length", "whole number"),
        ('sockets = "kprobe"', "sockets", '"tracepoint"'),
        ('files = "tracepoint"', "files", '"syscall-exit"'),
        ("files = false", "files", '"off"'),
        ('run_dir = "run"', "run_dir", "absolute path"),
        ('run_dir = ""', "run_dir", "absolute path"),
        ('run_dir = "/a\\u0000b"', "run_dir", "absolute path"),
        ('publisher_user = "--help"', "publisher_user", "name of a user"),
        ('publisher_user = "a b"', "publisher_user", "name of a user"),
        ('access_group = ""', "access_group", "name of a group"),
        ("bcc_python = 3", "bcc_python", "absolute path"),
        ("baseline = 1", "baseline", "true or false"),
        ('log_level = "INFO"', "log_level", '"info"'),
        ("[linger]\nexited = -1", "linger.exited", "0 to 86400"),
        ("[maps]\nflows = 255", "maps.flows", "256 to 4194304"),
        ("[include]\npids = [0]", "include.pids", "process ids"),
        ("[include]\npids = 7", "include.pids", "list of process ids"),
        ("[exclude]\nnames = [1]", "exclude.names", "process names"),
        ('[exclude]\nnames = [""]', "exclude.names", "process names"),
        ("[exclude]\nusers = [-1]", "exclude.users", "user names or uids"),
        ("[exclude]\nusers = [true]", "exclude.users", "user names or uids"),
        ('[exclude]\nusers = ["bob"]', "exclude.users", "no user 'bob'"),
        ("[history]\nrecord = 1", "history.record", "true or false"),
        ('[history]\nsize = "7M"', "history.size", "8M to 1024G"),
        ("[history]\nsize = 200", "history.size", "8M to 1024G"),
        ('[history]\nkeep_1s = "59m"', "history.keep_1s", '"1h" to "10y"'),
        ('[history]\nkeep_1h = "11y"', "history.keep_1h", '"30d" to "10y"'),
        ('[history]\nkeep_10s = "31d"', "history.keep_1min", "at least history.keep_10s"),
        ("[history]\nrecrd = true", "history.recrd", "allowed are history.record"),
        ("history = true", "history", "allowed are history.record"),
        ("intervall = 1", "intervall", "allowed are interval"),
        ("[linger]\nidel = 1", "linger.idel", "allowed are linger.exited, linger.idle"),
        ("[probes]\nx = 1", "probes", "[linger]"),
        ("linger = 3", "linger", "allowed are linger.exited"),
        ("[interval]\nx = 1", "interval", "number of seconds"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    text: str, key: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    said = str(error.value)
    assert said.startswith(f"pbmond.toml: key `{key}`: ")
    assert allowed in said
    assert "\n" not in said


def test_what_is_not_toml_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^pbmond\.toml: not TOML: .*line 1.*$"):
        read("interval = \n")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000], ids=["digits", "brackets"])
def test_what_the_parser_cannot_hold_is_said_in_one_line(value: str) -> None:
    """Found by tests.fuzz: tomllib raises other errors than its own for them."""
    with pytest.raises(ConfigError, match=r"^pbmond\.toml: not TOML: .*$"):
        read(f"interval = {value}\n")


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", USERS.get)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match=r"latin\.toml: not TOML: not UTF-8"):
        load(tmp_path / "latin.toml", USERS.get)


@pytest.mark.parametrize(
    ("text", "pid", "name", "uid", "visible"),
    [
        ("", 1, b"init", 0, True),
        ("[include]\npids = [7]", 7, b"a", 1, True),
        ("[include]\npids = [7]", 8, b"a", 1, False),
        ('[include]\nnames = ["ssh*"]', 8, b"sshd", 1, True),
        ('[include]\nnames = ["ssh"]', 8, b"sshd", 1, False),
        ('[include]\nnames = ["SSHD"]', 8, b"sshd", 1, False),
        ('[include]\nusers = ["alice"]\npids = [7]', 8, b"a", 1000, True),
        ('[exclude]\nusers = ["alice"]', 8, b"a", 1000, False),
        ('[exclude]\nusers = ["alice"]', 8, b"a", 0, True),
        ('[include]\npids = [7]\n[exclude]\nnames = ["a"]', 7, b"a", 0, False),
        ('[exclude]\nnames = ["*"]', 8, b"\xff\xfe", 0, False),
    ],
)
def test_who_is_shown(text: str, pid: int, name: bytes, uid: int, visible: bool) -> None:
    assert read(text).visible(pid, name, uid) is visible


@pytest.mark.parametrize("processes", [0, 10, 5000, 100_000])
def test_the_defaults_hold_a_row_for_each_process_and_class(processes: int) -> None:
    config = Config.for_memory(8 << 30, processes)
    assert config.overflow_capacity >= 7 * processes
    check_capacities(config, 8 << 30, processes)


def test_an_overflow_that_would_lose_bytes_is_refused() -> None:
    check_capacities(Config(overflow_capacity=700), 8 << 30, 100)
    with pytest.raises(ConfigError, match=r"maps\.overflow = 699: .* 100 processes.* 700 rows"):
        check_capacities(Config(overflow_capacity=699), 8 << 30, 100)


def test_tables_larger_than_a_quarter_of_the_memory_are_refused() -> None:
    large = Config(flows_capacity=4_194_304, files_capacity=4_194_304, overflow_capacity=4_194_304)
    check_capacities(large, 16 << 30, 100)
    with pytest.raises(ConfigError, match=r"3440 MiB of kernel memory.*quarter.* 8192 MiB"):
        check_capacities(large, 8 << 30, 100)


@pytest.mark.parametrize("depth", [100, 400, 900, 3000])
@pytest.mark.parametrize(
    ("key", "opening", "closing"),
    [
        ("interval = ", "[", "]"),
        ("include.pids = ", "[", "]"),
        ("maps = ", "{a=", "}"),
        ("", "[", "]"),
    ],
)
def test_nesting_of_any_depth_is_one_line(depth: int, key: str, opening: str, closing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{key}{opening * depth}1{closing * depth}")
    assert "\n" not in str(caught.value)
