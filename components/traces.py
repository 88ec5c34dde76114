"""Vectors of traces, for those who hold traces as dicts: cached, bounded in time, and never failing.

A trace is a dict with `trace_id, span_id, name, service, operation, status, duration_ms, attributes`. Its vector is that of
its text, which is the text that a span of this content has everywhere else.

>>> from components.settings import Settings
>>> service = EmbeddingService("hash://384", settings=Settings())
>>> trace = {"trace_id": "t", "service": "shop", "operation": "pay", "status": "OK", "duration_ms": 12}
>>> trace_text(trace), service.embed_trace_sync(trace).shape
('shop pay OK in <100ms', (384,))
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from components import wiring
from components.contracts import UNIT_TOLERANCE, Embedder, Json, Vectors
from components.embedders.hashing import hash_vector
from components.errors import EmbeddingFailed, ModelDamaged, ModelTimeout, ModelUnloadable, RunAtlasError, UnusableTrace
from components.settings import Settings, load_settings
from components.sources.formats.content import json_text
from components.sources.formats.spans import span_text
from components.text import digest

logger = logging.getLogger(__name__)

FAILED: Final = "embedding-generation-failed"
MAX_CALLS: Final = 4  # of the model at once; one that hangs must not hold up the others
Vector = NDArray[np.float32]  # (dim,), of unit length


def trace_text(trace: Mapping[str, Any]) -> str:
    """The text of a trace: service, operation, status, bucket of the duration, attributes by key.

    Raises `UnusableTrace` naming the field that is missing or of another type.
    """
    if not isinstance(trace, Mapping):
        raise UnusableTrace(f"a trace is a dict, not {type(trace).__name__}")
    attributes = trace.get("attributes")
    if attributes is not None and not isinstance(attributes, Mapping):
        raise UnusableTrace(f"attributes is {type(attributes).__name__}, not a dict")
    operation = trace.get("operation")
    return span_text(
        service=_text_field(trace, "service"),
        operation=_text_field(trace, "name" if operation is None else "operation"),
        status=_text_field(trace, "status"),
        duration_ms=duration_of(trace),
        attributes={str(key): value for key, value in (attributes or {}).items()},
    )


def _text_field(trace: Mapping[str, Any], name: str) -> str:
    value = trace.get(name)
    if isinstance(value, str) and value.strip():
        return value
    raise UnusableTrace(f"{name} is missing" if value is None else f"{name} is {str(value)[:40]!r}, not a text")


def duration_of(trace: Mapping[str, Any]) -> float:
    """How long a trace took, in milliseconds. Raises `UnusableTrace`."""
    value = trace.get("duration_ms")
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise UnusableTrace(f"duration_ms is {str(value)[:40]!r}, not a number of milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceVector:
    """The vector of a trace. One that `is_fallback` says nothing but which text it is of: equal texts have equal ones."""

    text: str
    vector: Vector
    is_fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """How often the cache had a vector, and how many it holds."""

    hits: int
    misses: int
    maxsize: int
    currsize: int

    @property
    def hit_rate(self) -> float:
        """Share of the calls that the cache answered; 0 before the first."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0


