"""What the daemon imports: nothing of the client, and each process only what it may."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from imported import imports, loaded

import pbmond

PACKAGE = Path(pbmond.__file__).parent
#: What runs in the loader's process, under whatever Python has bcc.
LOADER = {name for name, _ in imports(PACKAGE) if name.startswith("loader/")}


def tops(files: set[str]) -> set[str]:
    """Return the top-level modules, outside the standard library, that ``files`` import."""
    used = {module.split(".")[0] for name, module in imports(PACKAGE) if name in files}
    return used - sys.stdlib_module_names


def test_the_daemon_never_imports_the_client() -> None:
    assert "pbmon_client" not in {module.split(".")[0] for _name, module in imports(PACKAGE)}


def test_what_the_client_shares_imports_only_msgpack() -> None:
    own = {used for name, used in imports(PACKAGE) if name == "wire.py" and "pbmond" in used}
    assert {used for used in own if used.count(".") == 1} == {"pbmond.bounds", "pbmond.fields"}
    assert tops({"wire.py"}) == {"msgpack", "pbmond"}
    assert tops({"moved_wire.py"}) == {"pbmond"}
    assert tops({"fields.py"}) == set()


def test_the_loader_imports_only_bcc() -> None:
    assert tops(LOADER) == {"bcc", "pbmond"}
    own = {module for name, module in imports(PACKAGE) if name in LOADER}
    assert all(each.startswith("pbmond.loader") for each in own if each.startswith("pbmond."))


@pytest.mark.parametrize(
    ("module", "owner"),
    [("msgpack", "wire.py"), ("bcc", "loader/programs.py")],
)
def test_each_outside_dependency_has_one_module(module: str, owner: str) -> None:
    users = {name for name, used in imports(PACKAGE) if used.split(".")[0] == module}
    # The self-test is a viewer of its own.
    assert users - {"selftest/private_daemon.py"} == {owner}


def test_only_the_self_test_is_a_socket_of_zmq() -> None:
    users = {name for name, used in imports(PACKAGE) if used.split(".")[0] == "zmq"}
    assert users == {"selftest/private_daemon.py"}


def test_the_workloads_import_only_the_standard_library() -> None:
    files = {name for name, _ in imports(PACKAGE) if name.startswith("selftest/workloads/")}
    assert tops(files) == {"pbmond"}
    own = {used for name, used in imports(PACKAGE) if name in files and used.startswith("pbmond")}
    assert all(used.startswith(("pbmond.selftest.workloads", "pbmond.patience")) for used in own)
    assert tops({"patience.py"}) == set()


def test_the_publisher_loads_no_numpy_and_neither_it_nor_the_collector_zmq() -> None:
    assert not {"numpy", "zmq"} & loaded(PACKAGE, "import pbmond.publish.publisher")
    assert not {"zmq", "pbmond.selftest"} & loaded(PACKAGE, "import pbmond.cli, pbmond.daemon")


def test_the_list_of_the_self_tests_paths_loads_neither_zmq_nor_numpy() -> None:
    assert not {"zmq", "numpy"} & loaded(PACKAGE, "import pbmond.selftest.cli")


def test_the_start_loads_no_numpy_before_the_loader_runs() -> None:
    assert "numpy" not in loaded(PACKAGE, "import pbmond.cli")
