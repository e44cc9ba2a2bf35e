"""Metrics pushed to a receiver: what arrives, retries, and mistakes."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from queue import Queue
from typing import Any

import client_messages as made
import pytest
import requests
from client_process import ROOT
from fake_publisher import PATIENCE_S, Publisher
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from pbmon_client.export.options import parse
from pbmon_client.export.otlp import OtlpExporter
from pbmond import wire

ALL = wire.Topic(None, "processes")
BIG = 2**60 + 1  # more than a float can hold exactly


class Receiver:
    """An OTLP receiver; it answers each request with the next of ``statuses``, then with 200.

    Answers that are not 200 have ``headers``, the others a ``body``, the next of ``bodies`` if any.
    Status 0 is an answer that does not end.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.bodies: list[bytes] = []
        self.came_s: list[float] = []
        self.requests: Queue[tuple[str, dict[str, str], bytes]] = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came_s.append(time.monotonic())
                receiver.requests.put(
                    (self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                while not status:
                    self.wfile.write(b"H")
                    time.sleep(0.1)
                self.send_response(status)
                for header in receiver.headers.items() if status != 200 else ():
                    self.send_header(*header)
                said = receiver.bodies.pop(0) if status == 200 and receiver.bodies else b""
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def next(self) -> tuple[str, dict[str, str], dict[str, Metric], dict[str, str]]:
        """Return the next request: path, headers, metrics by name, and the resource."""
        path, headers, body = self.requests.get(timeout=PATIENCE_S)
        decoded = ExportMetricsServiceRequest.FromString(body)
        (resource,) = decoded.resource_metrics
        (scope,) = resource.scope_metrics
        attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
        return path, headers, {metric.name: metric for metric in scope.metrics}, attributes

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


Export = Callable[..., "subprocess.Popen[str]"]
#: A loaded machine is no silent daemon, and no receiver that takes too long.
_PATIENT = f"from pbmon_client.export import push; push._FIRST_S = push._TIMEOUT_S = {PATIENCE_S}"


@pytest.fixture
def export(path: Path) -> Iterator[Export]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, code: str = _PATIENT) -> subprocess.Popen[str]:
        run = f"import sys\n{code}\nfrom pbmon_client import cli\nsys.exit(cli.main())"
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", run, "export", "--socket", str(path), *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def points(metric: Metric) -> dict[tuple[str, ...], int]:
    return {
        tuple(each.value.string_value for each in point.attributes): point.as_int
        for point in metric.sum.data_points
    }


def message(seq: int, count: int, **fields: Any) -> wire.Message:
    rows = [made.process(1, unit=b"a.service", net_rx_bytes=count, file_read_calls=2)]
    return made.message(rows, seq=seq, health=made.HEALTH | {"began_ns": 5}, **fields)


def test_counters_arrive_exactly_with_when_they_began(
    publisher: Publisher, receiver: Receiver, export: Export
) -> None:
    pushing = export("--otlp", receiver.url, "--count", "1")
    publisher.expect(ALL)
    sent = message(2, BIG)
    publisher.send(ALL, sent)
    path, headers, metrics, resource = receiver.next()
    assert (path, headers["content-type"]) == ("/v1/metrics", "application/x-protobuf")
    assert (resource["service.name"], resource["host.name"]) == ("pbmon", "host")
    moved = metrics["pbmon_io_bytes"]
    assert moved.unit == "By"
    assert moved.sum.is_monotonic
    assert moved.sum.aggregation_temporality == (
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    assert points(moved) == {("a.service", "net", "in"): BIG}
    (point,) = moved.sum.data_points
    assert point.time_unix_nano == sent.time_ns
    began_ns = sent.time_ns - sent.now_ns + 5
    assert abs(point.start_time_unix_nano - began_ns) < 1000  # a double of seconds was between
    assert metrics["pbmon_daemon_up"].gauge.data_points[0].as_int == 1
    assert pushing.wait(PATIENCE_S) == 0
    assert pushing.communicate() == ("", "")


def test_a_receiver_that_is_busy_is_tried_again(
    publisher: Publisher, receiver: Receiver, export: Export
) -> None:
    receiver.statuses = [503, 503]
    url = f"{receiver.url}/up/v1/metrics"
    pushing = export("--otlp", url, "--count", "1", "--interval", "600")
    publisher.expect(ALL)
    publisher.send(ALL, message(2, 10))
    tries = [receiver.next() for _ in range(3)]
    assert {path for path, *_rest in tries} == {"/up/v1/metrics"}
    assert all(points(found["pbmon_io_bytes"]) for _path, _headers, found, _of in tries)
    assert pushing.wait(PATIENCE_S) == 0


def pushed_again(
    publisher: Publisher, receiver: Receiver, export: Export
) -> tuple[subprocess.Popen[str], dict[str, Metric]]:
    """Push once every second until one is taken; return the process and the second push."""
    pushing = export("--otlp", receiver.url, "--count", "1", "--interval", "1")
    publisher.expect(ALL)
    publisher.send(ALL, message(2, 10))
    receiver.next()
    publish_until(publisher, lambda: pushing.poll() is not None)
    _path, _headers, metrics, _resource = receiver.next()
    return pushing, metrics


def publish_until(publisher: Publisher, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for seq in itertools.count(3):
        if done():
            return
        assert time.monotonic() < deadline
        publisher.send(ALL, message(seq, 10 + seq))
        time.sleep(0.2)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_answer_that_names_another_address_takes_nothing(
    publisher: Publisher, receiver: Receiver, export: Export, status: int
) -> None:
    receiver.statuses = [status]
    receiver.headers = {"Location": f"{receiver.url}/login"}
    pushing, metrics = pushed_again(publisher, receiver, export)
    assert points(metrics["pbmon_io_bytes"])["a.service", "net", "in"] > 10
    assert pushing.wait(PATIENCE_S) == 0
    assert "does not take the metrics" in pushing.communicate()[1]


def test_an_answer_that_does_not_end_is_not_waited_for(
    publisher: Publisher, receiver: Receiver, export: Export
) -> None:
    receiver.statuses = [0]
    pushing, metrics = pushed_again(publisher, receiver, export)
    assert points(metrics["pbmon_io_bytes"])["a.service", "net", "in"] > 10
    assert pushing.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_gets_it(
    publisher: Publisher, receiver: Receiver, export: Export, status: int
) -> None:
    receiver.statuses = [status] * 1000
    receiver.headers = {"Retry-After": "4"}  # beyond the second that a push may take
    export("--otlp", receiver.url, "--interval", "1")
    publisher.expect(ALL)

    def got_it() -> bool:  # at once, unless an answer came too late to be heard
        return any(b - a >= 4 for a, b in itertools.pairwise(receiver.came_s))

    publish_until(publisher, got_it)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("120", 120, 120), ("0", 0, 0), ("", 0, 0), ("-5", 0, 0), ("nonsense", 0, 0), ("\u0663", 0, 0),
     ("9" * 400, 3600, 3600),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3600)],
)  # fmt: skip
def test_how_long_a_receiver_asks_for_is_bounded(header: str, least: float, most: float) -> None:
    assert least <= wait_s(header) <= most


