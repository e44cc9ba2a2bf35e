"""The JSON of messages that have parts in common."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.web.json_text import json_of, written

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3), VALUES), VALUES)
def test_a_message_reads_the_same_whether_its_parts_were_written_before(
    message: dict[str, Any], part: Any
) -> None:
    whole = {**message, "part": part, "inner": {"part": part}}
    in_parts = {**message, "part": json_of(part), "inner": {"part": json_of(part)}}
    assert json.loads(written(whole)) == whole
    assert written(in_parts) == written(whole)


def test_what_json_does_not_have_is_refused() -> None:
    for write in (written, json_of):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"rate": float("nan")})
