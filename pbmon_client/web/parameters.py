"""The parameters of the API, as types for its OpenAPI document, and checked against the fields."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection

from pbmon_client.data.filters import Expression, FilterError
from pbmon_client.data.model import Selection
from pbmon_client.data.nearest import unknown_field
from pbmon_client.data.times import Moment, read, with_remarks
from pbmon_client.web.past import When
from pbmon_client.web.patterns import filter_of
from pbmon_client.web.problems import ProblemError
from pbmond.fields import FIELDS, SHOWN

_MOST_ROWS: Final = 1_000_000
_MOST_CHARACTERS: Final = 100
_WHOSE: Final = ("unit", "user", "pid", "view")
SeriesView = Literal[
    "processes", "programs", "users", "units", "connections", "hosts", "ports", "files", "tree"
]
_TIME_WORDS: Final = "such as 03:12, 2h ago, yesterday 14:00, ISO 8601, or seconds of the epoch"


def _time(meaning: str) -> Any:  # noqa: ANN401 - as pydantic's own Field
    return Field(max_length=_MOST_CHARACTERS, description=f"{meaning}, {_TIME_WORDS}")


def time_of(name: str, text: str, *, after: int | None = None) -> Moment:
    """Read a time; ProblemError 400 with the parser's own message."""
    try:
        return read(text, time.time(), after=after)
    except ValueError as error:
        raise ProblemError(400, str(error), parameter=name) from None


def _remarks(**moments: Moment) -> tuple[str, ...]:
    return tuple(f"{name}: {each.remark}" for name, each in moments.items() if each.remark)


class RangeParameters(BaseModel):
    """A range of the past. Other parameters are mistakes."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str | None, _time("What moved from this time on")] = None
    until: Annotated[str | None, _time("To this time; else to now")] = None

    def range(self) -> When | None:
        """Return the range that is asked for; ProblemError 400 says what is wrong."""
        if self.since is None:
            if self.until is not None:
                raise ProblemError(400, "until needs since", parameter="until")
            return None
        since = time_of("since", self.since)
        until = time_of("until", "now" if self.until is None else self.until, after=since.after)
        if since.seconds >= until.seconds:
            words = "the range is empty: since is not before until"
            raise ProblemError(400, with_remarks(words, since, until))
        return When(since.seconds, until.seconds, _remarks(since=since, until=until))


class TimeParameters(RangeParameters):
    """A moment or a range of the past; without them, it is about now."""

    at: Annotated[str | None, _time("What moved at this time")] = None

    def when(self) -> When | None:
        """Return the time that is asked for; ProblemError 400 says what is wrong."""
        if self.at is None:
            return self.range()
        if self.since is not None or self.until is not None:
            raise ProblemError(400, "at excludes since and until", parameter="at")
        at = time_of("at", self.at)
        return When(at.seconds, remarks=_remarks(at=at))


class ListParameters(BaseModel):
    """What every list takes. Other parameters are mistakes."""

    model_config = ConfigDict(extra="forbid")

    filter: Annotated[str | None, Field(description="An expression, as for --filter")] = None
    sort: Annotated[str | None, Field(description="A field; else the busiest come first")] = None
    reverse: Annotated[bool, Field(description="Reverse the order")] = False
    active: Annotated[bool, Field(description="Rows that moved bytes in the interval")] = False
    top: Annotated[int | None, Field(ge=1, le=_MOST_ROWS, description="The first rows")] = None

    @property
    def expression(self) -> Expression | None:
        """The parsed filter; ProblemError 400 with the filter's own message."""
        if self.filter is None:
            return None
        try:
            return filter_of(self.filter)
        except FilterError as error:
            place = {"start": error.start, "end": error.end}
            raise ProblemError(400, str(error), parameter="filter", position=place) from None

    def selection(self, tables: Sequence[str], *, flows: bool) -> Selection:
        """Check what is asked of some tables; ProblemError 400 says what is wrong."""
        reachable = {name for table in (*tables, "processes") for name in SHOWN[table]}
        if self.sort is not None and self.sort not in reachable:
            raise ProblemError(400, _no_field(self.sort, tables), parameter="sort")
        return Selection(
            filter=self.expression,
            active=self.active,
            sort=self.sort,
            reverse=self.reverse,
            top=self.top,
            busiest_first=True,
            flows=flows,
        )


