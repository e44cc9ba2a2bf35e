"""The real publisher process, unprivileged, over a real socket, against good and bad viewers."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from pbmond.children.starter import Starter
from pbmond.patience import patient
from pbmond.publish.channel import Demand, pair
from pbmond.publish.grants import COST_PER_USER, PROCESS_COST
from pbmond.publish.publisher import NAME
from pbmond.publish.supervisor import Supervisor
from pbmond.publish.viewers import REFUSALS
from pbmond.system.rundir import hold
from pbmond.wire import NOT_YOURS, Topic, refusal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")

NOBODY = pwd.getpwnam("nobody")
ALICE, BOB = 61001, 61002  # users that no account database needs to know
PATIENCE_S = patient(60.0)
ALL = Topic(None, "processes")


class Stage:
    """A supervisor with its publisher, and the viewers of one test."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "pbmond.sock"
        self.held = contextlib.ExitStack()
        self.listener = self.held.enter_context(hold(directory))
        log = logging.getLogger("test")
        self.starter = self.held.enter_context(
            Starter(self.listener, NOBODY.pw_uid, NOBODY.pw_gid, "pbmon", log)
        )
        self.supervisor = Supervisor(self.starter.publisher, log)
        self.demands: list[Demand] = []
        self.viewers: list[subprocess.Popen[str]] = []
        self.context = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []
        self.start()

    def start(self) -> None:
        self.until(lambda: self.supervisor.ensure(time.monotonic_ns()))

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, f"in vain; demands so far: {self.demands}"
            self.demands += self.supervisor.receive()
            for sock in self.sockets:
                sock.getsockopt(zmq.EVENTS)  # libzmq subscribes anew only within a call
            time.sleep(0.005)

    def demanded(self, topic: Topic, *, wanted: bool = True) -> None:
        self.until(lambda: Demand(topic, wanted) in self.demands)

    def send(self, topic: Topic, size: int = 5) -> None:
        self.until(lambda: self.supervisor.has_room(time.monotonic_ns()))
        assert self.supervisor.send(str(topic).encode() + b"\0" + b"x" * size)

    def subscriber(self, *topics: Topic) -> zmq.Socket[bytes]:
        sock = self.context.socket(zmq.SUB)
        self.sockets.append(sock)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        sock.connect(f"ipc://{self.path}")
        for topic in topics:
            sock.subscribe(str(topic).encode())
        return sock

    def viewer(self, uid: int, *commands: str) -> subprocess.Popen[str]:
        viewer = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).parents[2] / "viewer.py"),
                str(self.path),
                str(uid),
                *commands,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.viewers.append(viewer)
        return viewer

    def ended(self) -> bool:
        self.demands += self.supervisor.receive()
        return self.supervisor.fd is None

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.context.term()
        self.supervisor.close()
        self.held.close()
        for viewer in self.viewers:
            viewer.kill()
            viewer.communicate()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which other users cannot enter
        directory = Path(name)
        directory.chmod(0o755)
        made = Stage(directory)
        try:
            yield made
        finally:
            made.close()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


# --- what a viewer gets -----------------------------------------------------------------------


def test_root_gets_what_it_subscribed_to_and_nothing_else(stage: Stage) -> None:
    flows, one = Topic(None, "flows"), Topic(None, "flows", 7)
    sock = stage.subscriber(ALL, flows)
    stage.demanded(ALL)
    stage.demanded(flows)
    for topic in (one, flows, Topic(0, "processes"), ALL):
        stage.send(topic)
    assert [sock.recv(), sock.recv()] == [b"all/flows\0xxxxx", b"all/processes\0xxxxx"]
    sock.setsockopt(zmq.RCVTIMEO, 100)
    with pytest.raises(zmq.Again):
        sock.recv()


def test_a_user_gets_his_own_scope_whatever_he_asks_for(stage: Stage) -> None:
    asked = ["", "all", "all/", "all/processes", f"uid/{BOB}/processes", f"uid/{ALICE}/processes"]
    alice = stage.viewer(ALICE, *(f"+{each}" for each in asked), ".", "#3", "=300")
    stage.demanded(Topic(ALICE, "processes"))
    for topic in (ALL, Topic(BOB, "processes"), Topic(ALICE, "processes"), Topic(None, "flows")):
        stage.send(topic)
    out, _ = alice.communicate("\n")
    refused = [ALL, Topic(BOB, "processes")]
    told = [f"{len(refusal(topic, NOT_YOURS))} {topic}!\n" for topic in refused]
    mine = f"{len(f'uid/{ALICE}/processes') + 6} uid/{ALICE}/processes\n"
    assert out == "".join(told) + mine + "done\n"
    assert {demand.topic for demand in stage.demands} == {Topic(ALICE, "processes")}


