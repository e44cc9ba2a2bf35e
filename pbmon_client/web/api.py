"""The API, version 1: the snapshot's tables as JSON, with the names of the contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from pbmon_client.data.model import Rows, Selection, Snapshot
from pbmon_client.output import jsonout
from pbmon_client.present.arrange import ViewQuery
from pbmon_client.present.completeness import report
from pbmon_client.present.grouped import group_fields
from pbmon_client.present.search import EVERYTHING, Search
from pbmon_client.present.selected import selected
from pbmon_client.present.views import BUSIEST, BY_NAME, VIEWS, View
from pbmon_client.web import answers, groups, history_routes, parameters, streams
from pbmon_client.web.columns import described
from pbmon_client.web.house import House
from pbmon_client.web.past import When
from pbmon_client.web.problems import Problem, ProblemError
from pbmond.fields import CLASSES, SHOWN
from pbmond.wire import SCHEMA

GroupName = Literal["programs", "users", "units", "hosts", "ports"]
_Described = dict[int | str, dict[str, Any]]

_TABLES: Final = ("processes", "connections", "files")
_PROBLEMS: Final[_Described] = {
    status: {"model": Problem, "description": text}
    for status, text in (
        (400, "A parameter is wrong; for a filter, with its own message and place"),
        (401, "No token"),
        (503, "No daemon answers, no history can be read, or there are too many requests"),
    )
}


def routes(house: House) -> APIRouter:
    """Make the routes of the API; ``house`` is what they are served from."""
    router = APIRouter(
        prefix="/api/v1", responses=_PROBLEMS, dependencies=[Depends(parameters.check_once)]
    )
    _add_tables(router, house)
    _add_process(router, house)
    _add_groups(router, house)
    _add_host(router, house)
    history_routes.add(router, house)
    _add_streams(router, house)
    return router


def _add_tables(router: APIRouter, house: House) -> None:
    async def answer(
        asked: parameters.RowParameters, tables: Sequence[str], *, flows: bool
    ) -> Response:
        selection = asked.selection(tables, flows=flows)
        names = asked.names(tables)
        when = asked.when()
        snapshot, desk = await house.shown(when, flows=selection.needs_flows)
        return await house.json(lambda: _tables(snapshot, when, selection, names, tables), desk)

    @router.get("/processes", response_model=answers.ProcessesAnswer)
    async def processes(asked: Annotated[parameters.ProcessParameters, Query()]) -> Response:
        """List processes; with ``flows`` also their connections and files."""
        tables = _TABLES if asked.flows else _TABLES[:1]
        return await answer(asked, tables, flows=asked.flows)

    @router.get("/connections", response_model=answers.ConnectionsAnswer)
    async def connections(asked: Annotated[parameters.RowParameters, Query()]) -> Response:
        """List connections."""
        return await answer(asked, ("connections",), flows=True)

    @router.get("/files", response_model=answers.FilesAnswer)
    async def files(asked: Annotated[parameters.RowParameters, Query()]) -> Response:
        """List files."""
        return await answer(asked, ("files",), flows=True)


def _tables(
    snapshot: Snapshot,
    when: When | None,
    selection: Selection,
    names: frozenset[str] | None,
    tables: Sequence[str],
) -> str:
    found = selected(snapshot, selection)
    parts = [(name, _rows(getattr(found, name), names)) for name in tables]
    return document(_head(snapshot, when), parts)


def _head(snapshot: Snapshot, when: When | None) -> dict[str, Any]:
    """Return which snapshot it is, and of one of the past how its time was read."""
    remarks = {} if when is None else {"remarks": when.remarks}
    return {**jsonout.identity(snapshot), **remarks}


def _rows(rows: Rows, names: frozenset[str] | None = None) -> str:
    return f"[{','.join(jsonout.encoded(rows, names))}]"


def document(members: dict[str, Any], encoded: Sequence[tuple[str, str]]) -> str:
    """Write an object; some of its members are encoded already."""
    head = json.dumps(members, ensure_ascii=False, separators=(",", ":"))[1:-1]
    return "{" + ",".join([head, *(f'"{name}":{text}' for name, text in encoded)]) + "}"


def _add_process(router: APIRouter, house: House) -> None:
    problems: _Described = {
        404: {"model": Problem, "description": "There is no such process"},
        410: {"model": answers.GoneProblem, "description": "It has exited; with its last values"},
    }

    @router.get("/processes/{pid}", response_model=answers.ProcessAnswer, responses=problems)
    async def process(
        pid: Annotated[int, Path(ge=0, lt=1 << 32)],
        which: Annotated[parameters.WhichProcess, Query()],
    ) -> Response:
        """Return one process with its connections, files and recent rates, oldest first."""
        known = await house.snapshot()
        row = await house.do(lambda: _find(known, pid, which.start_ns))
        if row is None:
            raise ProblemError(404, "there is no such process, or you may not see it")
        if known.processes.column("state")[row] == "exited":
            last = await house.do(lambda: _row(known, row))
            raise ProblemError(410, "the process has exited", process=last)
        snapshot = await house.process(pid)
        found = await house.do(lambda: _find(snapshot, pid, which.start_ns))
        if found is None:
            raise ProblemError(404, "there is no such process any more")
        return await house.json(lambda: _process(snapshot, found))


def _find(snapshot: Snapshot, pid: int, start_ns: int | None) -> int | None:
    """Return the row of a process: of the newest one with that pid."""
    starts = snapshot.processes.table.columns["start_ns"]
    rows = [
        row
        for row, (each, start) in enumerate(snapshot.processes.identities())
        if each == pid and start_ns in (None, start)
    ]
    return max(rows, key=starts.__getitem__, default=None)


def _row(snapshot: Snapshot, row: int) -> Any:  # noqa: ANN401 - an object
    return json.loads(next(jsonout.encoded(snapshot.processes.take([row]))))


def _process(snapshot: Snapshot, row: int) -> str:
    start_ns = snapshot.processes.table.columns["start_ns"][row]
    parts = [("process", next(jsonout.encoded(snapshot.processes.take([row]))))]
    for name in ("connections", "files"):
        rows: Rows | None = getattr(snapshot, name)
        if rows is not None:
            starts = rows.table.columns["start_ns"]
            own = [at for at, start in enumerate(starts) if start == start_ns]
            parts.append((name, _rows(rows.take(own))))
    history = {name: list(values) for name, values in snapshot.message.history.items()}
    return document({**jsonout.identity(snapshot), "start_ns": start_ns, "history": history}, parts)


def _add_groups(router: APIRouter, house: House) -> None:
    @router.get("/groups/{view}", response_model=answers.GroupsAnswer)
    async def grouped(
        view: GroupName, asked: Annotated[parameters.GroupParameters, Query()]
    ) -> Response:
        """List groups of processes or connections, with the sums of their numbers."""
        grouping = BY_NAME[view]
        names = group_fields(grouping)
        if asked.sort is not None and asked.sort not in names:
            raise ProblemError(400, f"sort is one of {', '.join(names)}", parameter="sort")
        expression = asked.expression
        query = ViewQuery(
            grouping,
            search=EVERYTHING if expression is None else Search(filter=expression),
            active=asked.active,
            sort=asked.sort or BUSIEST,
            reverse=asked.reverse,
        )
        needs = grouping.needs_flows or query.search.needs_flows
        when = asked.when()
        snapshot, desk = await house.shown(when, flows=needs)
        head = _head(snapshot, when)
        return await house.json(
            lambda: groups.encoded(desk, snapshot, query, asked.top, head), desk
        )


def _add_host(router: APIRouter, house: House) -> None:
    @router.get("/overview", response_model=answers.OverviewAnswer)
    async def overview(asked: Annotated[parameters.TimeParameters, Query()]) -> Response:
        """Return the totals, what has been retired, health, coverage and the host's history."""
        when = asked.when()
        snapshot, desk = await house.shown(when)
        return await house.json(lambda: _overview(snapshot, when), desk)

    @router.get("/health", response_model=answers.HealthAnswer)
    async def health(_asked: Annotated[parameters.NoParameters, Query()]) -> Response:
        """Return how complete the picture is, as the contract has it and in words."""
        snapshot = await house.snapshot()
        return await house.json(lambda: _health(snapshot))

    @router.get("/fields", response_model=answers.FieldTable)
    async def field_table(_asked: Annotated[parameters.NoParameters, Query()]) -> Response:
        """Return the table of fields and the views; it is the same for every snapshot."""
        return Response(_fields(), media_type="application/json")


