"""The JSON of messages; what many of them have in common is written once, and put into each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)


@dataclass(frozen=True, slots=True)
class WrittenJson:
    """A value that is written already."""

    text: str


def json_of(value: Any) -> WrittenJson:  # noqa: ANN401 - whatever JSON can hold
    """Write a value that several messages will have."""
    return WrittenJson(_ENCODER.encode(value))


def written(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold, and WrittenJson in it
    """Write a message, with what was written before."""
    if isinstance(value, WrittenJson):
        return value.text
    if isinstance(value, dict):
        members = (f"{_ENCODER.encode(name)}:{written(item)}" for name, item in value.items())
        return f"{{{','.join(members)}}}"
    return _ENCODER.encode(value)
