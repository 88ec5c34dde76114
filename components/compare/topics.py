"""Topics that more runs of one set have than of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.compare.evidence import Labels
from components.compare.permute import permuted
from components.contracts import NO_TOPIC

ROUNDS = 1_000
LEAST_RUNS = 3  # that have a topic; fewer can show nothing, and would only make the others' q larger


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDifference:
    """Runs of A and of B that have the topic. `lift` is the ratio of their shares, half a run added to each count.

    `q` is Benjamini and Hochberg's (1995) of Fisher's exact test, which is what permuting labels over runs comes to;
    `p_within_tasks` permutes them within tasks, None where no task has runs of both sets.
    """

    id: int
    name: str
    level: int
    runs_a: int
    runs_b: int
    lift: float
    p: float
    q: float
    p_within_tasks: float | None


def compare_topics(
    has_topic: NDArray[np.bool_], topics: Sequence[Mapping[str, Any]], is_a: Labels, strata: NDArray[np.integer] | None
) -> list[TopicDifference]:
    """The topics by q, from which runs (topics, runs) have each; `strata` (runs,) are tasks."""
    from scipy import stats

    n_a, n_b = int(is_a.sum()), int((~is_a).sum())
    enough = np.flatnonzero(has_topic.sum(axis=1) >= LEAST_RUNS)
    has_topic = has_topic[enough]
    a, b = has_topic[:, is_a].sum(axis=1), has_topic[:, ~is_a].sum(axis=1)
    p = np.array([stats.fisher_exact([[x, n_a - x], [y, n_b - y]]).pvalue for x, y in zip(a, b, strict=True)])
    lift = ((a + 0.5) / (n_a + 1)) / ((b + 0.5) / (n_b + 1))
    within = _within(has_topic, is_a, strata) if strata is not None else [None] * len(enough)
    found = [
        TopicDifference(
            id=int(topics[at]["id"]),
            name=str(topics[at]["name"]),
            level=int(topics[at]["level"]),
            runs_a=int(a[i]),
            runs_b=int(b[i]),
            lift=round(float(lift[i]), 3),
            p=float(p[i]),
            q=float(q),
            p_within_tasks=within[i],
        )
        for i, (at, q) in enumerate(zip(enough.tolist(), benjamini_hochberg(p), strict=True))
    ]
    return sorted(found, key=lambda one: (one.q, one.p, one.id))


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The q-value of each p-value.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def _within(has_topic: NDArray[np.bool_], is_a: Labels, strata: NDArray[np.integer]) -> list[float | None]:
    random = np.random.default_rng(0)
    labels = np.stack([permuted(is_a, strata, random) for _ in range(ROUNDS)]).astype(np.float32)
    counts = has_topic.astype(np.float32) @ labels.T
    expected = counts.mean(axis=1, keepdims=True)
    seen = np.abs(has_topic[:, is_a].sum(axis=1, keepdims=True) - expected)
    extreme = (np.abs(counts - expected) >= seen - 1e-6).sum(axis=1)
    return [float((1 + n) / (1 + ROUNDS)) for n in extreme]


def runs_with_topics(
    topics: Sequence[Mapping[str, Any]], topic: NDArray[np.int32], run: NDArray[np.int32], n_runs: int
) -> NDArray[np.bool_]:
    """Which runs have a record in each topic or group (topics, runs); `topic` and `run` (records,)."""
    place = {int(one["id"]): at for at, one in enumerate(topics)}
    parents = {int(one["id"]): int(one["parent"]) for one in topics}
    has = np.zeros((len(topics), n_runs), np.bool_)
    for id in np.unique(topic).tolist():
        mine = np.unique(run[topic == id])
        while id in place and id != NO_TOPIC:
            has[place[id], mine] = True
            id = parents[id]  # noqa: PLW2901 - up to the coarsest group
    return has