def _overview(snapshot: Snapshot, when: When | None) -> str:
    members = {
        **_head(snapshot, when),
        "health": snapshot.health,
        "coverage": snapshot.coverage,
        "totals": snapshot.totals,
        "history": {name: list(values) for name, values in snapshot.message.history.items()},
    }
    return document(members, [("retired", _rows(snapshot.retired))])


def _health(snapshot: Snapshot) -> str:
    words = [
        {"heading": heading, "entries": [{"name": name, "text": text} for name, text in entries]}
        for heading, entries in report(snapshot)
    ]
    members = {"health": snapshot.health, "coverage": snapshot.coverage, "report": words}
    return document({**jsonout.identity(snapshot), **members}, [])


_OF_FIELDS: Final = (
    *("name", "kind", "meaning", "type", "unit", "byte_class", "direction", "rate_of"),
    *("combined", "title", "short", "words"),
)


def _fields() -> str:
    tables = {
        table: [{name: getattr(field, name) for name in _OF_FIELDS} for field in named.values()]
        for table, named in SHOWN.items()
    }
    views = [_view(view) for view in VIEWS]
    return document({"schema": SCHEMA, "tables": tables, "views": views, "classes": CLASSES}, [])


def _view(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "table": view.table,
        "group": view.grouping is not None,
        "tree": view.tree,
        "columns": [described(view, column) for column in view.columns],
    }


def _add_streams(router: APIRouter, house: House) -> None:
    @router.get(
        "/stream",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events; the data of each is a line of --ndjson",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def stream(asked: Annotated[parameters.StreamParameters, Query()]) -> Response:
        """Send every snapshot as it arrives, until the reader goes away."""
        chosen = _streamed(asked)
        await house.snapshot(flows=chosen.needs_flows)
        return streams.events(house, chosen)


def _streamed(asked: parameters.StreamParameters) -> Selection:
    tables = _TABLES if asked.flows else _TABLES[:1]
    return replace(asked.selection(tables, flows=asked.flows), busiest_first=False)


def selection_of(connection: HTTPConnection) -> Selection:
    """Read the parameters of the stream over a WebSocket; ProblemError 400 says what is wrong."""
    parameters.check_once(connection)
    try:
        asked = parameters.StreamParameters.model_validate(dict(connection.query_params))
    except ValidationError as error:
        name, words = parameters.words(dict(error.errors()[0]))
        raise ProblemError(400, words, parameter=name) from None
    return _streamed(asked)
