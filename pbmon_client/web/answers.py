"""The answers of the API as types, for its OpenAPI document; rows follow the table of fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, create_model

from pbmon_client.web.problems import Problem
from pbmond.fields import HISTORY, SHOWN
from pbmond.fields import Field as Known

_TYPES: dict[str, type] = {"text": str, "address": str, "bool": bool}


def _type_of(field: Known) -> type:
    return _TYPES.get(field.type, float if field.rate_of else int)


def _row(table: str, name: str) -> type[BaseModel]:
    """Make the type of a table's rows. Nothing is required: ``fields`` may leave it out."""
    members: dict[str, Any] = {
        field.name: (_type_of(field) | None, Field(None, description=field.meaning))
        for field in SHOWN[table].values()
    }
    return create_model(name, **members)


ProcessRow: Any = _row("processes", "ProcessRow")
ConnectionRow: Any = _row("connections", "ConnectionRow")
FileRow: Any = _row("files", "FileRow")
RetiredRow: Any = _row("retired", "RetiredRow")
_SAMPLES: dict[str, Any] = dict.fromkeys(HISTORY, (list[float | None] | None, None))
#: Recent rates in bytes/s, oldest first, one for each interval; null is a gap.
HistoryAnswer: Any = create_model("History", **_SAMPLES)


_REMARKS = "How times of the request were read that are not plain; of the past only"


class ViewerAnswer(BaseModel):
    """Whose view it is: of all processes, or of the user's own."""

    uid: int
    scope: str


class SnapshotAnswer(BaseModel):
    """Which snapshot this is: ``epoch`` is one run of the daemon, ``seq`` counts within it.

    Of the past, ``seq`` counts within the recording.
    """

    schema_: str = Field(alias="schema")
    host: str
    boot_id: str
    epoch: str
    seq: int
    time: str
    time_ns: int
    interval_ns: int
    viewer: ViewerAnswer
    past: bool | None = Field(None, description="True of the past; else it is missing")
    remarks: list[str] | None = Field(None, description=_REMARKS)


class ProcessesAnswer(SnapshotAnswer):
    """Processes, and with ``flows`` what belongs to them."""

    processes: list[ProcessRow]
    connections: list[ConnectionRow] | None = None
    files: list[FileRow] | None = None


class ConnectionsAnswer(SnapshotAnswer):
    """Connections."""

    connections: list[ConnectionRow]


class FilesAnswer(SnapshotAnswer):
    """Files."""

    files: list[FileRow]


class ProcessAnswer(SnapshotAnswer):
    """One process, with what belongs to it and its recent rates."""

    start_ns: int
    process: ProcessRow
    connections: list[ConnectionRow] | None = None
    files: list[FileRow] | None = None
    history: HistoryAnswer


class GoneProblem(Problem):
    """A process that has exited, with its last values."""

    process: ProcessRow


class GroupsAnswer(SnapshotAnswer):
    """Groups: ``key``, what they have in common, how many rows each has, and sums."""

    view: str
    groups: list[dict[str, str | int | float | None]]


class OverviewAnswer(SnapshotAnswer):
    """The host, or the user's part of it. ``totals`` has every counter and rate."""

    health: dict[str, Any]
    coverage: dict[str, Any]
    totals: dict[str, int | float | None]
    history: HistoryAnswer
    retired: list[RetiredRow]


class ReportEntry(BaseModel):
    """A name and a text."""

    name: str
    text: str


class ReportPart(BaseModel):
    """A part of the report."""

    heading: str
    entries: list[ReportEntry]


class HealthAnswer(SnapshotAnswer):
    """How complete the picture is, as the contract has it and in words."""

    health: dict[str, Any]
    coverage: dict[str, Any]
    report: list[ReportPart]


class SpanAnswer(BaseModel):
    """A span of time, in ns of the epoch; null where there is none."""

    since_ns: int | None
    until_ns: int | None


class TierAnswer(SpanAnswer):
    """What is kept in steps of so many seconds, and the size of its files."""

    step: int
    bytes: int


class MissingAnswer(BaseModel):
    """A span in seconds of which something cannot be read, and why."""

    since: int
    until: int
    why: str


class KeptAnswer(BaseModel):
    """What is kept of the past, from ``since`` to ``until`` in seconds of the epoch."""

    since: int
    until: int
    tiers: list[TierAnswer]
    gaps: list[SpanAnswer]
    missing: list[MissingAnswer]


class StateAnswer(BaseModel):
    """What is kept of the past, or why none can be read."""

    kept: KeptAnswer | None
    why: str | None


class SeriesAnswer(BaseModel):
    """What moved in each step of ``step`` seconds, from ``since``; null is a gap.

    What is recorded yet ends at ``recorded_until``.
    """

    since: int
    until: int
    step: int
    recorded_until: int
    sums: dict[str, list[int | None]]
    reasons: list[str]
    remarks: list[str] = Field(description=_REMARKS)


class MomentAnswer(BaseModel):
    """A time in seconds of the epoch; ``remark`` says what was not plain about it, or nothing."""

    at: int
    remark: str


class FieldOf(BaseModel):
    """One field of a table."""

    name: str
    kind: str
    meaning: str
    type: str
    unit: str
    byte_class: str | None
    direction: str | None
    rate_of: str | None
    combined: str | None
    title: str
    short: str
    words: list[str]


class ColumnOf(BaseModel):
    """One column of a view."""

    name: str
    title: str
    meaning: str
    align: str
    rank: int
    stretch: int
    cells: int
    sortable: bool
    rises: bool
    traffic: str | None
    keep_end: bool


class ViewOf(BaseModel):
    """One view, with the columns that it shows of itself."""

    name: str
    table: str
    group: bool
    tree: bool
    columns: list[ColumnOf]


class FieldTable(BaseModel):
    """The table of fields, and the views in the order of their keys."""

    schema_: str = Field(alias="schema")
    tables: dict[str, list[FieldOf]]
    views: list[ViewOf]
    classes: list[str]