def test_a_topic_is_no_longer_wanted_when_its_viewer_says_so_or_dies(stage: Stage) -> None:
    own = Topic(ALICE, "processes")
    for last in (f"-{own}", f"+{own}"):
        viewer = stage.viewer(ALICE, f"+{own}", ".", last, ".")
        stage.demanded(own)
        stage.demands.clear()
        assert viewer.stdin is not None
        viewer.stdin.write("\n")
        viewer.stdin.flush()
        if last.startswith("+"):
            viewer.kill()
        stage.demanded(own, wanted=False)
        stage.demands.clear()


def test_a_refused_viewer_that_leaves_does_not_end_the_topic_of_another(stage: Stage) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    alice = stage.viewer(ALICE, f"+{ALL}", f"-{ALL}", f"+{ALL}", f"+{Topic(ALICE, 'flows')}", ".")
    stage.demanded(Topic(ALICE, "flows"))
    alice.communicate("\n")
    stage.demanded(Topic(ALICE, "flows"), wanted=False)
    assert Demand(ALL, wanted=False) not in stage.demands
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"


def test_a_large_frame_arrives_whole(stage: Stage) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    stage.send(ALL, 30_000_000)
    assert len(sock.recv()) == 30_000_000 + len("all/processes") + 1


# --- what the process is ----------------------------------------------------------------------


def test_it_has_a_name_of_its_own(stage: Stage) -> None:
    comm = Path(f"/proc/{stage.supervisor.pid}/comm")
    stage.until(lambda: comm.read_bytes() == NAME + b"\n")


def test_it_has_no_privileges_left(stage: Stage) -> None:
    stage.subscriber(ALL)
    stage.demanded(ALL)
    pid = stage.supervisor.pid
    assert pid is not None
    for task in Path(f"/proc/{pid}/task").iterdir():
        found = status(int(task.name))
        assert found["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert found["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert found["Groups"] == ""
        assert found["NoNewPrivs"] == "1"
        assert {found[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}


def test_it_loads_neither_numpy_nor_the_rest_of_the_daemon(stage: Stage) -> None:
    code = (
        "import sys; before = {*sys.modules}; import pbmond.publish.publisher; "
        "print(*(sys.modules.keys() - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name for name in out.stdout.split() if name.split(".")[0] in ("numpy", "pbmond")}
    assert loaded == {
        *("pbmond", "pbmond.bounds", "pbmond.fields", "pbmond.group_members", "pbmond.wire"),
        *("pbmond.system", "pbmond.system.privileges"),
        *("pbmond.system.rights", "pbmond.system.seccomp", "pbmond.system.subordinates"),
        "pbmond.system.syscalls",
        *("pbmond.publish", "pbmond.publish.admission", "pbmond.publish.channel"),
        *("pbmond.publish.complaints", "pbmond.publish.grants", "pbmond.publish.membership"),
        *("pbmond.publish.peers", "pbmond.publish.publisher", "pbmond.publish.shares"),
        *("pbmond.publish.viewers", "pbmond.publish.zmtp"),
    }
    assert not {"zmq", "logging", "subprocess"} & set(out.stdout.split())


def test_it_ends_with_its_collector(stage: Stage) -> None:
    ours, theirs = pair()
    with ours:
        with theirs:
            child = stage.starter.publisher(theirs)
        sock = stage.subscriber(ALL)
        assert select.select([ours], [], [], PATIENCE_S)[0], "it does not serve"
    assert child.wait(PATIENCE_S) == 0
    assert not sock.closed


# --- what it survives, and what ends it -------------------------------------------------------


def replaced(stage: Stage) -> None:
    """The publisher has ended. Start another, to which viewers reconnect by themselves."""
    stage.until(stage.ended)
    stage.demands.clear()
    stage.start()


def test_when_killed_it_is_replaced_and_viewers_reconnect_by_themselves(stage: Stage) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    assert stage.supervisor.pid is not None
    os.kill(stage.supervisor.pid, signal.SIGKILL)
    replaced(stage)
    stage.demanded(ALL)
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"


@pytest.mark.parametrize(
    "message", ["", "78", "02616c6c", "00" * 200, "01" * 200, "01ff00", "0100" + "61" * 1000]
)
def test_a_malformed_message_hurts_nobody(stage: Stage, message: str) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    stage.viewer(ALICE, f"s{message}", f"+{Topic(ALICE, 'processes')}", ".")
    time.sleep(0.3)
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"
    assert not stage.ended()


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", bytes(200), b"\xff" * 200, b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" * 20],
)
def test_what_is_not_zmtp_hurts_nobody(stage: Stage, noise: bytes) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(stage.path))
        with contextlib.suppress(OSError):
            raw.sendall(noise)
        time.sleep(0.1)
        stage.send(ALL)
        assert sock.recv() == b"all/processes\0xxxxx"
    assert not stage.ended()


