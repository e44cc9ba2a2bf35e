"""A group of any view has its series in the past: what the same group of the present moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.past import Past
from pbmon_client.history.remote import RemotePast
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.past.answering import PastAnswers
from pbmon_client.present.listing import group_keys
from pbmon_client.present.views import VIEWS, View
from pbmond.fields import CLASSES, DIRECTIONS
from tests import past_host as make

START, TICKS = make.MONDAY, 90
GROUPED = [view for view in VIEWS if view.grouping is not None]
#: Numbers that mean another thing in another family: ICMP is 1 as AF_UNIX is, chaos 16 as netlink.
FAMILIES = {"net": (2, 10), "loopback": (2, 10), "unix": (1,), "socket": (16, 17)}


def connections(random: np.random.Generator, pid: int) -> list[tuple[object, ...]]:
    made = []
    for _ in range(8):
        name = str(random.choice([*FAMILIES]))
        family = int(random.choice(FAMILIES[name]))
        ports = (int(port) for port in random.choice([0, 0, 22, 443, 8080, 50_000], 2))
        local_port, remote_port = ports if family in (2, 10) else (0, 0)
        made.append(
            make.connection(
                pid, 0, local_port=local_port, remote_port=remote_port, family=family,
                protocol=int(random.choice([6, 17, 1, 16])) if family in (2, 10) else family,
                direction=int(random.integers(len(DIRECTIONS))), netns=int(random.integers(1, 9)),
                remote=bytes([10, 0, 0, int(random.integers(3))]) + bytes(12),
                first_ns=int(random.integers(1, 1000)), **{"class": CLASSES.index(name)},
            )
        )  # fmt: skip
    return list({row[: len(LAYOUTS["connections"].key)]: row for row in made}.values())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(3)
    pids = range(1, 9)
    flows = [row for pid in pids for row in connections(random, pid)]
    rows = {
        PROCESSES: [make.process(pid, exe=b"/bin/%d" % (pid % 3) if pid % 4 else None)
                    for pid in pids],
        "connections": flows,
    }  # fmt: skip
    directory = tmp_path_factory.mktemp("groups") / "history"
    with HistoryWriter(directory, sync=False) as writer:
        for second in range(TICKS):
            deltas = {
                name: random.integers(0, 9, (len(some), len(LAYOUTS[name].counters)))
                for name, some in rows.items()
            }
            writer.tick(make.tick((START + second) * make.SECOND, rows, deltas))
    return directory


@pytest.mark.parametrize("view", GROUPED, ids=lambda view: view.name)
@pytest.mark.parametrize("uid", [None, 1001])
def test_the_series_of_each_group_is_what_its_rows_moved(
    store: Path, view: View, uid: int | None
) -> None:
    past = Past(store, uid)
    message = past.message(START, START + TICKS)
    snapshot = snapshot_of(message, Selection(flows=True), 0, "all", str)
    rows = getattr(snapshot, view.table)
    assert view.grouping is not None
    counters = LAYOUTS[view.table].counters
    sums: dict[object, np.ndarray] = {}
    for at, key in enumerate(group_keys(rows, view.grouping)):
        own = np.array([rows.table.columns[name][at] for name in counters], np.int64)
        sums[key] = sums.get(key, 0) + own
    assert sums
    for key, wanted in sums.items():
        where = view.grouping.where(key)
        series = past.series(START, START + TICKS, 10, where, view.table)
        assert len(series.sums) == TICKS // 10
        assert series.sums.sum(axis=0).tolist() == wanted.tolist(), key
    total = sum(wanted for wanted in sums.values())
    assert np.array_equal(total, past.series(START, START + TICKS, TICKS, {}, view.table).sums[0])


@pytest.mark.parametrize("view", GROUPED, ids=lambda view: view.name)
def test_a_server_of_the_past_answers_for_each_group(
    store: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the files do; here without a process for the question."""
    monkeypatch.setattr(
        RemotePast,
        "_exchange",
        lambda _self, query: PastAnswers(store, "root").answer(0, query[4:])[1][4:],
    )
    remote, past = RemotePast(Path("/nowhere")), Past(store)
    message = past.message(START, START + TICKS)
    rows = getattr(snapshot_of(message, Selection(flows=True), 0, "all", str), view.table)
    assert view.grouping is not None
    for key in {*group_keys(rows, view.grouping)}:
        given = (START, START + TICKS, 30, view.grouping.where(key), view.table)
        assert remote.series(*given).sums.tolist() == past.series(*given).sums.tolist()


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("processes", "port", 1), ("files", "port", 1), ("connections", "port", None),
        ("connections", "port", -1), ("connections", "port", 1 << 64), ("connections", "port", []),
        ("connections", "class", [*range(17)]), ("connections", "class", [True]),
        ("connections", "class", [b"x"]), ("connections", "local_name", [b"x"]),
        ("connections", "bytes", 1), ("processes", "unit", 1),
    ],
)  # fmt: skip
def test_what_no_row_can_have_is_no_choice(table: str, name: str, value: object) -> None:
    assert not LAYOUTS[table].can_choose(name, value)