class _Cache:
    """The vectors that were used last, by key; safe to use from several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[bytes, Vector] = OrderedDict()
        self._hits = self._misses = 0
        self._lock = Lock()

    def get(self, key: bytes) -> Vector | None:
        with self._lock:
            found = self._held.get(key)
            if found is None:
                self._misses += 1
            else:
                self._hits += 1
                self._held.move_to_end(key)
            return found

    def put(self, key: bytes, vector: Vector) -> None:
        vector.flags.writeable = False  # every caller gets the same one
        with self._lock:
            self._held[key] = vector
            self._held.move_to_end(key)
            while len(self._held) > self._size:
                self._held.popitem(last=False)

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(hits=self._hits, misses=self._misses, maxsize=self._size, currsize=len(self._held))


class EmbeddingService:
    """Vectors of traces, (dim,) float32 of unit length. Loads its model at the first call; no call raises.

    Whatever goes wrong gives a fallback vector and one log event `embedding-generation-failed`.
    """

    def __init__(self, model_name: str | None = None, *, settings: Settings | None = None) -> None:
        self._settings = settings or load_settings()
        self.model_name = model_name or self._settings.traces.embedding_model
        self.dim = self._settings.traces.embedding_dimension
        self._cache = _Cache(self._settings.traces.cache_size)
        self._embedder: Embedder | None = None
        self._opening = Lock()
        self._pool = ThreadPoolExecutor(MAX_CALLS, "embed-trace")

    @property
    def identity(self) -> str | None:
        """All that decides a vector, as maps name their model; None before the model is loaded."""
        return self._embedder.identity if self._embedder else None

    # --- one trace

    async def embed_trace(self, trace: Mapping[str, Any], cache_key: str | None = None) -> Vector:
        """The vector of a trace; traces of one `cache_key` share it, else those of equal text do."""
        return (await self.embed(trace, cache_key)).vector

    def embed_trace_sync(self, trace: Mapping[str, Any], cache_key: str | None = None) -> Vector:
        """As `embed_trace`, for code that is not asynchronous."""
        return self.embed_sync(trace, cache_key).vector

    async def embed(self, trace: Mapping[str, Any], cache_key: str | None = None) -> TraceVector:
        """The vector of a trace with its text, and whether it is a fallback."""
        found = self._without_model(trace, cache_key)
        return found if isinstance(found, TraceVector) else (await self._embed_missing([found]))[0]

    def embed_sync(self, trace: Mapping[str, Any], cache_key: str | None = None) -> TraceVector:
        """As `embed`, for code that is not asynchronous."""
        found = self._without_model(trace, cache_key)
        return found if isinstance(found, TraceVector) else self._embed_missing_sync([found])[0]

    # --- many

    async def embed_traces(self, traces: Sequence[Mapping[str, Any]]) -> Vectors:
        """The vectors of traces, (n, dim) in their order; distinct texts are embedded together."""
        found = [self._without_model(trace, None) for trace in traces]
        missing = [one for one in found if isinstance(one, _Missing)]
        return self._stacked(found, await self._embed_missing(missing) if missing else [])

    def embed_traces_sync(self, traces: Sequence[Mapping[str, Any]]) -> Vectors:
        """As `embed_traces`, for code that is not asynchronous."""
        found = [self._without_model(trace, None) for trace in traces]
        missing = [one for one in found if isinstance(one, _Missing)]
        return self._stacked(found, self._embed_missing_sync(missing) if missing else [])

    def _stacked(self, found: Sequence[TraceVector | _Missing], embedded: Sequence[TraceVector]) -> Vectors:
        rest = iter(embedded)
        vectors = [(one if isinstance(one, TraceVector) else next(rest)).vector for one in found]
        return np.stack(vectors) if vectors else np.empty((0, self.dim), np.float32)

    # --- the model and the cache

    async def preload(self) -> bool:
        """Load the model ahead of the first trace. False if it can't be used, which is logged."""
        return not (await self.embed(_PROBE)).is_fallback

    def cache_info(self) -> CacheInfo:
        """Hits, misses and size of the cache."""
        return self._cache.info()

    def close(self) -> None:
        """Give the threads back; calls of the model that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _without_model(self, trace: Mapping[str, Any], cache_key: str | None) -> TraceVector | _Missing:
        """The vector where no model is needed: a cached one, or the fallback of what is no trace."""
        try:
            text = trace_text(trace)
        except Exception as error:  # noqa: BLE001 - whatever was given as a trace
            return self._fallback(as_json(trace), _id_of(trace), error, logging.WARNING)
        key = digest(text) if cache_key is None else b"given " + str(cache_key).encode("utf-8", "replace")
        if (cached := self._cache.get(key)) is not None:
            return TraceVector(text=text, vector=cached)
        return _Missing(text=text, key=key, trace_id=_id_of(trace))

    async def _embed_missing(self, missing: Sequence[_Missing]) -> list[TraceVector]:
        try:
            future = self._pool.submit(self._embedded, [one.text for one in missing])
            return self._kept(missing, await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s))
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            return self._failed(missing, error)

    def _embed_missing_sync(self, missing: Sequence[_Missing]) -> list[TraceVector]:
        future: Future[Vectors] | None = None
        try:
            future = self._pool.submit(self._embedded, [one.text for one in missing])
            return self._kept(missing, future.result(self._timeout_s))
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if future is not None:
                future.cancel()
            return self._failed(missing, error)

    @property
    def _timeout_s(self) -> float:
        return self._settings.traces.timeout_s

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        """The model's vectors (n, dim), checked. Raises what the model raises."""
        with self._opening:
            if self._embedder is None:
                self._embedder = wiring.open_model(self._settings, self.model_name)
        vectors = self._embedder.embed(texts).vectors
        if vectors.shape != (len(texts), self.dim):
            raise EmbeddingFailed(
                f"Model {self.model_name!r} gives {vectors.shape[-1]} dimensions, traces.embedding_dimension is {self.dim}: correct one of them."
            )
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=UNIT_TOLERANCE):
            raise EmbeddingFailed(f"Model {self.model_name!r} gave a vector that is not of unit length.")
        return vectors

    def _kept(self, missing: Sequence[_Missing], vectors: Vectors) -> list[TraceVector]:
        for one, vector in zip(missing, vectors, strict=True):
            self._cache.put(one.key, np.array(vector, np.float32))
        return [TraceVector(text=one.text, vector=vector) for one, vector in zip(missing, vectors, strict=True)]

    def _failed(self, missing: Sequence[_Missing], error: Exception) -> list[TraceVector]:
        if isinstance(error, Late):
            error = ModelTimeout(
                f"Model {self.model_name!r} did not answer within {self._timeout_s:g} s (traces.timeout_s)."
            )
        return [self._fallback(one.text, one.trace_id, error, _grade(error)) for one in missing]

    def _fallback(self, text: str, trace_id: str, error: Exception, level: int) -> TraceVector:
        reason = str(error) if isinstance(error, RunAtlasError) else f"{type(error).__name__}: {error}"
        fields = {"error": reason, "trace_id": trace_id, "fallback": True}
        logger.log(level, f"{FAILED} error=%r trace_id=%r fallback=true", reason, trace_id, extra=fields)  # noqa: G004
        return TraceVector(text=text, vector=hash_vector(text, self.dim), is_fallback=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """A trace whose text the model has to embed."""

    text: str
    key: bytes
    trace_id: str


_PROBE: Final = {"trace_id": "preload", "service": "runatlas", "operation": "preload", "status": "OK", "duration_ms": 0}


def _grade(error: Exception) -> int:
    """Critical where memory ran out, error where the model is damaged, warning for all that may pass or be corrected."""
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return logging.CRITICAL
    if isinstance(error, ModelDamaged | ModelUnloadable | EmbeddingFailed):
        return logging.ERROR
    is_known = isinstance(error, RunAtlasError | OSError | ImportError)
    return logging.WARNING if is_known else logging.ERROR  # what a library says of weights that it can't read


def _id_of(trace: Json) -> str:
    found = trace.get("trace_id") if isinstance(trace, Mapping) else None
    return found if isinstance(found, str) else "unknown"


def as_json(trace: Json) -> str:
    """A text for what is no trace; the same for equal ones."""
    try:
        return json_text(dict(trace) if isinstance(trace, Mapping) else trace)
    except Exception:  # noqa: BLE001 - whatever was given as a trace
        return f"a {type(trace).__name__} that has no text"
