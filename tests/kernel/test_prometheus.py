"""A real Prometheus scrapes a real daemon through pbmon-client web, and knows what was moved."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

ROOT = Path(__file__).parents[2]
_PATIENCE_S = patient(60.0)
#: A user that nobody else on the host is.
_UID = 64_321
_BYTES, _CALLS = 1237 * 1000, 1000

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed: packaging/check does it",
)


@contextmanager
def running(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*map(str, command)], text=True, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(patient(60.0))
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server that shows a daemon of its own, and its token file."""
    place, token = tmp_path / "daemon", tmp_path / "token"
    place.mkdir()
    with (
        Daemon(place) as daemon,
        running(
            *(sys.executable, "-m", "pbmon_client", "web", "--listen", "0"),
            *("--socket", daemon.address.removeprefix("ipc://"), "--token-file", token),
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as server,
    ):
        assert server.stdout is not None
        found = re.match(r"http://(127\.0\.0\.1:\d+)/", server.stdout.readline())
        assert found
        yield found[1], token


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def prometheus(web: tuple[str, Path], tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus with the configuration and the rules of packaging/metrics."""
    address, token = web
    place = ROOT / "packaging/metrics"
    config = (place / "prometheus.yml").read_text()
    for usual, here in (
        ("127.0.0.1:8484", address),
        ("/etc/prometheus/pbmon.token", str(token)),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("- pbmon.rules.yml", f"- {place}/pbmon.rules.yml"),
    ):
        assert usual in config
        config = config.replace(usual, here)
    (tmp_path / "prometheus.yml").write_text(config)
    listen = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("w") as log, running(
        *("prometheus", f"--config.file={tmp_path}/prometheus.yml"),
        *(f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={listen}"),
        stdout=log,
        stderr=log,
    ):  # fmt: skip
        yield f"http://{listen}"


def asked(prometheus: str, path: str, **query: str) -> Any:
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=patient(10.0)) as answer:
        return json.load(answer)["data"]


def value_of(prometheus: str, query: str) -> float | None:
    """Return the value of a query with one result; None while there is none."""
    try:
        result = asked(prometheus, "query", query=query)["result"]
    except OSError:  # it is still starting
        return None
    assert len(result) <= 1, result
    return float(result[0]["value"][1]) if result else None


def await_value(prometheus: str, query: str, expected: float) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (value := value_of(prometheus, query)) != expected:
        assert time.monotonic() < deadline, f"{query} is {value}"
        time.sleep(0.5)


def trouble(prometheus: str) -> str:
    """What is missing while the newest scrape is not good: a busy machine's may take too long."""
    (target,) = asked(prometheus, "targets")["activeTargets"]
    said = target["health"], target["lastError"]
    return "" if said == ("up", "") else f"a good scrape, it is {said}"


def move() -> None:
    """Write known bytes to /dev/null, as that user."""
    subprocess.run(
        [
            "dd",
            "if=/dev/zero",
            "of=/dev/null",
            f"bs={_BYTES // _CALLS}",
            f"count={_CALLS}",
            "status=none",
        ],
        check=True,
        user=_UID,
        group=_UID,
    )


def test_a_query_returns_the_bytes_that_a_workload_moved(prometheus: str) -> None:
    moved = f'{{user="{_UID}",class="device",direction="out"}}'
    await_value(prometheus, "pbmon_daemon_up", 1)
    for runs in (1, 2):  # the first has exited when the second begins
        move()
        await_value(prometheus, f"pbmon_user_io_bytes_total{moved}", runs * _BYTES)
        await_value(prometheus, f"pbmon_user_io_calls_total{moved}", runs * _CALLS)
    await_value(prometheus, 'pbmon_lost_total{reason="bytes"}', 0)
    wait_until(lambda: trouble(prometheus))
    stored = asked(prometheus, "label/__name__/values")
    assert "pbmon_io_bytes_total" in stored
    assert not [name for name in stored if name.endswith("_created")]
    (group,) = asked(prometheus, "rules")["groups"]
    assert len(group["rules"]) == 5
