"""The recorder: what the daemon says moved is in the files, to the byte, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_publisher import PATIENCE_S, Publisher
from kernel_model import Model, Tick, run

import pbmon_client
from pbmon_client.history.past import Past
from pbmon_client.record import options
from pbmon_client.record import start as command
from pbmond import wire
from pbmond.moved_wire import TOPIC
from pbmond.publish.moved_log import MovedLog
from pbmond.publish.topic_messages import Messages
from pbmond.store.store import Store, StoreOptions
from tests import factories as make

ROOT = Path(pbmon_client.__file__).parent.parent
QUIET = Tick([], frozenset(), frozenset(), 0, refuse=False, seconds=1)


class Daemon:
    """A store of one process that moves 10 bytes in every tick, and what is published of it."""

    def __init__(self, epoch: str = "epoch") -> None:
        options = StoreOptions(2 * make.SECOND, 3 * make.SECOND, 4, lambda *_: True)
        self.store, self.model, self.log = Store(options, make.STARTED_NS), Model(), MovedLog()
        self.epoch = epoch
        self.seq = 0

    def tick(self) -> bytes:
        self.seq += 1
        self.model.events = [make.seen(time_s=self.seq)] if self.seq == 1 else []
        self.model.move("flows", 7, 1, 0, [10, 0, 1, 0, 0, 0])
        run(self.store, self.model, QUIET, self.seq)
        health = {"began_ns": make.STARTED_NS, "lost": {}}
        meta = replace(make.META, epoch=self.epoch, seq=self.seq, health=health)
        return self.log.frame(Messages(self.store.snapshot(), meta))


class Recorder:
    """A running ``pbmon-client record``."""

    def __init__(self, path: Path, directory: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pbmon_client", "record", "--socket", str(path)),
                *("--directory", str(directory), *arguments),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> tuple[int, str]:
        if number is not None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said.decode()


Start = Callable[..., Recorder]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "sock")
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path, directory: Path) -> Iterator[Start]:
    started: list[Recorder] = []

    def begin(*arguments: str) -> Recorder:
        started.append(Recorder(tmp_path / "sock", directory, *arguments))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def received(directory: Path) -> int:
    """Return what the net_rx_bytes of all that is recorded are."""
    if not directory.exists():
        return 0
    since = make.WALL_NS // make.SECOND
    message = Past(directory).message(since, since + 100_000)
    return 0 if message is None else int(message.totals["net_rx_bytes"])


def wait_for(directory: Path, expected: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while received(directory) != expected:
        assert time.monotonic() < deadline, f"{received(directory)}, not {expected}"
        time.sleep(0.02)


def test_what_moved_is_recorded_and_a_recorder_that_was_away_misses_nothing(
    publisher: Publisher, start: Start, directory: Path
) -> None:
    daemon, recorder = Daemon(), start()
    publisher.expect(TOPIC)
    for _ in range(3):
        publisher.send_raw(daemon.tick())
    wait_for(directory, 30)
    recorder.process.kill()
    recorder.end(None)
    publisher.wanted.clear()
    for _ in range(20):
        daemon.tick()
    start()
    publisher.expect(TOPIC)
    publisher.send_raw(daemon.tick())
    wait_for(directory, 240)


def test_a_restarted_daemon_counts_from_its_beginning(
    publisher: Publisher, start: Start, directory: Path
) -> None:
    first, second = Daemon("one"), Daemon("two")
    start()
    publisher.expect(TOPIC)
    publisher.send_raw(first.tick())
    wait_for(directory, 10)
    for _ in range(12):
        frame = second.tick()
    publisher.send_raw(frame)
    wait_for(directory, 130)


def test_it_ends_at_a_signal(publisher: Publisher, start: Start) -> None:
    recorder = start()
    publisher.expect(TOPIC)
    assert recorder.end() == (0, "")
    recorder = start()
    publisher.wanted.clear()
    publisher.expect(TOPIC)
    assert recorder.end(signal.SIGINT)[0] == 130


def test_a_second_recorder_says_who_has_the_directory(publisher: Publisher, start: Start) -> None:
    first = start()
    publisher.expect(TOPIC)
    status, said = start().end(None)
    assert status == 1
    assert f"process {first.process.pid}" in said
    assert said.count("\n") == 1


def test_who_may_not_see_everybody_is_told_so(publisher: Publisher, start: Start) -> None:
    recorder = start()
    publisher.refuse(TOPIC, wire.NOT_YOURS)
    status, said = recorder.end(None)
    assert status == 1
    assert "only root and the group" in said


def test_a_directory_that_cannot_be_made_is_one_line(start: Start, directory: Path) -> None:
    directory.write_text("a file")
    status, said = start().end(None)
    assert status == 1
    assert said.startswith("pbmon-client: cannot record: ")
    assert said.count("\n") == 1


def test_a_daemon_that_is_not_there_is_waited_for(start: Start, directory: Path) -> None:
    recorder = start()
    assert recorder.process.stderr is not None
    said = os.read(recorder.process.stderr.fileno(), 1000).decode()
    assert "trying again" in said
    assert recorder.process.poll() is None


@pytest.mark.parametrize(
    ("text", "size"), [("8M", 8 << 20), ("200M", 200 << 20), ("1G", 1 << 30), ("10000000", 10**7)]
)
def test_sizes(text: str, size: int) -> None:
    assert options.parse(["--size", text]).settings.size == size


@pytest.mark.parametrize("text", ["", "7M", "1T", "-1", "2000G", "9" * 40, "8 M", "1.5G"])
def test_what_is_no_size_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        options.parse(["--size", text])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_configuration_says_how_much_is_kept_and_the_command_line_overrides(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pbmond.toml"
    file.write_text('[history]\nsize = "1G"\nkeep_1s = "12h"\n')
    assert options.parse(["--config", str(file)]).settings.size == 1 << 30
    chosen = options.parse(["--config", str(file), "--size", "8M"])
    assert (chosen.settings.size, chosen.settings.keeps[0]) == (8 << 20, 12 * 3600)


def test_a_configuration_that_turns_it_off_ends_the_recorder_without_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pbmond.toml"
    file.write_text("[history]\nrecord = false\n")
    assert command.main(["--config", str(file), "--directory", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()
    assert "record = false" in capsys.readouterr().err
