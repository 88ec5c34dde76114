"""A BERT encoder in numpy alone: the reference for the ONNX graph, whose vectors equal its own to 1e-6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contracts import Vectors
from components.embedders.texts import Engine, Ids
from components.embedders.weights import BertShape, open_tensors

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoder:
    tensors: Mapping[str, Array]
    shape: BertShape

    def vectors(self, ids: Ids) -> Vectors:
        """(n, dim) unit vectors of (n, length) ids of texts of equal length."""
        positions = self.tensors["embeddings.position_embeddings.weight"][: ids.shape[1]]
        kind = self.tensors["embeddings.token_type_embeddings.weight"][0]
        x = self.tensors["embeddings.word_embeddings.weight"][ids] + (positions + kind)
        x = self._norm(x, "embeddings.LayerNorm")
        for i in range(self.shape.layers):
            x = self._layer(x, f"encoder.layer.{i}.")
        pooled = x.mean(axis=1)
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), np.float32)

    def _layer(self, x: Array, prefix: str) -> Array:
        attended = self._linear(self._attention(x, f"{prefix}attention.self."), f"{prefix}attention.output.dense")
        x = self._norm(attended + x, f"{prefix}attention.output.LayerNorm")
        inner = _gelu(self._linear(x, f"{prefix}intermediate.dense"))
        return self._norm(self._linear(inner, f"{prefix}output.dense") + x, f"{prefix}output.LayerNorm")

    def _attention(self, x: Array, prefix: str) -> Array:
        n, length, dim = x.shape
        heads = (n, length, self.shape.heads, dim // self.shape.heads)
        query, key, value = (
            self._linear(x, prefix + part).reshape(heads).transpose(0, 2, 1, 3) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(heads[3] ** 0.5)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.asarray((weights @ value).transpose(0, 2, 1, 3).reshape(n, length, dim))

    def _linear(self, x: Array, name: str) -> Array:
        flat = x.reshape(-1, x.shape[-1]) @ self.tensors[f"{name}.weight"].T
        flat += self.tensors[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self.shape.epsilon))
        return np.asarray(centred / deviation * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])


def _gelu(x: Array) -> Array:
    """x/2 (1 + erf(x/sqrt 2)); erf by Abramowitz and Stegun 7.1.26, whose error is at most 1.5e-7."""
    z = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(coefficient)
    erf = np.copysign(1 - series * t * np.exp(-z * z), x)
    return np.asarray(x * (1 + erf) * np.float32(0.5), np.float32)


def open_numpy(safetensors: Path, shape: BertShape) -> Engine:
    """The model with all its weights read; BLAS spreads each product over the cores by itself."""
    with open_tensors(safetensors) as tensors:
        encoder = _Encoder(tensors={name: tensors[name] for name in tensors if "position_ids" not in name}, shape=shape)
    return Engine(run=encoder.vectors)
