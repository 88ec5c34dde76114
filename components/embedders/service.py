"""Any service that speaks OpenAI's `/embeddings`: OpenAI, TEI, vLLM, Ollama, llama.cpp, infinity.

Requests run in parallel, several keys take turns, and what a service asks for in `Retry-After` is handed up: waiting
and trying again is the caller's business, so that a run can be cancelled meanwhile. What comes back is checked before
anyone sees it, and no error ever shows a key.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from components.contracts import Embedded, Json, Vectors
from components.embedders.texts import distinct, unit, well_formed
from components.errors import BadSetting, EmbeddingFailed, ServiceUnavailable
from components.http_client import open_client
from components.settings import EmbedSettings

OPENAI = "https://api.openai.com/v1"
KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1_536,
    "text-embedding-3-large": 3_072,
    "text-embedding-ada-002": 1_536,
}
BATCH_TEXTS = 64  # texts a request; services allow 32 (TEI by default) to 2,048 (OpenAI)
BATCH_CHARS = 200_000  # characters a request; OpenAI allows 300,000 tokens in all
MAX_CHARS = 8_192  # characters of a text; most services refuse texts beyond their window

_OPTIONS = {"base_url", "dimensions", "batch", "max_chars"}
_SHORTEST_CHARS = 16  # a text that is refused as too long even then is refused for another reason
_SHORTENED_TO = 0.7  # of what was refused; a tokenizer's limit is not known in characters
_TOO_LONG = re.compile(
    r"too (?:long|large|many tokens)|context[ _-]?(?:length|window|size)|(?:max(?:imum)?|token|input|sequence)[ _-]?"
    r"(?:\w+[ _-]){0,3}(?:length|limit|tokens|size)|exceed|(?:longer|larger|greater|more) than|\btokens\b",
    re.IGNORECASE,
)
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_EXCERPT_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Which model of which service, and how much it takes at once."""

    model: str
    base_url: str
    dimensions: int | None = None  # asked for; None: the model's own
    batch_texts: int = BATCH_TEXTS
    max_chars: int = MAX_CHARS

    @property
    def place(self) -> str:
        """The address without whatever might be secret in it."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class _TooLong(EmbeddingFailed):
    """The service refused a request because a text, or all of them together, is too long for it."""


@dataclass(slots=True, kw_only=True)
class ServiceEmbedder:
    """Vectors of a service's model, normalised here whatever the service does."""

    endpoint: Endpoint
    settings: EmbedSettings
    _client: Any = None
    _dim: int | None = None
    _keys: Iterator[str] = field(default_factory=lambda: iter(()))
    _paid: dict[str, Vectors] = field(default_factory=dict)  # (dim,) answers of a call that failed in another request
    _refused: set[str] = field(default_factory=set)  # pieces of this call that the service refused as too long
    _opening: Lock = field(default_factory=Lock)

    @property
    def identity(self) -> str:
        asked = f" dimensions={self.endpoint.dimensions}" if self.endpoint.dimensions else ""
        return (
            f"{self.endpoint.model} at {self.endpoint.place}{asked} normalized long_text={self.settings.long_text} v1"
        )

    @property
    def dim(self) -> int:
        """The dimension asked for or known; else one short text is embedded to learn it."""
        self._dim = self._dim or self.endpoint.dimensions or KNOWN_DIMENSIONS.get(self.endpoint.model)
        if self._dim is None:
            self._dim = self._request(["dimension"])[0].shape[1]
        return self._dim

    def embed(self, texts: Sequence[str]) -> Embedded:
        unique = distinct([well_formed(text) for text in texts])
        if not unique.texts:
            return Embedded(vectors=np.zeros((0, self.dim), np.float32))
        pieces = [self._pieces(text) for text in unique.texts]
        vectors, n_tokens = self._request_all([piece for own in pieces for piece in own])
        weights = np.array([len(piece) for own in pieces for piece in own], np.float32)
        starts = np.cumsum([0] + [len(own) for own in pieces[:-1]])
        merged = np.add.reduceat(vectors * weights[:, None], starts, axis=0) if len(weights) > len(pieces) else vectors
        is_long = np.array(
            [
                len(text) > self.endpoint.max_chars or not self._refused.isdisjoint(own)
                for text, own in zip(unique.texts, pieces, strict=True)
            ]
        )
        self._refused.clear()
        return Embedded(
            vectors=unit(merged)[unique.where],
            n_tokens=n_tokens,
            n_shortened=int(is_long[unique.where].sum()),
        )

    def _pieces(self, text: str) -> list[str]:
        """The text in pieces that the service takes; one, unless windows are asked for. Services refuse empty texts."""
        size = self.endpoint.max_chars
        n = math.ceil(len(text) / size) if self.settings.long_text == "mean" else 1
        return [text[size * i : size * (i + 1)] if text.strip() else "." for i in range(max(1, n))]

    def _request_all(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """Vectors in order, and tokens. The first failure stops what has not started yet; what did arrive is kept, so
        that the next try asks, and pays, for the rest alone.
        """
        batches = list(request_batches([text for text in texts if text not in self._paid], self.endpoint.batch_texts))
        pool = ThreadPoolExecutor(min(self.settings.connections, max(1, len(batches))), "embed")
        try:
            pending = [pool.submit(self._fitting, batch) for batch in batches]
            wait(pending, return_when=FIRST_EXCEPTION)
        except BaseException:  # a cancellation does not wait for a service that does not answer
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown(cancel_futures=True)
        done = [future for future in pending if not future.cancelled()]
        for batch, future in zip(batches, pending, strict=True):
            if future in done and future.exception() is None:
                self._paid.update(zip(batch, future.result()[0], strict=True))
        for future in done:
            if error := future.exception():
                raise error
        vectors = [self._paid[text] for text in texts]
        self._paid = {}
        if len({len(vector) for vector in vectors}) > 1:
            raise EmbeddingFailed(f"{self.endpoint.place} gave vectors of different dimensions in one run.")
        return np.array(vectors, np.float32), sum(future.result()[1] for future in pending)

    def _fitting(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """What `_request` gives; texts that the service refuses as too long are found, and shortened until it takes them.

        With `long_text = "mean"` they are divided instead, and the vectors of the parts averaged.
        """
        try:
            return self._request(texts)
        except _TooLong as error:
            if len(texts) == 1:
                return self._shortened(texts[0], error)
        half = len(texts) // 2
        parts = [self._fitting(texts[:half]), self._fitting(texts[half:])]
        return np.concatenate([vectors for vectors, _ in parts]), sum(n for _, n in parts)

    def _shortened(self, text: str, error: _TooLong) -> tuple[Vectors, int]:
        if len(text) <= _SHORTEST_CHARS:
            raise EmbeddingFailed(str(error)) from None
        self._refused.add(text)
        if self.settings.long_text == "mean":
            middle = len(text) // 2
            texts = [part if part.strip() else "." for part in (text[:middle], text[middle:])]
            parts = [self._fitting([part]) for part in texts]
            vectors = sum(vectors * len(part) for (vectors, _), part in zip(parts, texts, strict=True))
            return unit(np.asarray(vectors)), sum(n for _, n in parts)
        cut = text[: max(_SHORTEST_CHARS, int(len(text) * _SHORTENED_TO))]
        return self._fitting([cut if cut.strip() else "."])

    def _request(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        body: dict[str, Json] = {"model": self.endpoint.model, "input": list(texts), "encoding_format": "float"}
        if self.endpoint.dimensions:
            body["dimensions"] = self.endpoint.dimensions
        for _ in range(max(1, len(self.settings.api_keys))):
            response = self._post(body)
            if response.status_code != 429:
                break  # else the next key may still have some of its quota
        self._raise_for(response.status_code, response.headers, response.text)
        expected = self._dim or self.endpoint.dimensions
        answer = parse_answer(_json_of(response, self.endpoint.place), len(texts), expected, self.endpoint.place)
        self._dim = answer[0].shape[1]
        return answer

    def _post(self, body: Json) -> Any:
        import httpx

        client, key = self._open()
        try:
            return client.post(
                f"{self.endpoint.base_url}/embeddings",
                json=body,
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
        except httpx.TimeoutException:
            raise ServiceUnavailable(
                f"{self.endpoint.place} did not answer within {self.settings.timeout_s:g} s."
            ) from None
        except httpx.HTTPError as error:
            raise ServiceUnavailable(f"{self.endpoint.place} can't be reached: {self._shown(str(error))}") from None

    def _raise_for(self, status: int, headers: Mapping[str, str], body: str) -> None:
        if status < 300:
            return
        said = f"{self.endpoint.place} answered {status}: {self._shown(body)}"
        if status in _TRANSIENT:
            raise ServiceUnavailable(said, retry_after_s=retry_after_s(headers, time.time()))
        if status == 413 or (status in (400, 422) and _TOO_LONG.search(body)):
            raise _TooLong(said)
        if status in (401, 403):
            raise BadSetting(f"{said}; check RUNATLAS_EMBED__API_KEYS.")
        if status < 400 or status in (404, 405):
            raise BadSetting(f"{said}; check the model's name {self.endpoint.model!r} and base_url.")
        raise EmbeddingFailed(said)

    def _shown(self, text: str) -> str:
        """A beginning of what a service said, without any of our keys, should it repeat them."""
        for key in self.settings.api_keys:
            text = text.replace(key, "***") if key else text
        return " ".join(text.split())[:_EXCERPT_CHARS]

    def _open(self) -> tuple[Any, str]:
        """The client, opened once, and whose turn it is among the keys."""
        with self._opening:
            if self._client is None:
                self._keys = itertools.cycle([key for key in self.settings.api_keys if key] or [""])
                self._client = open_client(
                    self.endpoint.base_url,
                    timeout_s=self.settings.timeout_s,
                    max_connections=self.settings.connections,
                )
            return self._client, next(self._keys)


def request_batches(texts: Sequence[str], batch_texts: int) -> Iterator[list[str]]:
    """The texts in order, at most `batch_texts` and about 200,000 characters a batch."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and (len(batch) == batch_texts or chars + len(text) > BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch


def parse_answer(answer: Json, n: int, dim: int | None, place: str) -> tuple[Vectors, int]:
    """(n, dim) unit vectors, put in order by their `index`, and the tokens that the service counted.

    Services built on protocol buffers leave out an index of 0, others leave it out everywhere and answer in order.
    Raises `EmbeddingFailed` unless there is exactly one finite, non-zero vector of the one dimension for each text.
    """
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != n:
        found = len(items) if isinstance(items, list) else "no"
        raise EmbeddingFailed(f"{place} gave {found} vectors for {n} texts.")
    by_index: dict[int, Json] = {}
    for item, index in zip(items, _indices(items), strict=True):
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < n or index in by_index:
            raise EmbeddingFailed(f"{place} gave a vector whose index {index!r} is repeated or out of range.")
        by_index[index] = item.get("embedding") if isinstance(item, dict) else None
    try:
        vectors = np.array([by_index[i] for i in range(n)], np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingFailed(f"{place} gave vectors that are no lists of numbers of one length.") from error
    if vectors.ndim != 2 or not vectors.shape[1] or (dim is not None and vectors.shape[1] != dim):
        raise EmbeddingFailed(f"{place} gave vectors of shape {vectors.shape}, expected ({n}, {dim or 'dim'}).")
    return unit(vectors), _tokens_of(answer)


def _indices(items: Sequence[Json]) -> list[Json]:
    """The index of each item; a single one without is 0 or the one left over, several stand where the list has them."""
    given = [item.get("index") if isinstance(item, dict) else None for item in items]
    if given.count(None) == 1:
        left = set(range(len(items))) - {index for index in given if isinstance(index, int)}
        if len(left) == 1:
            return [left.pop() if index is None else index for index in given]
    return [place if index is None else index for place, index in enumerate(given)]


def _tokens_of(answer: Mapping[str, Json]) -> int:
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) else 0


def _json_of(response: Any, place: str) -> Json:
    try:
        return response.json()
    except ValueError as error:
        raise EmbeddingFailed(f"{place} gave an answer that is no JSON.") from error


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the service asks us to wait: `Retry-After` as a number or a date, or its millisecond variant.

    >>> retry_after_s({"retry-after": "7"}, now=0.0)
    7.0
    """
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1_000)
        if (said := headers.get("retry-after")) is None:
            return None
        return max(0.0, float(said) if said.strip().replace(".", "", 1).isdigit() else _date(said) - now)
    except (TypeError, ValueError):
        return None


def _date(said: str) -> float:
    return parsedate_to_datetime(said).timestamp()


def open_service(uri: str, settings: EmbedSettings) -> ServiceEmbedder:
    """The embedder of `openai://MODEL?base_url=…&dimensions=…&batch=…&max_chars=…`; nothing is requested yet.

    Raises `BadSetting` on a URI without a model, an unknown option or a base_url that is no HTTP address.
    """
    address, _, query = uri.removeprefix("openai://").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not address or options.keys() - _OPTIONS:
        raise BadSetting(
            f"Model openai://{address}: write openai://MODEL?base_url=https://…/v1&dimensions=N; options are "
            f"{', '.join(sorted(_OPTIONS))}. Keys belong in RUNATLAS_EMBED__API_KEYS."
        )
    base_url = (options.get("base_url") or OPENAI).rstrip("/")
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
        raise BadSetting(f"Model openai://{address}: base_url has to be an http:// or https:// address.")
    endpoint = Endpoint(
        model=address,
        base_url=base_url,
        dimensions=_positive(options, "dimensions"),
        batch_texts=_positive(options, "batch") or settings.batch_texts or BATCH_TEXTS,
        max_chars=_positive(options, "max_chars") or MAX_CHARS,
    )
    return ServiceEmbedder(endpoint=endpoint, settings=settings)


def _positive(options: Mapping[str, str], name: str) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if not value.isdigit() or int(value) < 1:
        raise BadSetting(f"Option {name} of an openai:// model has to be a positive number, got {value!r}.")
    return int(value)
