"""Names of hills: by a language model if one is set, else from phrases of their rows, else `Cluster 3`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from components.contracts import Embedder, Vectors
from components.errors import EmbeddingFailed, ServiceUnavailable, TransientError
from components.topics.chat import ChatModel
from components.topics.model_names import model_name
from components.topics.names import ROW_TYPE, ClosenessOf, Name, Sample, keyword_names

logger = logging.getLogger(__name__)

MAX_SAMPLE: Final = 60  # rows of a hill that name it
WIDE_SHARE: Final = 0.1  # of a hill's rows have the phrase that names it, where none is in more of them
MODEL_SAMPLE: Final = 10  # of these that a language model is shown
NEAREST: Final = 2  # other hills that it is shown for contrast
GIVE_UP_AFTER: Final = 4  # hills in a row that it gave no name for
PHRASES: Final = 256  # embedded at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Names of hills in their order, and for how many a language model was asked and gave none."""

    names: Sequence[Name]
    n_failed: int


def label_hills(
    texts: Sequence[Sequence[str]],
    centroids: Vectors,
    *,
    embedder: Embedder,
    chat: ChatModel | None,
    connections: int,
    progress: Callable[[int, int], None],
) -> Labels:
    """Labels of hills from their most typical texts, typical first."""
    samples = [_sample(one) for one in texts]
    closeness = _closeness(embedder, centroids)
    names = list(keyword_names(samples, closeness))
    wider = keyword_names(samples, closeness, taken=[name.name for name in names], min_share=WIDE_SHARE)
    names = [_spoken(id, *both) for id, both in enumerate(zip(names, wider, strict=True))]
    n_failed = 0
    if chat is not None and names:
        given = _by_model(chat, texts, centroids, connections, progress)
        n_failed = len(names) - len(given)
        names = _without_duplicates([given.get(id, name) for id, name in enumerate(names)])
    return Labels(names=names, n_failed=n_failed)


def _sample(texts: Sequence[str]) -> Sample:
    n = len(texts)
    return Sample(texts=list(texts), types=[ROW_TYPE] * n, tools=[""] * n, runs=[""] * n)


def _spoken(id: int, name: Name, wider: Name) -> Name:
    """The first of both that is made of phrases, or the hill's number."""
    found = next((one for one in (name, wider) if one.source == "keywords"), None)
    return found or Name(name=f"Cluster {id}", description=name.description, source="fallback")


def _without_duplicates(names: Sequence[Name]) -> list[Name]:
    found: list[Name] = []
    taken: set[str] = set()
    for name in names:
        chosen, n = name.name, 1
        while chosen in taken:
            n += 1
            chosen = f"{name.name} ({n})"
        taken.add(chosen)
        found.append(Name(name=chosen, description=name.description, source=name.source))
    return found


def _closeness(embedder: Embedder, centroids: Vectors) -> ClosenessOf:
    """How close phrases are to hills, by the model of the dataset; all the same where it can't tell."""

    def closeness(pairs: Sequence[tuple[int, str]]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        phrases = sorted({phrase for _, phrase in pairs})
        try:
            parts = [embedder.embed(phrases[at : at + PHRASES]).vectors for at in range(0, len(phrases), PHRASES)]
        except (TransientError, EmbeddingFailed) as error:
            logger.warning("Hills are named without the model: %s", error)
            return np.zeros(len(pairs), np.float32)
        row = {phrase: at for at, phrase in enumerate(phrases)}
        vectors = np.concatenate([np.empty((0, embedder.dim), np.float32), *parts])
        return np.array([vectors[row[phrase]] @ centroids[hill] for hill, phrase in pairs], np.float32)

    return closeness


def _by_model(
    chat: ChatModel,
    texts: Sequence[Sequence[str]],
    centroids: Vectors,
    connections: int,
    progress: Callable[[int, int], None],
) -> dict[int, Name]:
    """Names by a language model, of those hills for which it gave one; it is given up after some failures in a row."""
    closeness = centroids @ centroids.T
    np.fill_diagonal(closeness, -2.0)

    def ask(hill: int) -> Name | None:
        near = np.argsort(-closeness[hill])[: min(NEAREST, len(texts) - 1)]
        others = [text for one in near for text in texts[one][: MODEL_SAMPLE // 2]]
        try:
            return model_name(chat.complete, texts[hill][:MODEL_SAMPLE], others)
        except ServiceUnavailable as error:
            logger.warning("%s", error)
            return None

    found: dict[int, Name] = {}
    n_failed = 0
    with ThreadPoolExecutor(connections, "label") as pool:
        for start in range(0, len(texts), connections):
            group = range(start, min(start + connections, len(texts)))
            for hill, name in zip(group, pool.map(ask, group), strict=True):
                n_failed = 0 if name else n_failed + 1
                if name:
                    found[hill] = name
            progress(group.stop, len(texts))
            if n_failed >= GIVE_UP_AFTER:
                logger.warning("The language model is not asked any more.")
                break
    return found
