"""What the client imports: little of the daemon, and nothing heavy before it is needed."""

from __future__ import annotations

from pathlib import Path

from imported import imports, loaded

import pbmon_client

PACKAGE = Path(pbmon_client.__file__).parent


def test_of_the_daemon_only_the_wire_and_its_fields_are_imported() -> None:
    daemons = {module for _name, module in imports(PACKAGE) if module.split(".")[0] == "pbmond"}
    shared = {
        *("pbmond.allocator", "pbmond.fields", "pbmond.given_file", "pbmond.group_members"),
        *("pbmond.history_settings", "pbmond.moved_wire", "pbmond.wire"),
    }
    assert {".".join(module.split(".")[:2]) for module in daemons} <= {"pbmond", *shared}
    names = {module for module in daemons if module.count(".") == 1}
    assert names == shared


def test_only_filters_need_the_parser() -> None:
    users = {name for name, used in imports(PACKAGE) if used.split(".")[0] == "lark"}
    assert users == {"data/filters.py"}


def test_libzmq_is_not_used_because_it_holds_a_message_without_end() -> None:
    assert not [name for name, used in imports(PACKAGE) if used.split(".")[0] == "zmq"]


def test_starting_loads_nothing_that_only_an_option_needs() -> None:
    modules = loaded(
        PACKAGE,
        "from pbmon_client import cli, options\nfrom pbmon_client.output import jsonout\n"
        "options.parse(['--json'])",
    )
    heavy = {"lark", "urwid", "numpy", "asyncio", "difflib", "importlib.metadata", "csv"}
    assert not heavy & modules


def test_a_web_server_that_nobody_asks_about_the_past_loads_no_numpy() -> None:
    assert "numpy" not in loaded(PACKAGE, "import pbmon_client.web.serve")


def test_a_filter_loads_its_parser() -> None:
    assert "lark" in loaded(
        PACKAGE, "from pbmon_client import options\noptions.parse(['--filter','pid=1'])"
    )
