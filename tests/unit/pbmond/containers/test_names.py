"""Questions and answers survive the way, and any other packet is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.containers.names import (
    TEXT_BYTES,
    AnswerError,
    ContainerNames,
    pack_answer,
    pack_question,
    unpack_answer,
    unpack_question,
)

TEXT = st.none() | st.binary(min_size=1, max_size=TEXT_BYTES)
NUMBER = st.integers(0, 2**32 - 1)


@given(NUMBER, st.builds(ContainerNames, TEXT, TEXT, TEXT, TEXT))
def test_an_answer_arrives_as_it_was_sent(number: int, names: ContainerNames) -> None:
    assert unpack_answer(pack_answer(number, names)) == (number, names)


@given(NUMBER, st.binary(min_size=1, max_size=4096))
def test_a_question_arrives_as_it_was_sent(number: int, cgroup: bytes) -> None:
    assert unpack_question(pack_question(number, cgroup)) == (number, cgroup)


@given(st.binary(max_size=100))
def test_a_packet_is_an_answer_only_if_it_could_have_been_sent(packet: bytes) -> None:
    try:
        number, names = unpack_answer(packet)
    except AnswerError:
        return
    assert pack_answer(number, names) == packet


@pytest.mark.parametrize("change", [b"x", b"\0" * 9000])
def test_stray_bytes_are_refused(change: bytes) -> None:
    with pytest.raises(AnswerError):
        unpack_answer(pack_answer(1, ContainerNames(b"web")) + change)


def test_gaps_are_filled_from_elsewhere() -> None:
    assert ContainerNames(b"web", None, b"pod").or_else(
        ContainerNames(b"other", b"image")
    ) == ContainerNames(b"web", b"image", b"pod")
