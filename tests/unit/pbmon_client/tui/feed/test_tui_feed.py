"""The feed against a publisher on a real socket, and the recorded stream that stands in for it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import demo_world
import pytest
from client_messages import flow, message, process, received
from descriptors import descriptors
from fake_publisher import PATIENCE_S, Publisher

from pbmon_client import subscription
from pbmon_client.data import model, recording
from pbmon_client.data.recording import RecordingError
from pbmon_client.data.stream import Stream
from pbmon_client.output import jsonout
from pbmon_client.present.arrange import ViewQuery
from pbmon_client.present.search import understand
from pbmon_client.present.views import CONNECTIONS, HOSTS, PROCESSES
from pbmon_client.tui.app import App
from pbmon_client.tui.feed import demo, prefetch, receiver
from pbmon_client.tui.feed.demo import Demo
from pbmon_client.tui.feed.messages import (
    Crashed,
    Failed,
    FeedRequest,
    Mailbox,
    News,
    Silent,
    SnapshotReady,
    SnapshotSource,
)
from pbmon_client.tui.feed.receiver import DaemonFeed
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmon_client.tui.session.settings import Settings
from pbmon_client.tui.session.state import ProcessDetail
from pbmond import wire
from pbmond.patience import patient

UID = os.geteuid()
ALL = wire.Topic(None, "processes")
OWN = wire.Topic(UID, "processes")
FLOWS = wire.Topic(None, "flows")
ONE = wire.Topic(None, "flows", 7)


def first(feed: SnapshotSource, wanted: Callable[[News], bool]) -> News:
    """Return the first news of a kind, as whoever watches the descriptor gets it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if select.select([feed.fd], [], [], 0.5)[0]:
            for news in feed.news():
                if wanted(news):
                    return news
    raise AssertionError("it did not come")


def is_snapshot(news: News) -> bool:
    return isinstance(news, SnapshotReady)


def is_detail(news: News) -> bool:
    return isinstance(news, ProcessDetail)