class GroupParameters(ListParameters, TimeParameters):
    """What a list of groups takes."""


class RowParameters(ListParameters, TimeParameters):
    """What a list of a table's rows takes."""

    fields: Annotated[str | None, Field(description="Names with commas between; else all")] = None

    def names(self, tables: Sequence[str]) -> frozenset[str] | None:
        """Return the fields that are asked for, None for all; ProblemError 400 if unknown."""
        if self.fields is None:
            return None
        names = frozenset(self.fields.split(","))
        for name in sorted(names - {name for table in tables for name in SHOWN[table]}):
            raise ProblemError(400, _no_field(name, tables), parameter="fields")
        return names


class ProcessParameters(RowParameters):
    """What the list of processes takes."""

    flows: Annotated[bool, Field(description="Connections and files as well")] = False


class StreamParameters(ListParameters):
    """What a stream takes, as ``--ndjson`` does: without ``sort`` in the daemon's order."""

    flows: Annotated[bool, Field(description="Connections and files as well")] = False


class WhichProcess(BaseModel):
    """Which of the processes that have had a pid."""

    model_config = ConfigDict(extra="forbid")

    start_ns: Annotated[
        int | None, Field(ge=0, lt=1 << 64, description="The one that began then; else the newest")
    ] = None


class SeriesParameters(RangeParameters):
    """What a series takes: whose it is, in one way at most."""

    step: Annotated[
        str, Field(max_length=_MOST_CHARACTERS, description="A duration, such as 10s or 1h")
    ] = "1m"
    unit: Annotated[str | None, Field(description="Of the processes of this unit")] = None
    user: Annotated[str | None, Field(description="Of the processes of this user")] = None
    pid: Annotated[
        int | None, Field(ge=0, lt=1 << 32, description="Of the processes with this pid")
    ] = None
    start_ns: Annotated[
        int | None, Field(ge=0, lt=1 << 64, description="With pid: of the one that began then")
    ] = None
    view: Annotated[SeriesView | None, Field(description="Of a row of this view, by its key")] = (
        None
    )
    key: Annotated[str | None, Field(description="The row's key")] = None
    fields: Annotated[str | None, Field(description="Names with commas between; else all")] = None

    def names(self) -> frozenset[str]:
        """Return the counters that are asked for; none is all of them."""
        return frozenset() if self.fields is None else frozenset(self.fields.split(","))

    def chosen(self) -> str | None:
        """Return by what rows are chosen; ProblemError 400 unless in one way, and whole."""
        given = [name for name in _WHOSE if getattr(self, name) is not None]
        if len(given) > 1:
            raise ProblemError(400, f"{given[0]} excludes {given[1]}", parameter=given[1])
        for name, other in (("start_ns", "pid"), ("key", "view"), ("view", "key")):
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ProblemError(400, f"{name} needs {other}", parameter=name)
        return given[0] if given else None


class MomentParameters(BaseModel):
    """A time as people write it."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=_MOST_CHARACTERS, description="03:12, 2h ago, …")]
    zone: Annotated[
        str | None,
        Field(max_length=_MOST_CHARACTERS, description="Such as Europe/Berlin; else the server's"),
    ] = None


class NoParameters(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


def check_once(connection: HTTPConnection) -> None:
    """Check that no parameter is given twice, as one would count only; else ProblemError 400."""
    names = Counter(name for name, _value in connection.query_params.multi_items())
    for name, count in names.items():
        if count > 1:
            raise ProblemError(400, f"{name} is given {count} times", parameter=name)


def _no_field(name: str, tables: Sequence[str]) -> str:
    return f"{name} is no field of {' or '.join(tables)}" if name in FIELDS else unknown_field(name)


def words(error: dict[str, Any]) -> tuple[str, str]:
    """Return which parameter pydantic finds fault with, and why."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return name, f"there is no parameter {name}"
    return name, f"{name}: {error['msg']}"
