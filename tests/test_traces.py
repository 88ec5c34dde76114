"""Vectors of traces: texts, cache, fallbacks, and what is found when only a fallback is known.

The first tests have the names that the design of the service lists.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from api_world import settings_at
from reading import corpus
from test_received_spans import maker

from components.embedders.bert import default_folder
from components.embedders.hashing import hash_vector
from components.errors import BadBody, ModelChanged
from components.pipeline import Pipeline
from components.receive.received import received_spans
from components.settings import load_settings
from components.trace_storage import TraceStorage
from components.traces import EmbeddingService, _grade, trace_text

Trace = dict[str, Any]


@pytest.fixture
def sample_trace_dict() -> Trace:
    return {
        "trace_id": "trace-001",
        "span_id": "span-001",
        "name": "Test operation",
        "service": "test-service",
        "operation": "test_op",
        "status": "OK",
        "duration_ms": 100,
        "attributes": {"key": "value"},
    }


@pytest.fixture
def hashing(tmp_path: Path) -> Iterator[EmbeddingService]:
    with_hashes = EmbeddingService("hash://384", settings=settings_at(tmp_path))
    yield with_hashes
    with_hashes.close()


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.getMessage().startswith("embedding-generation-failed")]


# --- without a model ------------------------------------------------------------------------------------------------


def test_text_construction_success(sample_trace_dict: Trace) -> None:
    assert trace_text(sample_trace_dict) == "test-service test_op OK in <1s attributes: key=value"


def test_text_construction_empty_attributes(sample_trace_dict: Trace) -> None:
    for attributes in ({}, None):
        assert trace_text(sample_trace_dict | {"attributes": attributes}) == "test-service test_op OK in <1s"
    del sample_trace_dict["attributes"]
    assert trace_text(sample_trace_dict) == "test-service test_op OK in <1s"


def test_cache_key_generation(hashing: EmbeddingService, sample_trace_dict: Trace) -> None:
    """Equal contents share a vector, whatever the order of their keys, and however they nest."""
    nested = sample_trace_dict | {"attributes": {"b": {"y": [1, {"z": 2}], "x": 1}, "a": 1}}
    turned = dict(reversed(nested.items())) | {"attributes": {"a": 1, "b": {"x": 1, "y": [1, {"z": 2}]}}}
    first, second = hashing.embed_trace_sync(nested), hashing.embed_trace_sync(turned)
    assert (hashing.cache_info().hits, hashing.cache_info().misses) == (1, 1)
    assert (first == second).all()
    hashing.embed_trace_sync(sample_trace_dict)
    assert hashing.cache_info().misses == 2
    given = hashing.embed_trace_sync(sample_trace_dict, cache_key="of the caller")
    assert (hashing.embed_trace_sync(nested, cache_key="of the caller") == given).all()


def test_fallback_embedding_deterministic(hashing: EmbeddingService, sample_trace_dict: Trace) -> None:
    bad = sample_trace_dict | {"duration_ms": "soon"}
    one, same = hashing.embed_sync(bad), hashing.embed_sync(dict(bad))
    other = hashing.embed_sync(bad | {"trace_id": "trace-002"})
    assert one.is_fallback
    assert (one.vector == same.vector).all()
    assert abs(float(one.vector @ other.vector)) < 0.3, "unrelated traces are unrelated"


def test_fallback_embedding_dimension(tmp_path: Path) -> None:
    for dim in (384, 128):
        service = EmbeddingService("hash://8", settings=settings_at(tmp_path, traces={"embedding_dimension": dim}))
        vector = service.embed_trace_sync({"trace_id": "t"})
        assert (vector.shape, vector.dtype) == ((dim,), np.float32)
        assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


def test_cache_hit_miss(tmp_path: Path, sample_trace_dict: Trace) -> None:
    service = EmbeddingService("hash://384", settings=settings_at(tmp_path, traces={"cache_size": 100}))
    for n in (*range(101), 1, 0):  # 0 was used longest ago when 100 came; 1 stayed
        service.embed_trace_sync(sample_trace_dict | {"operation": f"op {n}"})
    info = service.cache_info()
    assert (info.hits, info.misses, info.maxsize, info.currsize) == (1, 102, 100, 100)
    assert info.hit_rate == pytest.approx(1 / 103)


def test_model_failure_fallback(sample_trace_dict: Trace, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = EmbeddingService("nonsense://model", settings=settings_at(tmp_path))
    found = asyncio.run(service.embed(sample_trace_dict))
    assert found.is_fallback
    assert (found.vector == hash_vector(trace_text(sample_trace_dict), 384)).all()
    (event,) = failures(caplog)
    assert event.levelno == logging.WARNING
    assert (event.__dict__["trace_id"], event.__dict__["fallback"]) == ("trace-001", True)
    assert "nonsense" in event.__dict__["error"]
    assert service.cache_info().currsize == 0, "a fallback is never cached"


@pytest.mark.parametrize(
    "trace",
    [
        {},
        {"trace_id": 7},
        {"service": "a", "operation": "b", "status": "OK"},
        {"service": "a", "operation": "b", "status": 2, "duration_ms": 1},
        {"service": "a", "operation": "b", "status": "OK", "duration_ms": float("nan")},
        {"service": "a", "operation": "b", "status": "OK", "duration_ms": True},
        {"service": "a", "operation": "b", "status": "OK", "duration_ms": 1, "attributes": [1]},
        {"service": None, "operation": "b", "status": "OK", "duration_ms": 1},
        {1: 2, None: object()},
        None,
        "a trace",
        [],
    ],
)
def test_what_is_no_trace_gives_a_fallback_and_one_event(
    hashing: EmbeddingService, trace: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert hashing.embed_sync(trace).is_fallback
    assert [event.levelno for event in failures(caplog)] == [logging.WARNING]


def test_traces_of_a_batch_are_embedded_together_and_keep_their_order(
    hashing: EmbeddingService, sample_trace_dict: Trace
) -> None:
    traces = [sample_trace_dict | {"operation": f"op {n % 3}"} for n in range(7)]
    traces[4] = {"trace_id": "no trace"}
    vectors = asyncio.run(hashing.embed_traces(traces))
    assert vectors.shape == (7, 384)
    assert (vectors == np.stack([hashing.embed_trace_sync(trace) for trace in traces])).all()
    assert hashing.embed_traces_sync([]).shape == (0, 384)


def test_a_model_of_another_dimension_is_an_error(sample_trace_dict: Trace, tmp_path: Path, caplog: Any) -> None:
    service = EmbeddingService("hash://128", settings=settings_at(tmp_path))
    assert service.embed_sync(sample_trace_dict).is_fallback
    assert [event.levelno for event in failures(caplog)] == [logging.ERROR]
    assert _grade(MemoryError()) == _grade(RuntimeError("bad allocation")) == logging.CRITICAL


@pytest.fixture
def hanging_service() -> Iterator[str]:
    """The address of an embedding service that never answers in time."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(3)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_model_that_hangs_gives_the_fallback_in_time(
    hanging_service: str, sample_trace_dict: Trace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"openai://m?base_url={hanging_service}&dimensions=384"
    service = EmbeddingService(uri, settings=settings_at(tmp_path, traces={"timeout_s": 0.3}))

    async def embed_both() -> float:
        began = time.monotonic()
        first, second = await asyncio.gather(service.embed(sample_trace_dict), service.embed(sample_trace_dict))
        assert first.is_fallback
        assert second.is_fallback
        return time.monotonic() - began

    assert asyncio.run(embed_both()) < 2
    assert service.embed_sync(sample_trace_dict).is_fallback
    assert all("traces.timeout_s" in event.__dict__["error"] for event in failures(caplog))
    service.close()