def test_a_receiver_may_ask_for_a_time_of_day() -> None:
    assert 100 <= wait_s(formatdate(time.time() + 1000, usegmt=True)) <= 1000


def wait_s(retry_after: str) -> float:
    exporter = OtlpExporter("http://127.0.0.1:9", 1)
    answer = requests.Response()
    answer.status_code, answer.headers["Retry-After"] = 503, retry_after
    exporter._hear(answer)
    return exporter.wait_s


def test_what_a_receiver_refused_arrives_with_the_next_push(
    publisher: Publisher, receiver: Receiver, export: Export
) -> None:
    receiver.statuses = [400]
    pushing, metrics = pushed_again(publisher, receiver, export)
    assert points(metrics["pbmon_io_bytes"])["a.service", "net", "in"] > 10
    assert pushing.wait(PATIENCE_S) == 0
    assert pushing.communicate()[1] == (
        f"pbmon-client: {receiver.url}/v1/metrics does not take the metrics; trying again\n"
        "pbmon-client: the metrics arrive again\n"
    )


def leaving_out(count: int, why: str) -> bytes:
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = count
    answer.partial_success.error_message = why
    written: bytes = answer.SerializeToString()
    return written


def test_what_a_receiver_leaves_out_is_said_once_and_counts_as_arrived(
    publisher: Publisher, receiver: Receiver, export: Export
) -> None:
    receiver.bodies = [leaving_out(3, "too many\x1b[2J"), leaving_out(4, "request 2"), b""]
    # An answer may take longer than the interval here, and then no push is lost.
    unhurried = f"{_PATIENT}; push.min = max"
    pushing = export("--otlp", receiver.url, "--count", "3", "--interval", "1", code=unhurried)
    publisher.expect(ALL)
    publish_until(publisher, lambda: pushing.poll() is not None)
    assert pushing.wait(PATIENCE_S) == 0
    assert len(receiver.came_s) == 3
    assert pushing.communicate()[1] == (
        f"pbmon-client: {receiver.url}/v1/metrics does not take all of the metrics: "
        "3 left out (too many\\x1b[2J); trying again\n"
        "pbmon-client: the metrics arrive again\n"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", ""), (b"<html>", ""), (leaving_out(0, "a hint"), ""), (leaving_out(-1, "x"), ""),
     (leaving_out(2, ""), "2 left out (it does not say why)"),
     (leaving_out(1, "x" * 9999), f"1 left out ({'x' * 200})")],
)  # fmt: skip
def test_only_what_was_left_out_is_remarked_on(body: bytes, said: str) -> None:
    exporter = OtlpExporter("http://127.0.0.1:9", 1)
    answer = requests.Response()
    answer.status_code, answer.raw = 200, BytesIO(body)
    exporter._hear(answer)
    assert exporter.refused == said


