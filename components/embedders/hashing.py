"""The embedder without a model: each text gets a pseudo-random direction, the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contracts import Embedded
from components.embedders.texts import distinct
from components.errors import BadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class HashEmbedder:
    """Directions drawn evenly from the sphere by SHAKE-256 of the text. Equal texts agree, all others are unrelated."""

    dim: int

    @property
    def identity(self) -> str:
        return f"hash dim={self.dim} shake256 v1"

    def embed(self, texts: Sequence[str]) -> Embedded:
        unique = distinct(texts)
        vectors = np.empty((len(unique.texts), self.dim), np.float32)
        for row, text in enumerate(unique.texts):
            vectors[row] = hash_vector(text, self.dim)
        return Embedded(vectors=vectors[unique.where])


def hash_vector(text: str, dim: int) -> NDArray[np.float32]:
    """(dim,) float32 of unit length: Box-Muller over SHAKE-256 of the text, so the direction is uniform on the sphere."""
    pairs = (dim + 1) // 2
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(16 * pairs)
    uniform = (np.frombuffer(raw, "<u8").astype(np.float64) + 0.5) / 2.0**64
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:dim]
    return np.asarray(normal / np.linalg.norm(normal), np.float32)


def open_hashing(uri: str) -> HashEmbedder:
    """The embedder of `hash://DIM`. Raises `BadSetting` on a dimension that is no number from 1 to 65,536."""
    match = re.fullmatch(r"hash://(\d{1,5})/?", uri)
    if not match or not 1 <= int(match[1]) <= 65_536:
        raise BadSetting(f"Model {uri!r}: write hash://DIM with DIM from 1 to 65536, as in hash://384.")
    return HashEmbedder(dim=int(match[1]))
