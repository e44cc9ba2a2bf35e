"""Answers that say what is wrong: problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


class TextSpan(BaseModel):
    """Where a mistake is in a text, in characters."""

    start: int
    end: int


class Problem(BaseModel):
    """What is wrong. ``parameter`` and ``position`` say where, if it is in a parameter."""

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None
    position: TextSpan | None = None


class ProblemError(Exception):
    """A request cannot be answered; it becomes a problem document."""

    def __init__(self, status: int, detail: str, **members: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(detail)
        self.status: Final = status
        self.detail: Final = detail
        self.members: Final = members


def response(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Make the answer; ``members`` are added to the document."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(members or {}),
    }
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, status, dict(headers or {}), MEDIA_TYPE)