@pytest.fixture(autouse=True)
def _no_early_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine is no silent daemon; a feed would begin anew, and miss what is sent."""
    monkeypatch.setattr(receiver, "_FIRST_S", 2 * PATIENCE_S)
    monkeypatch.setattr(receiver, "_JOIN_S", PATIENCE_S)


@pytest.fixture
def feed(path: Path) -> Iterator[DaemonFeed]:
    with contextlib.closing(DaemonFeed(str(path), model.Selection())) as made:
        yield made


def test_snapshots_come_with_their_rows_arranged(publisher: Publisher, feed: DaemonFeed) -> None:
    query = ViewQuery(PROCESSES, search=understand("two"))
    feed.request(FeedRequest(query=query))
    publisher.expect(ALL)
    publisher.send(ALL, message([process(1, b"one"), process(2, b"two")], seq=4))
    news = first(feed, is_snapshot)
    assert isinstance(news, SnapshotReady)
    assert news.snapshot.message.seq == 4
    assert news.snapshot.scope == "all"
    assert news.query == query
    assert news.rows is not None
    assert list(news.rows.order) == [1]


def test_a_request_made_during_the_wait_applies_to_the_next_snapshot(
    path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def wait(*ready: Any) -> None:
        if asked.is_set():  # the feed waits for its first snapshot
            asked.clear()
            started.request(FeedRequest(query=ViewQuery(PROCESSES, search=understand("two"))))
            publisher.send(ALL, message([process(1, b"one"), process(2, b"two")], seq=4))
        subscription.wait(*ready)

    monkeypatch.setattr(receiver, "wait", wait)
    started = DaemonFeed(str(path), model.Selection())
    with contextlib.closing(started):
        publisher.expect(ALL)
        asked.set()
        started._requested.wake()
        news = first(started, is_snapshot)
    assert isinstance(news, SnapshotReady)
    assert news.rows is not None
    assert list(news.rows.order) == [1]


def test_the_own_scope_serves_where_nothing_else_is_granted(
    publisher: Publisher, feed: DaemonFeed
) -> None:
    publisher.refuse(ALL)
    publisher.expect(OWN)
    publisher.send(OWN, message([process(1)], seq=4))
    news = first(feed, is_snapshot)
    assert isinstance(news, SnapshotReady)
    assert news.snapshot.scope == "own"


def test_a_screen_that_is_refused_says_so_and_lives_on(
    path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "_FIRST_S", patient(3.0))
    with contextlib.closing(DaemonFeed(str(path), model.Selection())) as feed:
        publisher.refuse(ALL, wire.TOO_MANY)
        news = first(feed, lambda each: isinstance(each, Silent))
        assert isinstance(news, Silent)
        assert news.words.startswith("pbmond refuses another viewer")
        publisher.hear(lambda wanted: not wanted)
        publisher.expect(ALL)  # it asks again after a while
        publisher.send(ALL, message([process(1)], seq=4))
        assert first(feed, is_snapshot)


def test_flows_and_one_process_are_subscribed_to_only_while_requested(
    publisher: Publisher, feed: DaemonFeed
) -> None:
    publisher.expect(ALL)
    feed.request(FeedRequest(flows=True, pid=7))
    publisher.hear(lambda wanted: {str(FLOWS), str(ONE)} <= wanted and str(ALL) not in wanted)
    publisher.send(FLOWS, message([process(7)], [], [], seq=5))
    publisher.send(ONE, message([process(7)], [], [], seq=5))
    news = first(feed, is_detail)
    assert isinstance(news, ProcessDetail)
    assert news.pid == 7
    assert news.snapshot.connections is not None
    feed.request(FeedRequest(pid=8))
    publisher.hear(lambda wanted: "all/flows/8" in wanted and str(ONE) not in wanted)
    feed.request(FeedRequest())
    publisher.hear(lambda wanted: not any("flows" in topic for topic in wanted))


@pytest.mark.parametrize("active", [False, True])
def test_other_views_are_prefetched_while_the_user_is_active(
    active: bool, path: Path, publisher: Publisher
) -> None:
    priority = RenderPriority()
    with contextlib.closing(DaemonFeed(str(path), model.Selection(), priority)) as feed:
        publisher.expect(ALL)
        feed.request(FeedRequest(flows=True, query=ViewQuery(CONNECTIONS)))
        publisher.hear(lambda wanted: str(FLOWS) in wanted)
        if active:
            with priority.drawing():  # so that the feed does not wait for a drawing
                priority.key_pressed()
        publisher.send(FLOWS, message([process(7)], [flow(7)], [flow(7)], seq=5))
        news = first(feed, is_snapshot)
    assert isinstance(news, SnapshotReady)
    assert news.rows is not None
    assert news.snapshot.connections is not None
    assert news.snapshot.connections.has(("groups", HOSTS.grouping)) is active


def test_silence_is_explained_and_ends_when_a_daemon_comes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "_FIRST_S", patient(3.0))
    with contextlib.closing(DaemonFeed(str(path), model.Selection())) as feed:
        news = first(feed, lambda news: isinstance(news, Silent))
        assert isinstance(news, Silent)
        assert news.words == subscription.silence_words(str(path), FileNotFoundError())
        with contextlib.closing(Publisher(path)) as publisher:
            publisher.expect(ALL)
            publisher.send(ALL, message([process(1)], seq=1))
            assert first(feed, is_snapshot)


def test_a_daemon_of_another_version_is_reported(publisher: Publisher, feed: DaemonFeed) -> None:
    publisher.expect(ALL)
    publisher.send_raw(str(ALL).encode() + b"\0\xff")
    news = first(feed, lambda news: isinstance(news, Silent))
    assert "uses another version of the protocol" in news.words  # type: ignore[union-attr]


def test_an_impossible_socket_path_ends_the_feed() -> None:
    with contextlib.closing(DaemonFeed("/" + "x" * 200, model.Selection())) as feed:
        news = first(feed, lambda news: isinstance(news, Failed))
        assert "name another with --socket" in news.words  # type: ignore[union-attr]


@pytest.mark.parametrize("played", [False, True])
def test_an_error_in_the_thread_is_raised_where_the_terminal_is_restored(
    played: bool, path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(model, "snapshot_of", mistaken)
    nothing = model.Selection()
    source = Demo(demo_world.FILE, nothing) if played else DaemonFeed(str(path), nothing)
    with contextlib.closing(source):
        if not played:
            publisher.expect(ALL)
            publisher.send(ALL, message([process(1)], seq=2))
        news = first(source, lambda news: isinstance(news, Crashed))
    with pytest.raises(RuntimeError, match="a mistake"):
        App(Settings()).receive(news, 0.0)


def test_the_feed_waits_until_a_key_press_is_drawn() -> None:
    priority = RenderPriority(patience_s=PATIENCE_S)
    done: list[str] = []

    def work() -> None:
        priority.yield_to_screen()
        done.append("worked")

    priority.yield_to_screen()  # at once: nobody is in a key_pressed
    priority.key_pressed()
    thread = threading.Thread(target=work)
    with priority.drawing():
        thread.start()
        time.sleep(0.02)
        done.append("drawn")
    thread.join()
    assert done == ["drawn", "worked"]


def test_a_failed_drawing_does_not_stop_the_feed() -> None:
    priority = RenderPriority(patience_s=PATIENCE_S)
    with contextlib.suppress(RuntimeError), priority.drawing():
        raise RuntimeError
    began = time.monotonic()
    priority.yield_to_screen()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_closing_ends_the_thread_at_once(feed: DaemonFeed) -> None:
    began = time.monotonic()
    feed.close()
    assert time.monotonic() - began < PATIENCE_S  # half of how long it would wait otherwise
    assert not feed._thread.is_alive()


@pytest.mark.parametrize("played", [False, True])
def test_closing_leaves_no_descriptor_open(
    played: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "_FIRST_S", 0.1)
    before = descriptors()
    source = (
        Demo(demo_world.FILE, model.Selection())
        if played
        else DaemonFeed(str(path), model.Selection())
    )
    first(source, lambda _news: True)
    source.close()
    source._thread.join(PATIENCE_S)  # a screen that ends waits less for it
    source.close()
    assert descriptors() <= before
    source.wake()  # a name that was found too late
    source.close()


def test_news_is_taken_in_the_order_of_its_arrival() -> None:
    snapshot = model.snapshot_of(received(message([], seq=2)), model.Selection(), 0, "all", str)
    with contextlib.closing(Mailbox()) as mailbox:
        for news in (SnapshotReady(snapshot), Silent("silent"), last := SnapshotReady(snapshot)):
            mailbox.put(news)
        taken = mailbox.take()
    assert [type(news) for news in taken] == [Silent, SnapshotReady]
    assert taken[-1] is last


def test_a_stream_thins_to_the_display_interval() -> None:
    stream = Stream(model.Selection(), 0, str)
    shown = [
        stream.take(received(message([process(1, net_rx_bytes=100 * seq)], seq=seq)), "all", 3.0)
        for seq in range(1, 8)
    ]
    assert [view is not None for view in shown] == [True, False, False] * 2 + [True]
    last = shown[-1]
    assert last is not None
    assert last.message.interval_ns == 3 * 10**9
    assert list(last.processes.column("net_rx_bytes_per_s")) == [100.0]
    repeated = received(message([process(1)], seq=7))
    assert stream.take(repeated, "all", None) is None


# --- the recorded stream --------------------------------------------------------------------------


def test_the_recorded_file_is_of_the_made_up_world() -> None:
    assert demo_world.FILE.read_bytes() == demo_world.lines()


def test_a_recorded_stream_reads_back_as_what_was_printed() -> None:
    everything = model.Selection(flows=True)
    lines = demo_world.FILE.read_bytes().splitlines()
    for line, recorded in zip(lines, recording.read(demo_world.FILE), strict=True):
        view = model.snapshot_of(recorded.message, everything, 0, recorded.scope, recorded.user)
        assert json.loads(jsonout.render(view, row_a_line=False)) == json.loads(line)


def test_a_hostile_recording_is_made_safe(tmp_path: Path) -> None:
    row = json.loads(demo_world.FILE.read_bytes().splitlines()[3])
    hostile = "\x1b[2J\u202e\n"
    row["viewer"]["scope"] = row["host"] = row["processes"][0]["user"] = hostile
    row["processes"][0]["name"] = row["files"][0]["path"] = hostile
    file = tmp_path / "hostile.ndjson"
    file.write_text(json.dumps(row) + "\n")
    shown = recording.first_known(file, model.Selection(flows=True))
    assert shown.files is not None
    texts = [shown.scope, shown.host, shown.files.column("path")[0]]
    texts += [shown.processes.column(name)[0] for name in ("user", "name")]
    assert all(text.isprintable() for text in texts)


def test_a_demo_plays_the_snapshots_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    played: Queue[model.Snapshot] = Queue()  # a mailbox keeps only the newest

    def noted(snapshot: model.Snapshot, *rest: Any) -> SnapshotReady:
        played.put(snapshot)
        return prefetch.prepared(snapshot, *rest)

    monkeypatch.setattr(demo, "prepared", noted)
    with contextlib.closing(Demo(demo_world.FILE, model.Selection())) as source:
        news = first(source, is_snapshot)
        assert isinstance(news, SnapshotReady)
        assert news.snapshot.host == "web-1"
        one, two = (played.get(timeout=PATIENCE_S).message.seq for _ in range(2))
        assert two == one + 1


def test_a_demo_repeats_with_clocks_that_go_on(tmp_path: Path) -> None:
    short = tmp_path / "short.ndjson"
    lines = demo_world.FILE.read_bytes().splitlines(keepends=True)[:2]
    short.write_bytes(b"".join(_sooner(line, at) for at, line in enumerate(lines)))
    with contextlib.closing(Demo(short, model.Selection())) as played:
        times: list[int] = []
        while len(times) < 5:
            news = first(played, is_snapshot)
            assert isinstance(news, SnapshotReady)
            times.append(news.snapshot.message.time_ns)
    assert times == sorted(times)
    assert len(set(times)) == 5


def _sooner(line: bytes, at: int) -> bytes:
    """Let snapshots follow each other by a twentieth of a second."""
    value = json.loads(line)
    value["time_ns"] = 10**18 + at * 50_000_000
    value["interval_ns"] = 50_000_000
    return json.dumps(value).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "holds no snapshot"),
        (b"nonsense\n", "line 1 is no snapshot"),
        (b"[]\n", "line 1 is no snapshot"),
        (b'\n{"schema": "pbmon/2"}\n', "line 2 is no snapshot"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_not_a_stream_is_reported_in_one_line(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    file = tmp_path / "file.ndjson"
    file.write_bytes(data)
    with pytest.raises(RecordingError, match=problem) as caught:
        recording.first_known(file, model.Selection())
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with contextlib.closing(Demo(tmp_path / "none", model.Selection())) as played:
        news = first(played, lambda news: isinstance(news, Failed))
        assert "No such file" in news.words  # type: ignore[union-attr]
