"""A user's subordinate uids are counted as one user's, so that nobody has 65,536 shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbmond.publish.admission import IN_ALL, PER_USER, RESERVED, Peers
from pbmond.publish.grants import COST_PER_USER, Grants, Refusal
from pbmond.publish.peers import Peer
from pbmond.system.subordinates import Subordinates
from pbmond.wire import TOO_MANY

ALICE, BOB, CAROL = 100_000, 165_536, 1003
_LINES = b"alice:100000:65536\nbob:165536:65536\nalice:1000000:10\n"


class _Socket:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


@pytest.fixture
def subordinates(tmp_path: Path) -> Subordinates:
    file = tmp_path / "subuid"
    file.write_bytes(_LINES)
    return Subordinates(file)


@pytest.mark.parametrize(
    ("uid", "account"),
    [
        *((0, 0), (1000, 1000), (99_999, 99_999)),
        *((100_000, ALICE), (165_535, ALICE), (1_000_009, ALICE)),
        *((165_536, BOB), (231_071, BOB)),
        *((231_072, 231_072), (1_000_010, 1_000_010), (2**32 - 2, 2**32 - 2)),
    ],
)
def test_all_ranges_of_a_user_are_one_account_and_other_uids_are_their_own(
    subordinates: Subordinates, uid: int, account: int
) -> None:
    assert subordinates.account(uid) == account


@pytest.mark.parametrize("text", [b"", b"\n:::\nalice\nalice:x:5\nalice:-1:9\nalice:1:2:3\n\xff"])
def test_lines_that_say_nothing_mean_nothing(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "subuid"
    file.write_bytes(text)
    assert Subordinates(file).account(1) == 1


def test_without_a_file_every_uid_is_its_own_account(tmp_path: Path) -> None:
    assert Subordinates(tmp_path / "none").account(100_001) == 100_001


def test_one_connection_from_each_of_2000_subordinate_uids_locks_out_nobody(
    subordinates: Subordinates,
) -> None:
    """Once, 1,536 of them filled the room of all ordinary users."""
    peers = Peers(account=subordinates.account)
    shares = peers.shares(trusted=False)

    def enter(fd: int, uid: int) -> None:
        while (victim := peers.victim(uid, shares)) is not None:
            peers.remove(victim)
        peers.add(Peer(_Socket(fd), uid, shares))  # type: ignore[arg-type]

    for number in range(2000):
        enter(number, ALICE + number)
    assert len(peers) == PER_USER < IN_ALL - RESERVED
    enter(5000, CAROL)
    enter(5001, BOB)
    assert len(peers) == PER_USER + 2
    peers.remove(next(iter(peers)))
    assert len(peers) == PER_USER + 1


def test_topics_of_subordinate_uids_come_out_of_one_users_share(
    subordinates: Subordinates,
) -> None:
    grants = Grants(lambda _: False, subordinates.account)
    answers = [
        grants.subscribe(b"uid/%d/flows/%d" % (uid, pid), uid, uid)
        for uid in range(ALICE, ALICE + 10)
        for pid in range(100)
    ]
    granted = [each for each in answers if not isinstance(each, Refusal)]
    assert len(granted) == COST_PER_USER
    assert {each.why for each in answers if isinstance(each, Refusal)} == {TOO_MANY}
    assert not isinstance(grants.subscribe(b"uid/%d/processes" % CAROL, CAROL, 1), Refusal)
    # Only a uid's own topics are granted to it, whoever it is counted as.
    assert isinstance(grants.subscribe(b"uid/%d/processes" % ALICE, ALICE + 1, 2), Refusal)
    for uid in range(ALICE, ALICE + 10):
        grants.leave(uid)
    grants.leave(1)
    assert not list(grants.holders(granted[0]))
