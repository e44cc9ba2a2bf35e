"""Attacks on the publisher by other users: the honest see every tick, and nobody is refused.

Each attack takes two seconds. PBMON_ATTACK_S=60 runs each for as long as it says.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from publisher_stage import PATIENCE_S, TICK_S, Stage, gaps_while, stage

from pbmond.patience import patient
from pbmond.publish.admission import PER_USER
from pbmond.publish.channel import MAX_TOPICS
from pbmond.publish.grants import RESERVED_TOPICS
from pbmond.wire import TOO_MANY, Topic, refusal, refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

ALICE, BOB, MALLORY, MALLET = 61001, 61002, 61666, 61667
ALL = Topic(None, "processes")
PATIENCE_MS = round(PATIENCE_S * 1000)
SECONDS = float(os.environ.get("PBMON_ATTACK_S", "2"))
#: What an attack may cost a viewer: two seconds.
WORST_GAP = round(patient(2) / TICK_S)


@pytest.fixture
def staged() -> Iterator[Stage]:
    with stage() as made:
        yield made


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def replaced(staged: Stage, starts: int) -> None:
    until(lambda: staged.starts > starts)


def own(uid: int) -> Topic:
    return Topic(uid, "processes")


def gets(viewer: subprocess.Popen[str], topic: Topic) -> bool:
    """Wait for what a viewer prints first: whether it is a message of that topic."""
    assert viewer.stdout is not None
    assert select.select([viewer.stdout], [], [], PATIENCE_S)[0], "it got nothing"
    return viewer.stdout.readline().endswith(f" {topic}\n")


@pytest.mark.parametrize(
    "attack",
    ["connects", "half_open", "subscriptions", "big_topic", "pings", "floods", "fuzz"],
)
def test_attacks_of_two_users_cost_a_viewer_no_two_seconds_and_refuse_nobody(
    staged: Stage, attack: str
) -> None:
    """25,000 connects a second, 200,000 subscriptions, 20 MB topics, fuzzed ZMTP and more."""
    sock = staged.subscriber(ALL)
    sock.recv()
    attackers = [staged.attack(uid, SECONDS, attack) for uid in (MALLORY, MALLET)]
    newcomer = staged.viewer(ALICE, f"+{own(ALICE)}", f"={PATIENCE_MS}")
    until(lambda: own(ALICE) in staged.wanted)  # let in during the attack
    gaps = gaps_while(sock, *attackers)
    assert max(gaps) <= WORST_GAP, f"of {len(gaps)}"
    assert all(int(attacker.communicate()[0]) > 0 for attacker in attackers)
    assert gets(newcomer, own(ALICE))
    assert staged.starts == 1
    assert staged.publisher_kb() < 60_000


def test_two_thousand_idle_connections_hurt_nobody(staged: Stage) -> None:
    sock = staged.subscriber(ALL)
    sock.recv()
    attackers = [staged.attack(uid, SECONDS, "idles") for uid in (MALLORY, MALLET)]
    gaps = gaps_while(sock, *attackers)
    assert max(gaps) <= WORST_GAP
    fresh = staged.subscriber(ALL)
    fresh.recv()
    assert staged.starts == 1


def test_a_publisher_with_few_descriptors_serves_root_and_newcomers_all_the_same() -> None:
    """What 2,000 connections do to a publisher that may open 128 files."""
    with stage(descriptors=128) as staged:
        sock = staged.subscriber(ALL)
        sock.recv()
        attackers = [staged.attack(uid, SECONDS, "idles") for uid in (MALLORY, MALLET)]
        newcomer = staged.viewer(ALICE, f"+{own(ALICE)}", f"={PATIENCE_MS}")
        assert max(gaps_while(sock, *attackers)) <= WORST_GAP
        assert gets(newcomer, own(ALICE))
        staged.subscriber(ALL).recv()
        assert staged.starts == 1


def test_eight_users_with_256_topics_each_lock_out_nobody(staged: Stage) -> None:
    """Whatever they hold, another user has a share, root too, and the refused are told so."""
    greedy = range(MALLORY, MALLORY + 8)
    for uid in greedy:
        staged.viewer(uid, *(f"+uid/{uid}/flows/{pid}" for pid in range(256)), ".")
    until(lambda: len(staged.wanted) >= MAX_TOPICS - RESERVED_TOPICS)
    late = staged.viewer(ALICE, f"+{own(ALICE)}", f"={PATIENCE_MS}")
    sock, roots = staged.subscriber(ALL), staged.subscriber(own(0))
    sock.recv()
    roots.recv()
    until(lambda: own(ALICE) in staged.wanted)
    assert gets(late, own(ALICE))

    def shared() -> bool:  # a user may come to it late
        held = [sum(topic.uid == uid for topic in tuple(staged.wanted)) for uid in greedy]
        return max(held) - min(held) <= 2

    until(shared)
    told = staged.viewer(BOB, *(f"+uid/{BOB}/flows/{pid}" for pid in range(200)), f"={PATIENCE_MS}")
    assert told.stdout is not None
    refusing = refusal(Topic(BOB, "flows", 199), TOO_MANY)
    assert f"{len(refusing)} uid/{BOB}/flows/199!\n" in iter(told.stdout.readline, "")


def test_fifty_stalled_viewers_hold_no_more_than_119_mb(staged: Stage) -> None:
    """A snapshot of 2,000 processes has about 2 MB; each viewer stops in another one."""
    staged.padding = os.urandom(2_000_000)
    stalled = [staged.viewer(0, f"+{ALL}", ".") for _ in range(50)]
    sock = staged.subscriber(ALL)
    sock.recv()
    for viewer in stalled:
        os.kill(viewer.pid, signal.SIGSTOP)
    for _ in range(40):
        sock.recv()
    assert staged.publisher_kb() < 119_000
    assert staged.starts == 1


def test_one_user_has_his_number_of_connections_and_others_theirs(staged: Stage) -> None:
    """Two hundred viewers of one user are served, whatever else he opens."""
    viewers = [staged.subscriber(ALL) for _ in range(PER_USER + 50)]
    served: set[int] = set()

    def serves() -> bool:
        for number, viewer in enumerate(viewers):
            if viewer.poll(0) and refused(viewer.recv()) is None:
                served.add(number)
        return len(served) >= 200

    until(serves)
    other = staged.viewer(ALICE, f"+{own(ALICE)}", f"={PATIENCE_MS}")
    until(lambda: own(ALICE) in staged.wanted)
    assert gets(other, own(ALICE))
    assert staged.starts == 1


def test_a_stopped_publisher_without_viewers_is_replaced(
    staged: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbmond.publish.supervisor.HUNG_NS", 4_000_000_000)
    until(lambda: staged.supervisor.pid)
    stopped, starts = staged.supervisor.pid, staged.starts
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    replaced(staged, starts)
    assert staged.supervisor.pid not in (None, stopped)
    staged.subscriber(ALL).recv()


def test_a_killed_publisher_is_replaced_and_no_connect_is_ever_refused(staged: Stage) -> None:
    """The listening socket stays: who connects meanwhile waits for the next publisher."""
    sock = staged.subscriber(ALL)
    for _ in range(3):
        sock.recv()
        pid, starts = staged.supervisor.pid, staged.starts
        assert pid is not None
        connecting = staged.attack(MALLORY, 1, "connects")
        os.kill(pid, signal.SIGKILL)
        replaced(staged, starts)
        assert int(connecting.communicate()[0]) > 0
    sock.recv()
