"""The parameters of the API, as types for its OpenAPI document, and checked against the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from pbmon_client.data.filters import Expression, FilterError
from pbmon_client.data.model import Selection
from pbmon_client.data.nearest import unknown_field
from pbmon_client.web.patterns import filter_of
from pbmon_client.web.problems import ProblemError
from pbmond.fields import FIELDS, SHOWN

_MOST_ROWS: Final = 1_000_000


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


class RowParameters(ListParameters):
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


class NoParameters(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


def _no_field(name: str, tables: Sequence[str]) -> str:
    return f"{name} is no field of {' or '.join(tables)}" if name in FIELDS else unknown_field(name)


def words(error: dict[str, Any]) -> tuple[str, str]:
    """Return which parameter pydantic finds fault with, and why."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return name, f"there is no parameter {name}"
    return name, f"{name}: {error['msg']}"
