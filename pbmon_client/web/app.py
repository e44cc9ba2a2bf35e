"""The application: every route, the page's WebSocket, and the guard around all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pbmon_client.metrics.meter import MeterOptions
from pbmon_client.web import api, parameters, problems, streams
from pbmon_client.web.access import Access
from pbmon_client.web.assets import Assets
from pbmon_client.web.guard import Guard
from pbmon_client.web.house import House
from pbmon_client.web.metrics import MetricsPage
from pbmon_client.web.origins import Origin
from pbmon_client.web.problems import ProblemError
from pbmon_client.web.viewer import PageViewer
from pbmond.wire import SCHEMA

_TRY_LATER = 1013


def guarded(
    house: House,
    access: Access,
    origins: Sequence[Origin],
    root_path: str = "",
    metering: MeterOptions | None = None,
) -> ASGIApp:
    """Make the application; nothing in it answers before the guard has let the request pass."""
    return Guard(application(house, metering=metering), access, origins, root_path)


def application(
    house: House, assets: Assets | None = None, metering: MeterOptions | None = None
) -> FastAPI:
    """Make the application without its guard."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        house.feed.start()
        try:
            yield
        finally:
            house.feed.stop()
            house.desk.close()
            house.past.close()

    app = FastAPI(
        title="pbmon",
        version=SCHEMA.partition("/")[2],
        description="Which process, connection and file moves the bytes: the snapshot as JSON.",
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI documents
    app.include_router(api.routes(house))
    _add_sockets(app, house)
    _add_metrics(app, MetricsPage(house, metering or MeterOptions()))
    _add_page(app, assets or Assets())
    _add_problems(app)
    return app


def _add_sockets(app: FastAPI, house: House) -> None:
    @app.websocket("/api/v1/page")
    async def page(socket: WebSocket) -> None:
        with house.seat() as free:
            if not free:
                await socket.accept()
                await socket.close(_TRY_LATER, "too many pages are open")
                return
            await PageViewer(socket, house).run()

    @app.websocket("/api/v1/ws")
    async def rows(socket: WebSocket) -> None:
        try:
            chosen = api.selection_of(socket)
        except ProblemError as error:
            await socket.send_denial_response(_problem(error))
            return
        await streams.socket(house, socket, chosen)


def _add_metrics(app: FastAPI, metrics: MetricsPage) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def scrape(request: Request) -> Response:
        return await metrics.answer(", ".join(request.headers.getlist("accept")))


def _add_page(app: FastAPI, assets: Assets) -> None:
    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return assets.page(request)

    @app.get("/{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        found = assets.file(name, request)
        if found is None:
            raise ProblemError(404, "there is nothing here")
        return found


# --- problems -----------------------------------------------------------------------------------


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def on_problem(_request: Request, error: ProblemError) -> Response:
        return _problem(error)

    @app.exception_handler(HTTPException)
    async def on_status(_request: Request, error: HTTPException) -> Response:
        return problems.response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_parameter(_request: Request, error: RequestValidationError) -> Response:
        name, words = parameters.words(error.errors()[0])
        return problems.response(400, words, members={"parameter": name})

    @app.exception_handler(Exception)
    async def on_mistake(_request: Request, _error: Exception) -> Response:
        return problems.response(500, "pbmon-client web has made a mistake")


def _problem(error: ProblemError) -> Response:
    return problems.response(error.status, error.detail, members=error.members)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Describe the API; wrong parameters are 400 here, where FastAPI describes its own 422."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for path in made["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                for answer in operation["responses"].values():
                    _as_problem(answer)
        for name in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(name, None)
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        app.openapi_schema = made
    return app.openapi_schema


def _as_problem(answer: dict[str, Any]) -> None:
    content = answer.get("content", {})
    plain = content.get("application/json", {})
    if plain.get("schema", {}).get("$ref", "").endswith(("/Problem", "/Gone")):
        content[problems.MEDIA_TYPE] = content.pop("application/json")
