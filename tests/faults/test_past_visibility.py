"""The past shows no more than the present did: what a process did as another user stays unseen.

Processes read 64 MiB of a secret file as root and then become user 65534, who asks the server of
the past in every way that the client knows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from visibility_stage import (
    AS_USER,
    CLIENT,
    HIDDEN,
    LIMIT_S,
    SECRET_BYTES,
    SHOWN,
    World,
    attack,
    new_world,
    pid_of,
    rows_of,
    running,
)

_SINCE = ("--since", "-1h")
#: What every user can ask of the past.
_QUESTIONS = (
    ("--json", "--flows", *_SINCE),
    ("--ndjson", "--flows", *_SINCE),
    ("--json", "--flows", *_SINCE, "--step", "1m"),
    ("--csv", "--flows", *_SINCE),
    ("--json", "--view", "programs", *_SINCE),
    ("--once", "--view", "files", *_SINCE),
    ("--once", "--top", "20", *_SINCE),
    ("--json", "--flows", "--at", "1s ago"),
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Path]:
    """The socket of a server of what a recorder writes, to which every user can connect."""
    store, sock = world.top / "store", world.top / "history.sock"
    client = [sys.executable, "-m", "pbmon_client"]
    record = [*client, "record", "--directory", str(store), "--socket", world.daemon.address]
    serve = [*client, "history", "serve", "--directory", str(store), "--listen", str(sock)]
    with running(record), running(serve):
        tail = store / "tail"
        wait_for(lambda: sock.exists() and tail.exists() and tail.stat().st_size > 0)  # a tick
        store.chmod(0o700)
        yield sock


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def asked(sock: Path, *words: str, **as_user: Any) -> str:
    command = [str(CLIENT), *words, "--history", str(sock)]
    done = subprocess.run(
        command, cwd="/", capture_output=True, text=True, timeout=LIMIT_S, check=False, **as_user
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def paths(answer: dict[str, Any], pid: int) -> set[str]:
    return {row["path"] for row in rows_of(answer, pid) if "path" in row}


def test_the_past_of_a_process_is_its_users_only_of_the_time_in_which_they_saw_it(
    world: World, served: Path
) -> None:
    secret, ordinary = str(world.secret), str(world.ordinary)
    with ExitStack() as stack:
        started = [
            [pid_of(stack.enter_context(attack(world, code))) for code in codes.values()]
            for codes in (SHOWN, HIDDEN)
        ]
        shown, hidden = started

        def everything() -> dict[str, Any]:
            return dict(json.loads(asked(served, *_QUESTIONS[0])))

        def own() -> dict[str, Any]:
            return dict(json.loads(asked(served, *_QUESTIONS[0], **AS_USER)))

        wait_for(lambda: all(ordinary in paths(everything(), pid) for pid in (*shown, *hidden)))
        wait_for(lambda: all(ordinary in paths(own(), pid) for pid in shown))
        answers = [asked(served, *question, **AS_USER) for question in _QUESTIONS]
        answer, roots = json.loads(answers[0]), everything()
    assert not [each for each in answers if secret in each]
    assert [pid for pid in hidden if rows_of(answer, pid)] == []
    assert answer["viewer"]["scope"] == "own"
    assert 0 < answer["totals"]["file_read_bytes"] < SECRET_BYTES
    assert all(row["file_read_bytes"] < SECRET_BYTES for row in answer["processes"])
    # Root sees all of it.
    for pid in (*shown, *hidden):
        assert {secret, ordinary} <= paths(roots, pid)
        files = [row for row in rows_of(roots, pid) if row.get("path") == secret]
        assert sum(row["read_bytes"] for row in files) >= SECRET_BYTES
