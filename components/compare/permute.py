"""What chance alone would show: the labels of whole runs permuted on the fixed graph, freely or within tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from components.compare.chance import Chance, chance_from
from components.compare.evidence import SIDES, Evidence, Labels, Reach, Speakers, evidence, reading_list, sampled
from components.neighbors.cores import on_all_cores

ROUNDS = 200
CHANCE_ROUNDS = 16  # to measure surprise by: all centres of a round count, so few are enough
SIGNIFICANT = 0.01  # family-wise; a 5 % test calls one of twenty harmless comparisons a finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Both reading lists of one labelling: centres (numbers in the reach) and their scores, best first."""

    found: Evidence
    centres: Sequence[Sequence[int]]
    scores: Sequence[NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """The scores of the lists of permuted labels (rounds, 2, items), 0 behind the last item."""

    scores: NDArray[np.float64]

    def p(self, score: float) -> float:
        """Family-wise: how often the best item of both lists is as good by chance."""
        highest = self.scores.max(axis=(1, 2), initial=0.0)
        return float((1 + (highest >= score).sum()) / (1 + len(highest)))

    def q(self, side: int, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each item of a side's list: the expected share of chance among it and those before it."""
        chance = (self.scores[:, side].ravel() >= scores[:, None]).sum(axis=1)
        shares = chance / len(self.scores) / np.arange(1, len(scores) + 1)
        return np.asarray(np.minimum(np.minimum.accumulate(shares[::-1])[::-1], 1.0), np.float64)

    @property
    def needed(self) -> float:
        """The score from which on an item is significant."""
        highest = np.sort(self.scores.max(axis=(1, 2), initial=0.0))
        allowed = int(SIGNIFICANT * (len(highest) + 1)) - 1
        return float(highest[-1 - allowed]) if 0 <= allowed < len(highest) else float("inf")


def chance_of(reach: Reach, speakers: Speakers, is_a: Labels, *, seed: int = 0) -> Chance:
    """What permuted labels show at the centres. Other permutations than those that p-values are made of."""
    random = np.random.default_rng((seed, 1))
    free, lengths = np.zeros(len(is_a), np.int64), speakers.lengths
    labels = [permuted(is_a, free, random) for _ in range(CHANCE_ROUNDS)]
    found = list(on_all_cores(lambda one: sampled(reach, one, lengths), labels))
    return chance_from(reduce(add, found))


def lists_of(reach: Reach, speakers: Speakers, is_a: Labels, chance: Chance, most: int) -> Lists:
    """What to read of A and of B."""
    found = evidence(reach, is_a, speakers.lengths, chance)
    centres = [reading_list(reach, found, side, speakers, is_a == (side == 0), most) for side in SIDES]
    return Lists(found=found, centres=centres, scores=[found.score[side][centres[side]] for side in SIDES])


def null_of(
    reach: Reach,
    speakers: Speakers,
    is_a: Labels,
    strata: NDArray[np.integer],
    chance: Chance,
    *,
    most: int,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Null:
    """The lists that permuted labels give; a run takes the label of another one of its stratum (runs,)."""
    random = np.random.default_rng(seed)
    labels = [permuted(is_a, strata, random) for _ in range(rounds)]
    scores = np.zeros((rounds, len(SIDES), most))

    def one(round_no: int) -> None:
        lists = lists_of(reach, speakers, labels[round_no], chance, most)
        for side in SIDES:
            scores[round_no, side, : len(lists.scores[side])] = lists.scores[side]

    for _ in on_all_cores(one, range(rounds)):
        pass
    return Null(scores=scores)


def permuted(is_a: Labels, strata: NDArray[np.integer], random: np.random.Generator) -> Labels:
    """The labels, shuffled within each stratum."""
    labels = np.empty_like(is_a)
    labels[np.lexsort((random.random(len(is_a)), strata))] = is_a[np.argsort(strata, kind="stable")]
    return labels


def is_permutable(is_a: Labels, strata: NDArray[np.integer]) -> bool:
    """Is there a stratum with runs of both sets?"""
    _, codes = np.unique(strata, return_inverse=True)
    n, n_a = np.bincount(codes), np.bincount(codes, weights=is_a)
    return bool(((n_a > 0) & (n_a < n)).any())
