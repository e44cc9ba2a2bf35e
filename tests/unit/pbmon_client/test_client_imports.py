"""What the client imports: little of the daemon, and nothing heavy before it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from imported import imports, loaded

import pbmon_client

PACKAGE = Path(pbmon_client.__file__).parent


def test_of_the_daemon_only_the_wire_and_its_fields_are_imported() -> None:
    daemons = {module for _name, module in imports(PACKAGE) if module.split(".")[0] == "pbmond"}
    assert {".".join(module.split(".")[:2]) for module in daemons} <= {
        *("pbmond", "pbmond.fields", "pbmond.given_file", "pbmond.moved_wire", "pbmond.wire")
    }
    names = {module for module in daemons if module.count(".") == 1}
    assert names == {"pbmond.fields", "pbmond.given_file", "pbmond.moved_wire", "pbmond.wire"}


@pytest.mark.parametrize(
    ("module", "owner"), [("zmq", "subscription.py"), ("lark", "data/filters.py")]
)
def test_each_outside_dependency_has_one_module(module: str, owner: str) -> None:
    assert {name for name, used in imports(PACKAGE) if used.split(".")[0] == module} == {owner}


def test_starting_loads_nothing_that_only_an_option_needs() -> None:
    modules = loaded(
        PACKAGE,
        "from pbmon_client import cli, options\nfrom pbmon_client.output import jsonout\n"
        "options.parse(['--json'])",
    )
    heavy = {"lark", "urwid", "numpy", "asyncio", "difflib", "importlib.metadata", "csv"}
    assert not heavy & modules
    assert "zmq" in modules


def test_a_filter_loads_its_parser() -> None:
    assert "lark" in loaded(
        PACKAGE, "from pbmon_client import options\noptions.parse(['--filter','pid=1'])"
    )
