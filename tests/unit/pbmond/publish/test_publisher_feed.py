"""The feed between collector and publisher: whole frames, checked records, no waiting."""

from __future__ import annotations

import os
import socket

import pytest
from descriptors import descriptors
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond.publish import channel
from pbmond.publish.channel import Demand, FeedError, pack_demand, unpack_demand
from pbmond.wire import Topic

UIDS = st.integers(0, (1 << 32) - 1)
TOPICS = (
    st.builds(Topic, st.none() | UIDS, st.just("processes"))
    | st.builds(Topic, st.none() | UIDS, st.just("flows"), st.none() | UIDS)
    | st.just(Topic(None, "moved"))
)


@given(st.builds(Demand, TOPICS, st.booleans()))
def test_a_demand_survives_the_round_trip(demand: Demand) -> None:
    record = pack_demand(demand)
    assert len(record) == channel.RECORD.size
    assert unpack_demand(record) == demand


@settings(max_examples=500)
@given(st.binary(max_size=14) | st.binary(min_size=12, max_size=12))
def test_any_record_is_canonical_or_a_feed_error(record: bytes) -> None:
    try:
        demand = unpack_demand(record)
    except FeedError:
        return
    assert pack_demand(demand) == record


@pytest.mark.parametrize(
    "record",
    [
        channel.RECORD.pack(2, 0, 0, 0, 0, 0),
        channel.RECORD.pack(1, 2, 0, 0, 0, 0),
        channel.RECORD.pack(1, 0, 4, 0, 0, 0),
        channel.RECORD.pack(1, 1, 2, 0, 5, 0),  # what moved, in the scope of a user
        channel.RECORD.pack(1, 0, 0, 1, 0, 0),
        channel.RECORD.pack(1, 0, 0, 0, 5, 0),  # a uid in scope all
        channel.RECORD.pack(1, 0, 1, 0, 0, 5),  # a pid on a topic without one
        channel.RECORD.pack(1, 0, 0, 0, 0, 0)[:-1],
        channel.RECORD.pack(1, 0, 0, 0, 0, 0) + b"\0",
    ],
)
def test_stray_bits_are_refused(record: bytes) -> None:
    with pytest.raises(FeedError):
        unpack_demand(record)


@pytest.mark.parametrize("size", [1, 4096, 20_000_000])
def test_a_frame_arrives_whole(size: int) -> None:
    frame = os.urandom(1000) * (size // 1000) or b"x"
    ours, theirs = channel.pair()
    with ours, theirs:
        assert channel.send_frame(ours, frame)
        got = channel.receive_frame(theirs)
        assert got is not None
        assert got[:] == frame


def test_frames_stay_separate_and_in_order() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        for frame in (b"one", b"two"):
            assert channel.send_frame(ours, frame)
        got = [channel.receive_frame(theirs) for _ in range(2)]
        assert [each and each[:] for each in got] == [b"one", b"two"]
        with pytest.raises(BlockingIOError):
            channel.receive_frame(theirs)


def test_a_publisher_that_does_not_read_never_blocks_the_collector() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        sent = [channel.send_frame(ours, b"x") for _ in range(20)]
        # A frame may have 30 MB: a few may be on their way, not as many as a queue would hold.
        assert 1 <= sum(sent) <= 8
        # Room again as soon as one is taken.
        assert channel.receive_frame(theirs) is not None
        assert channel.send_frame(ours, b"y")


def test_no_descriptor_is_leaked() -> None:
    before = descriptors()
    ours, theirs = channel.pair()
    with ours, theirs:
        for _ in range(20):
            channel.send_frame(ours, b"frame")
            got = channel.receive_frame(theirs)
            assert got is not None
            got.close()
        while channel.send_frame(ours, b"frame"):
            pass
    with pytest.raises(OSError):
        channel.send_frame(ours, b"frame")
    # The descriptors in flight are dropped with the sockets.
    assert descriptors() <= before


def test_the_end_of_the_collector_is_none_and_a_packet_without_a_frame_an_error() -> None:
    ours, theirs = channel.pair()
    with theirs:
        with ours:
            ours.send(b"F")
            with pytest.raises(FeedError):
                channel.receive_frame(theirs)
        assert channel.receive_frame(theirs) is None


def test_several_descriptors_in_one_packet_are_all_closed() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        before = descriptors()
        fd = os.memfd_create("x")
        os.write(fd, b"data")
        socket.send_fds(ours, [b"F"], [fd, fd])
        os.close(fd)
        got = channel.receive_frame(theirs)
        assert got is not None
        got.close()
        assert descriptors() <= before


def test_the_collectors_end_never_waits_and_the_publishers_does() -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        assert ours.gettimeout() == 0
        assert theirs.gettimeout() is None
