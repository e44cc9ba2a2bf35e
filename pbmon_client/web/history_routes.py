"""The API of the history: what is kept, series of what moved, and times as people write them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response

from pbmon_client.data.times import duration, read
from pbmon_client.data.users import user_id
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.present.views import BY_NAME, View
from pbmon_client.present.views import PROCESSES as PROCESS_VIEW
from pbmon_client.web import answers, keys, parameters
from pbmon_client.web.house import House
from pbmon_client.web.past import MOST_STEPS, KnownSeries, When, Whose, span_of, whose_of
from pbmon_client.web.problems import ProblemError
from pbmond.fields import IDENTITY

if TYPE_CHECKING:
    from pbmon_client.history.past import Kept


def add(router: APIRouter, house: House) -> None:
    """Add the routes."""
    _add_kept(router, house)
    _add_series(router, house)

    @router.get("/history/moment", response_model=answers.MomentAnswer)
    async def read_time(asked: Annotated[parameters.MomentParameters, Query()]) -> Response:
        """Read a time as people write it; without a zone in it, it is one of ``zone``."""
        try:
            zone = None if asked.zone is None else ZoneInfo(asked.zone)
        except (ValueError, OSError, KeyError):
            raise ProblemError(400, "there is no such time zone", parameter="zone") from None
        try:
            found = read(asked.text, time.time(), zone)
        except ValueError as error:
            raise ProblemError(400, str(error), parameter="text") from None
        return _json({"at": found.seconds, "remark": found.remark})


def _add_kept(router: APIRouter, house: House) -> None:
    @router.get("/history", response_model=answers.KeptAnswer)
    async def history(_asked: Annotated[parameters.NoParameters, Query()]) -> Response:
        """Return what is kept of the past: the spans of its tiers, gaps, and what is missing."""
        kept = await house.of_past(house.past.kept())
        return _json(_kept(kept))

    @router.get("/history/state", response_model=answers.StateAnswer)
    async def state(_asked: Annotated[parameters.NoParameters, Query()]) -> Response:
        """Return the same, or why no history can be read, without that being a problem."""
        try:
            kept = await house.of_past(house.past.kept())
        except ProblemError as error:
            return _json({"kept": None, "why": error.detail})
        return _json({"kept": _kept(kept), "why": None})


def _add_series(router: APIRouter, house: House) -> None:
    @router.get("/history/series", response_model=answers.SeriesAnswer)
    async def series(asked: Annotated[parameters.SeriesParameters, Query()]) -> Response:
        """Return what moved in each step: in all, or of some processes, or of a view's row."""
        when, step = _range(asked)
        names = asked.names()
        whose = await _whose(asked)
        unknown = names - {*LAYOUTS[PROCESSES if whose is None else whose.table].counters}
        if unknown:
            words = f"{min(unknown)} is no counter of these rows"
            raise ProblemError(400, words, parameter="fields")
        found = await house.of_past(house.past.series(when, step, whose))
        return _json({**_series(found, names), "remarks": when.remarks})


def _json(document: Mapping[str, Any]) -> Response:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(body.encode("utf-8", "backslashreplace"), media_type="application/json")


def _kept(kept: Kept) -> dict[str, Any]:
    since, until = span_of(kept)
    return {
        "since": since,
        "until": until,
        "tiers": [
            {"step": tier.width, "bytes": tier.size, **_span(tier.span or (None, None))}
            for tier in kept.tiers
        ],
        "gaps": [_span(gap) for gap in kept.gaps],
        "missing": [
            {"since": each.begin, "until": each.end, "why": each.why} for each in kept.missing
        ],
    }


def _span(span: tuple[int | None, int | None]) -> dict[str, int | None]:
    since_ns, until_ns = span
    return {"since_ns": since_ns, "until_ns": until_ns}


def _series(found: KnownSeries, names: frozenset[str]) -> dict[str, Any]:
    sums = {name: values for name, values in found.sums.items() if not names or name in names}
    count = len(next(iter(found.sums.values())))
    return {
        "since": found.since,
        "until": found.since + count * found.step,
        "step": found.step,
        "recorded_until": found.newest,
        "sums": sums,
        "reasons": found.reasons,
    }


def _range(asked: parameters.SeriesParameters) -> tuple[When, int]:
    """Return a range and its step; ProblemError 400 if it has too many."""
    when = asked.range()
    if when is None or when.until is None:
        raise ProblemError(400, "a series needs since", parameter="since")
    try:
        step = duration(asked.step)
    except ValueError as error:
        raise ProblemError(400, str(error), parameter="step") from None
    least = -(-(when.until - when.since) // MOST_STEPS)
    if step < least:
        words = f"more than {MOST_STEPS:,} steps: the shortest step for this range is {least} s"
        raise ProblemError(400, words, parameter="step")
    return when, step


async def _whose(asked: parameters.SeriesParameters) -> Whose | None:
    """Return which rows are asked for, None for all; ProblemError 400 if there can be none."""
    given = asked.chosen()
    if given is None:
        return None
    if given == "view":
        return _of_view(asked.view or "", asked.key or "")
    where: dict[str, Any]
    if given == "unit":
        where = {"unit": (asked.unit or "").encode()}
    elif given == "user":
        try:
            where = {"uid": await asyncio.to_thread(user_id, asked.user or "")}
        except ValueError as error:
            raise ProblemError(400, str(error), parameter="user") from None
    else:
        where = {"pid": asked.pid, "start_ns": asked.start_ns}
    return Whose(PROCESSES, {name: value for name, value in where.items() if value is not None})


def _of_view(name: str, text: str) -> Whose:
    view = PROCESS_VIEW if BY_NAME[name].tree else BY_NAME[name]
    key = keys.decode(text, view)
    found = None if key is None else _rows_of(view, key)
    if found is None:
        raise ProblemError(400, f"that is no key of a row of {name}", parameter="key")
    return found


def _rows_of(view: View, key: Any) -> Whose | None:  # noqa: ANN401 - a row's key
    if view.grouping is None:
        return whose_of(view.table, dict(zip(IDENTITY[view.table], key, strict=True)))
    try:
        return whose_of(view.table, view.grouping.where(key))
    except (KeyError, IndexError, TypeError):  # a key of another kind of row
        return None