def test_without_a_daemon_it_says_so_once_and_waits(export: Export, tmp_path: Path) -> None:
    pushing = export("--otlp", "http://127.0.0.1:9", code="")
    assert pushing.stderr is not None
    assert "pbmond is not running" in pushing.stderr.readline()
    pushing.send_signal(2)
    assert pushing.wait(PATIENCE_S) == 130
    assert pushing.stderr.read() == ""


def test_without_the_sdk_it_is_one_line_and_1(export: Export) -> None:
    pushing = export("--otlp", "http://a", code="sys.modules['opentelemetry'] = None")
    out, err = pushing.communicate(timeout=PATIENCE_S)
    assert (out, pushing.returncode) == ("", 1)
    assert err == ("pbmon-client: export needs the OpenTelemetry SDK: pip install 'pbmon[otlp]'\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--otlp"], ["--otlp", "collector:4318"], ["--otlp", "ftp://a"], ["--otlp", "http://"],
     ["--otlp", "http://a:b"], ["--otlp", "http://a:99999"], ["--otlp", "http://[::1"],
     ["--otlp", "http://a b"], ["--otlp", "http://a#b"], ["--otlp", "http://u:secret@a"],
     ["--otlp", "http://a\n"], ["--otlp", "http://a:0"],
     *(["--otlp", "http://a", *more] for more in (
         ["--interval", "0"], ["--interval", "nan"], ["--interval", "x"], ["--interval", "90000"],
         ["--count", "0"], ["--count", "-1"], ["--top", "0"], ["--top", "1001"], ["--top", "x"],
         ["--socket", "tcp://x"], ["more"], ["--nonsense"],
     ))],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "url"),
    [("http://a", "http://a/v1/metrics"), ("https://a:4318/", "https://a:4318/v1/metrics"),
     ("http://[::1]:4318", "http://[::1]:4318/v1/metrics"), ("http://a/x?y=1", "http://a/x?y=1")],
)  # fmt: skip
def test_an_address_without_a_path_gets_that_of_metrics(given: str, url: str) -> None:
    assert parse(["--otlp", given]).url == url