def test_thousands_of_silent_connections_hurt_nobody(stage: Stage) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    with contextlib.ExitStack() as stack:
        for _ in range(3000):
            raw = stack.enter_context(socket.socket(socket.AF_UNIX))
            raw.connect(str(stage.path))
        stage.send(ALL)
        assert sock.recv() == b"all/processes\0xxxxx"
    assert not stage.ended()


def test_a_viewer_that_asks_without_end_for_what_it_may_not_see_is_hung_up_on(stage: Stage) -> None:
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    own = Topic(ALICE, "processes")
    commands = [f"+{own}", ".", *(f"+all/flows/{pid}" for pid in range(REFUSALS)), ".", "=500"]
    alice = stage.viewer(ALICE, *commands)
    stage.demanded(own)
    alice.stdin.write("\n")  # type: ignore[union-attr]  # a pipe
    alice.stdin.flush()  # type: ignore[union-attr]
    stage.demanded(own, wanted=False)
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"
    assert not stage.ended()


def test_a_viewer_that_does_not_read_costs_neither_time_nor_much_memory(stage: Stage) -> None:
    own = Topic(ALICE, "processes")
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    stage.viewer(ALICE, f"+{own}", ".", "=100")
    stage.demanded(own)
    for _ in range(60):
        stage.send(own, 1_000_000)
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"
    pid = stage.supervisor.pid
    assert pid is not None
    assert int(status(pid)["VmRSS"].split()[0]) < 60_000  # kB


def test_a_refusal_is_told_to_the_refused_viewer_alone(stage: Stage) -> None:
    sock = stage.subscriber(ALL, Topic(None, "flows"))
    stage.demanded(ALL)
    alice = stage.viewer(ALICE, f"+{ALL}", "#1", "=300")
    bob = stage.viewer(BOB, f"+{Topic(BOB, 'processes')}", "+all", "=300")
    told = f"{len(refusal(ALL, NOT_YOURS))} all/processes!\ndone\n"
    assert (alice.communicate()[0], bob.communicate()[0]) == (told, "done\n")
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"


def test_two_hundred_viewers_of_single_processes_of_one_user_are_served(stage: Stage) -> None:
    topics = [Topic(None, "flows", pid) for pid in range(1, 201)]
    viewers = [stage.subscriber(topic) for topic in topics]
    for topic in topics:
        stage.demanded(topic)
    for topic in topics:
        stage.send(topic)
    assert [each.recv() for each in viewers] == [f"{t}\0xxxxx".encode() for t in topics]


def test_subscriptions_without_end_are_refused(stage: Stage) -> None:
    granted = COST_PER_USER // PROCESS_COST
    commands = [f"+uid/{ALICE}/flows/{pid}" for pid in range(granted + 50)]
    alice = stage.viewer(ALICE, *commands, ".")
    stage.demanded(Topic(ALICE, "flows", granted - 1))
    sock = stage.subscriber(ALL)
    stage.demanded(ALL)
    wanted = [each for each in stage.demands if each.topic.uid == ALICE and each.wanted]
    assert len(wanted) == granted
    alice.kill()
    stage.until(lambda: sum(not demand.wanted for demand in stage.demands) == granted)
    stage.send(ALL)
    assert sock.recv() == b"all/processes\0xxxxx"