# --- stored traces --------------------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings_at(tmp_path / "home")) as opened:
        yield opened


def test_a_trace_is_stored_before_anything_is_embedded_and_found_after_the_next_index(
    pipeline: Pipeline, sample_trace_dict: Trace
) -> None:
    storage = TraceStorage(pipeline)
    kept = asyncio.run(storage.store_trace(sample_trace_dict))
    assert (kept.key, kept.is_new, kept.is_stored) == ("trace-001-span-001", True, True)
    assert storage.embeddings.cache_info().misses == 0
    assert not storage.store_trace_sync(sample_trace_dict).is_new
    for n in range(2):
        storage.store_trace_sync(sample_trace_dict | {"span_id": f"other {n}", "operation": f"op {n}"})
    pipeline.index("traces")
    found = asyncio.run(storage.similar(sample_trace_dict, k=3))
    assert not found.has_fallback
    assert found.hits[0].record.key == "trace-001-span-001"
    assert found.hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert len(found.hits) == 3


def test_a_trace_with_a_fallback_alone_is_found_by_equal_text_and_the_answer_says_so(
    pipeline: Pipeline, sample_trace_dict: Trace
) -> None:
    storage = TraceStorage(pipeline)
    for n in range(3):
        storage.store_trace_sync(sample_trace_dict | {"span_id": f"{n}", "operation": f"op {n}"})
    pipeline.index("traces")
    broken = EmbeddingService("nonsense://model", settings=pipeline.settings)
    found = TraceStorage(pipeline, embeddings=broken).similar_sync(sample_trace_dict | {"operation": "op 2"})
    assert found.has_fallback
    assert [hit.record.key for hit in found.hits] == ["trace-001-2"]
    nothing = TraceStorage(pipeline, embeddings=broken).similar_sync(sample_trace_dict | {"operation": "op 9"})
    assert (nothing.has_fallback, nothing.hits) == (True, [])
    assert TraceStorage(pipeline).similar_sync({"trace_id": "no trace"}).hits == []
    other = EmbeddingService("hash://384", settings=pipeline.settings)
    other.embed_sync(sample_trace_dict)
    other._embedder = None
    with pytest.raises(ModelChanged):
        TraceStorage(pipeline, embeddings=other).similar_sync(sample_trace_dict)


