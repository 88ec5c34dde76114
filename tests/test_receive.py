"""Records that are sent over HTTP: OTLP's answers, real SDK exporters, bounds, pressure, and what survives a kill."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import settings_at
from asgi import Answer, ask
from browser import free_port, waited
from databases import fresh_database, postgres_server
from fastapi import FastAPI
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from reading import corpus
from served import served
from test_received_spans import SPAN, TRACE, request, span

from api.app import create_app
from components.pipeline import Pipeline
from components.settings import Settings
from components.store.tables import RecordState

JSON, PROTOBUF, LINES = "application/json", "application/x-protobuf", "application/x-ndjson"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path / "home")


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    made = create_app(settings)
    yield made
    made.state.dependencies.receiving.close()
    made.state.dependencies.state.close()


def post(app: FastAPI, path: str, body: bytes, kind: str = JSON, **headers: str) -> Answer:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return ask(app, path, method="POST", headers=[(b"content-type", kind.encode()), *named], body=[body])


def stored(settings: Settings, dataset: str = "traces") -> dict[str, str]:
    """Key -> text of the current records."""
    with Pipeline(settings) as pipeline:
        number = pipeline.store.datasets.id(dataset)
        if number is None:
            return {}
        batches = pipeline.store.records.stream(number, RecordState.WAITING, RecordState.INDEXED)
        return {one.record.key: one.record.text for batch in batches for one in batch}


# --- the protocol --------------------------------------------------------------------------------------------------


def test_good_spans_are_stored_and_the_answer_is_empty(app: FastAPI, settings: Settings) -> None:
    answer = post(app, "/v1/traces", request(span()))
    assert (answer.status, answer.content_type, answer.json()) == (200, JSON, {})
    assert stored(settings) == {f"{TRACE}-{SPAN}": "shop pay UNSET in <100ms"}


def test_bad_spans_are_a_partial_success_with_reasons_and_are_listed_as_defects(
    app: FastAPI, settings: Settings
) -> None:
    bad = [span(spanId=None, name=f"bad {n}") for n in range(3)]
    answer = post(app, "/v1/traces", request(*bad, span()))
    assert answer.status == 200
    partial = answer.json()["partialSuccess"]
    assert int(partial["rejectedSpans"]) == 3
    assert "spanId is missing" in partial["errorMessage"]
    assert len(partial["errorMessage"]) <= 1_000
    post(app, "/v1/traces", request(*bad))  # sent again, they are the same defects
    with Pipeline(settings) as pipeline:
        assert len(pipeline.defects("traces")) == 3
    assert len(stored(settings)) == 1


def test_protobuf_is_answered_in_protobuf(app: FastAPI) -> None:
    sent = ExportTraceServiceRequest()
    spans = sent.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="pay")
    good = post(app, "/v1/traces", gzip.compress(sent.SerializeToString()), PROTOBUF, content_encoding="gzip")
    assert (good.status, good.content_type, good.body) == (200, PROTOBUF, b"")
    spans.add(trace_id=b"\0" * 16, span_id=b"1" * 7, name="bad")
    partial = ExportTraceServiceResponse.FromString(post(app, "/v1/traces", sent.SerializeToString(), PROTOBUF).body)
    assert partial.partial_success.rejected_spans == 1
    assert "'bad'" in partial.partial_success.error_message
    refused = post(app, "/v1/traces", sent.SerializeToString()[:-3], PROTOBUF)
    assert (refused.status, refused.content_type) == (400, PROTOBUF)
    status = Status.FromString(refused.body)
    assert status.code == 3
    assert "no OTLP trace request" in status.message


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (b'{"spans": []}', JSON, {}, 400),
        (b'{"resourceSpans": [', JSON, {}, 400),
        (b"{}", JSON, {"x_runatlas_dataset": "../x"}, 400),
        (b"\x1f\x8b cut", JSON, {"content_encoding": "gzip"}, 400),
        (b"x", "text/plain", {}, 415),
        (b"x" * 5_000, JSON, {}, 413),
        (gzip.compress(b"0" * 100_000), JSON, {"content_encoding": "gzip"}, 413),
    ],
)
def test_what_cannot_be_received_is_refused_with_a_status_of_the_protocol(
    settings: Settings, body: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    small = {"max_body_bytes": 4_096, "max_unpacked_bytes": 20_000}
    made = create_app(settings_at(settings.home, receive=small))
    answer = post(made, "/v1/traces", body, kind, **headers)
    assert (answer.status, answer.content_type) == (status, JSON), answer
    assert answer.json()["code"] == 3
    assert answer.json()["message"]
    assert stored(settings) == {}
    made.state.dependencies.state.close()


def test_a_body_that_grows_beyond_its_limit_is_refused_while_it_is_read(settings: Settings) -> None:
    made = create_app(settings_at(settings.home, receive={"max_body_bytes": 4_096}))
    for path, kind in (("/v1/traces", JSON), ("/datasets/a/records", LINES)):
        parts = [b"x" * 1_000] * 100
        answer = ask(made, path, method="POST", headers=[(b"content-type", kind.encode())], body=parts)
        assert answer.status == 413
        assert "receive.max_body_bytes" in answer.body.decode()


def test_the_dataset_is_named_by_a_header(app: FastAPI, settings: Settings) -> None:
    assert post(app, "/v1/traces", request(span()), x_runatlas_dataset="shop").status == 200
    assert len(stored(settings, "shop")) == 1
    assert stored(settings) == {}


def test_of_two_reports_of_a_span_the_later_one_is_the_record(app: FastAPI, settings: Settings) -> None:
    running, done = span(endTimeUnixNano=None), span(status={"code": 2})
    for one in (running, done, done, running, done):
        assert post(app, "/v1/traces", request(one)).status == 200
    assert stored(settings) == {f"{TRACE}-{SPAN}": "shop pay ERROR in <100ms"}
    with Pipeline(settings) as pipeline:
        pipeline.index("traces")
        assert pipeline.snapshot("traces").manifest.rows == 1
        assert post(app, "/v1/traces", request(span(status={"code": 1}))).status == 200
        pipeline.index("traces")
        assert pipeline.snapshot("traces").manifest.rows == 1
        (hit,) = pipeline.search("pay", "traces")
        assert hit.record.text == "shop pay OK in <100ms"
        assert all(check.ok for check in pipeline.verify("traces"))


def test_a_load_leaves_received_records_alone(app: FastAPI, settings: Settings, tmp_path: Path) -> None:
    post(app, "/v1/traces", request(span()))
    (tmp_path / "otlp").write_text('{"text": "hi", "type": "user", "timestamp": "2026-01-01"}\n')
    with Pipeline(settings) as pipeline:
        report = pipeline.load([tmp_path / "otlp"], "traces", format="generic")
        assert (report.records.new, report.sources.gone, report.records.unindexed) == (1, 0, 2)
        assert pipeline.load(dataset="traces").sources.gone == 0


# --- real clients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [pytest.param("none", marks=pytest.mark.slow), "gzip"])
def test_an_opentelemetry_sdk_feeds_the_map(settings: Settings, compression: str) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import StatusCode

    locked = settings.model_copy(update={"api_token": "open sesame"})
    with served(create_app(locked)) as client:
        exporter = OTLPSpanExporter(
            endpoint=f"{client.base_url}/v1/traces",
            headers={"Authorization": "Bearer open sesame", "X-Runatlas-Dataset": "sdk"},
            compression=Compression(compression),
        )
        provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("checkout", attributes={"cart.items": 3, "user.id": "u-1"}) as root:
            trace_id = f"{root.get_span_context().trace_id:032x}"
            with tracer.start_as_current_span("pay", attributes={"tries": [1, 2]}) as pay:
                pay.record_exception(TimeoutError("no answer in 30 s"))
                pay.set_status(StatusCode.ERROR, "no answer")
        assert provider.force_flush()
        provider.shutdown()
    found = stored(settings, "sdk")
    assert sorted(text.partition(" in ")[0] for text in found.values()) == [
        "TimeoutError: no answer",
        "shop checkout UNSET",
        "shop pay ERROR",
    ]
    assert "shop checkout UNSET in <" in " ".join(found.values())
    assert "tries=[1,2]" in " ".join(found.values())
    assert all(key.startswith(trace_id) for key in found)


def test_a_client_is_told_to_wait_while_too_much_is_being_received(settings: Settings) -> None:
    limits = {"max_body_bytes": 8_192, "max_unpacked_bytes": 8_192, "max_held_bytes": 16_384}
    app = create_app(settings_at(settings.home, receive=limits))
    with served(app) as client:
        slow = [socket.create_connection((client.base_url.host, client.base_url.port)) for _ in range(2)]
        head = f"POST /v1/traces HTTP/1.1\r\nHost: {client.base_url.host}\r\nContent-Type: {JSON}\r\nContent-Length: 8000\r\n\r\n"
        for one in slow:
            one.sendall(head.encode() + b" " * 7_990)
        held = app.state.dependencies.receiving._held
        waited(lambda: held._held_bytes == 2 * 7_990, what="both bodies are being received", within_s=20)
        body = request(span()) + b" " * 2_000

        def refused() -> httpx.Response | None:
            answer = client.post("/v1/traces", content=body, headers={"content-type": JSON})
            return answer if answer.status_code == 429 else None

        answer = refused()
        assert answer is not None
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["code"] == 8
        rows = client.post("/datasets/a/records", content=b" " * 2_000, headers={"content-type": JSON})
        assert (rows.status_code, rows.headers["content-type"]) == (429, "application/problem+json")
        for one in slow:
            one.close()
        waited(lambda: refused() is None, what="200", within_s=20)
    assert len(stored(settings)) == 1


# --- rows ----------------------------------------------------------------------------------------------------------


def test_rows_are_one_record_a_key_however_often_they_are_sent(app: FastAPI, settings: Settings) -> None:
    rows = [{"key": "a/1", "text": "first"}, {"key": "b", "text": "other"}, {"key": "c"}]
    first = post(app, "/datasets/notes/records", json.dumps(rows).encode()).json()
    assert (first["received"], first["new"], first["existing"], first["rejected"]) == (3, 2, 0, 1)
    assert first["errors"] == [{"at": 2, "reason": "there is no column 'text' to take the text from"}]
    again = post(app, "/datasets/notes/records", json.dumps(rows[:2]).encode()).json()
    assert (again["new"], again["existing"], again["replaced"]) == (0, 2, 0)
    changed = post(app, "/datasets/notes/records", b'{"key": "a/1", "text": "second"}\n', LINES).json()
    assert (changed["new"], changed["replaced"]) == (1, 1)
    assert stored(settings, "notes") == {"a/1": "second", "b": "other"}


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("/datasets/notes/records", b'{"text": "no list"}', JSON, 400),
        ("/datasets/notes/records", b"[", JSON, 400),
        ("/datasets/notes/records", b"[]", "text/csv", 415),
        ("/datasets/%2e%2e/records", b"[]", JSON, 422),
    ],
)
def test_rows_that_cannot_be_received_are_refused_with_a_problem_document(
    app: FastAPI, path: str, body: bytes, kind: str, status: int
) -> None:
    answer = post(app, path.replace("%2e", "."), body, kind)
    assert (answer.status, answer.content_type) == (status, "application/problem+json"), answer


@pytest.mark.slow
def test_senders_side_by_side_lose_nothing_and_duplicate_nothing(tmp_path: Path) -> None:
    with postgres_server() as server, fresh_database(server) as url:
        for where in ({"database_url": url}, {}):
            settings = settings_at(tmp_path / f"home{len(where)}", **where)
            with served(create_app(settings)) as client:

                def send(sender: int, client: httpx.Client = client) -> None:
                    for n in range(5):
                        shared = [{"key": f"shared {at}", "text": f"text {at}"} for at in range(20)]
                        own = [{"key": f"{sender} {n} {at}", "text": f"own {at}"} for at in range(20)]
                        answer = client.post("/datasets/d/records", json=[*shared, *own])
                        assert answer.status_code == 200, answer.text

                threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert len(stored(settings, "d")) == 20 + 4 * 5 * 20


# --- days when things break ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_answered_with_200_survives_a_kill(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    port = free_port()
    environment = {
        **os.environ,
        "RUNATLAS_HOME": str(settings.home),
        "RUNATLAS_API__PORT": str(port),
        "RUNATLAS_MODEL": "hash://32",
    }
    acknowledged: set[str] = set()

    def send(sender: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for n in range(100_000):
                keys = [f"{sender}-{n}-{at}" for at in range(50)]
                try:
                    answer = client.post("/datasets/d/records", json=[{"key": key, "text": key} for key in keys])
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    acknowledged.update(keys)

    for _ in range(3):
        server = subprocess.Popen([sys.executable, "-m", "api"], env=environment, cwd=Path(__file__).parents[1])
        waited(lambda: _answers(port), what="the API", within_s=60)
        before = len(acknowledged)
        threads = [threading.Thread(target=send, args=(f"{server.pid}-{sender}",)) for sender in range(4)]
        for thread in threads:
            thread.start()
        waited(lambda wanted=before + 1_000: len(acknowledged) > wanted, what="1,000 rows", within_s=60)
        server.send_signal(signal.SIGKILL)
        server.wait()
        for thread in threads:
            thread.join()
    assert len(acknowledged) > 3_000
    assert acknowledged <= set(stored(settings, "d"))


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_database_that_fails_is_503_with_the_time_to_try_again(settings: Settings) -> None:
    made = create_app(settings_at(settings.home, database_url="postgresql://nobody@127.0.0.1:1/none"))
    answer = post(made, "/v1/traces", request(span()))
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert answer.json()["code"] == 14


# --- inputs with right outcomes ------------------------------------------------------------------------------------


@pytest.mark.corpus
def test_reported_inputs_have_their_right_outcomes(app: FastAPI, settings: Settings) -> None:
    wanted: dict[str, Any] = {
        "mixed.json": (200, 4, 6),
        "mixed.pb": (200, 3, 6),
        "good.json": (200, 0, 6),
        "empty.json": (200, 0, 0),
        "empty_scope.json": (200, 0, 0),
        "cut.json": (400, 0, 0),
        "cut.pb": (400, 0, 0),
        "other.json": (400, 0, 0),
        "heavy.json": (200, 0, 80),
        "heavy.pb.gz": (200, 0, 80),
    }
    folders = ("38-some-spans-are-bad", "37-dialects-of-otlp-json", "42-heavy-spans-and-bare-ones")
    for path in corpus(*(f"reports/{folder}" for folder in folders)):
        if path.name not in wanted:
            continue
        dataset = path.name.replace(".", "-")
        headers = {"content_encoding": "gzip"} if path.suffix == ".gz" else {}
        kind = PROTOBUF if ".pb" in path.name else JSON
        answer = post(app, "/v1/traces", path.read_bytes(), kind, x_runatlas_dataset=dataset, **headers)
        if kind == JSON and answer.status == 200:
            rejected = int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0))
        else:
            rejected = (
                ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans
                if answer.status == 200
                else 0
            )
        assert (answer.status, rejected, len(stored(settings, dataset))) == wanted[path.name], path.name
        assert b"Traceback" not in answer.body
    heavy = stored(settings, "heavy-json")
    assert heavy == stored(settings, "heavy-pb-gz")
    assert any(
        text.startswith("assistant chat qwen-small UNSET in <10s attributes: gen_ai.request.model=qwen")
        for text in heavy.values()
    )
    assert not [text for text in heavy.values() if "s-4471" in text or "u-19" in text or "stringValue" in text]
    assert any(
        text.endswith('list=["b",2,false,null] map={"a":[],"z":1} nan=NaN raw=[bytes] twice=second')
        for text in heavy.values()
    )
    assert "Timeout: no answer in 30 s" in heavy.values()
