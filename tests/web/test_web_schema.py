"""The OpenAPI document is true: schemathesis asks for everything in it, in and out of range."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from web_client import BASE, BEARER, MESSAGES, StillFeed, guarded, snapshot

from pbmon_client.web.house import House
from pbmon_client.web.receiver import Arrived
from tests.browser import past_world

HOST = BASE.removeprefix("http://")
# What a filter's text, or the name of a field, may be is more than a schema can say: 400 answers
# what it allows. A process that is not there is 404.
CONFIG = SchemathesisConfig.from_dict({
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "410"]}},
})  # fmt: skip


#: A stream has no end, so it is not asked for here.
ENDLESS = "/api/v1/stream"


def test_every_answer_is_as_described(tmp_path: Path) -> None:
    """Not by schemathesis's plugin, which knows other versions of pytest."""
    feed = StillFeed()
    feed.take(Arrived(None, snapshot(MESSAGES[1])))
    past_world.write(tmp_path / "history", int(time.time()), [(600, 0, 10)])
    app = guarded(House(feed, tmp_path / "history"), tmp_path)
    headers = {**BEARER, "Host": HOST}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers, config=CONFIG)
    asked = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.path == ENDLESS:
            continue
        asked.append(operation.path)
        for mode in schemathesis.GenerationMode:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
            def check(case: schemathesis.Case[Any]) -> None:
                # A list of no values is not in the address: what is sent would be right.
                assume([] not in (case.query or {}).values())
                case.call_and_validate(headers=headers)

            with suppress(Unsatisfiable):  # nothing can be wrong about no parameters
                check()
    assert len(asked) == 12