def test_what_is_no_trace_is_kept_as_a_defect(pipeline: Pipeline) -> None:
    kept = TraceStorage(pipeline).store_trace_sync({"trace_id": "t", "service": "shop", "status": "OK"})
    assert (kept.is_stored, kept.reason) == (False, "name is missing")
    (defect,) = pipeline.defects("traces")
    assert defect["reason"] == "name is missing"


# --- the real model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingService]:
    settings = load_settings(home=tmp_path_factory.mktemp("real"), traces={"timeout_s": 120})
    opened = EmbeddingService(settings=settings)
    assert asyncio.run(opened.preload())
    yield opened
    opened.close()


@pytest.mark.slow
def test_real_model_embedding_dimension(real: EmbeddingService, sample_trace_dict: Trace) -> None:
    vector = asyncio.run(real.embed_trace(sample_trace_dict))
    assert (vector.shape, vector.dtype) == ((384,), np.float32)
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


@pytest.mark.slow
def test_embedding_similarity(real: EmbeddingService, sample_trace_dict: Trace) -> None:
    again = sample_trace_dict | {"trace_id": "trace-002", "span_id": "span-002", "duration_ms": 150}
    assert (real.embed_trace_sync(sample_trace_dict) == real.embed_trace_sync(again)).all()


@pytest.mark.slow
def test_embedding_uniqueness(real: EmbeddingService, sample_trace_dict: Trace) -> None:
    other = sample_trace_dict | {"operation": "charge_card", "status": "ERROR", "attributes": {"error": "declined"}}
    assert float(real.embed_trace_sync(sample_trace_dict) @ real.embed_trace_sync(other)) < 0.9


@pytest.mark.slow
def test_cache_behavior_real_model(real: EmbeddingService, sample_trace_dict: Trace) -> None:
    trace = sample_trace_dict | {"operation": "cached"}
    first = real.embed_trace_sync(trace)
    before = real.cache_info()
    began = time.perf_counter()
    for _ in range(100):
        assert real.embed_trace_sync(trace) is first or (real.embed_trace_sync(trace) == first).all()
    assert (time.perf_counter() - began) / 100 < 0.01
    assert real.cache_info().misses == before.misses


@pytest.mark.slow
def test_model_download(tmp_path: Path, sample_trace_dict: Trace) -> None:
    """The first use works offline, from the package; a graph that was damaged since then is built again."""
    settings = load_settings(home=tmp_path, shared_cache=tmp_path / "cache", traces={"timeout_s": 120})
    first = EmbeddingService(settings=settings).embed_sync(sample_trace_dict)
    assert not first.is_fallback
    (graph,) = [file for file in (tmp_path / "cache").rglob("*.onnx") if file.stat().st_size > 1_000]
    graph.write_bytes(b"\xff" * graph.stat().st_size)
    assert (EmbeddingService(settings=settings).embed_sync(sample_trace_dict).vector == first.vector).all()


@pytest.mark.slow
def test_damaged_weights_are_an_error(tmp_path: Path, sample_trace_dict: Trace, caplog: Any) -> None:
    shutil.copytree(default_folder(), tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as weights:
        weights.truncate(1_000)
    service = EmbeddingService(
        str(tmp_path / "model"), settings=load_settings(home=tmp_path, traces={"timeout_s": 300})
    )
    assert service.embed_sync(sample_trace_dict).is_fallback
    assert [event.levelno for event in failures(caplog)] == [logging.ERROR]


# --- measured on real traces ----------------------------------------------------------------------------------------


@pytest.mark.corpus
def test_spans_of_real_traces_share_vectors_once_ids_of_sessions_and_users_are_out(hashing: EmbeddingService) -> None:
    for path in corpus("agent-logs/otel_genai"):
        for line in path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]:
            with suppress(BadBody):  # some are no OTLP
                for record in received_spans(line, maker(), is_json=True).records:
                    if record.type == "span":
                        hashing.embed_trace_sync(
                            {"service": "s", "operation": record.text, "status": "OK", "duration_ms": 1}
                        )
    info = hashing.cache_info()
    assert info.misses > 100
    assert info.hit_rate > 0.2, info
