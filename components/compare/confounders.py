"""What else could explain a difference: how long runs are, which tasks they have, which model made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compare.evidence import Labels
from components.compare.permute import is_permutable

CLEAR = 2.0  # standard deviations
LENGTH_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """Something by which runs can be grouped: a code for each run (runs,)."""

    name: str
    codes: NDArray[np.int64]


def attributes_of(
    is_a: Labels,
    *,
    task: NDArray[np.int64],
    has_task: Labels,
    model: NDArray[np.int64],
    has_model: Labels,
) -> list[Attribute]:
    """Task and model, as far as they are known of most runs and some value has runs of both sets."""
    known = [
        Attribute(name=name, codes=codes)
        for name, codes, has in (("task", task, has_task), ("model", model, has_model))
        if has.mean() > 0.5
    ]
    return [one for one in known if len(np.unique(one.codes)) > 1 and is_permutable(is_a, one.codes)]


def length_attribute(lengths: NDArray[np.integer]) -> Attribute:
    """Runs in quarters by length; a behaviour's own texts are not to be counted, or it would always explain itself."""
    edges = np.quantile(lengths, np.arange(1, LENGTH_GROUPS) / LENGTH_GROUPS)
    return Attribute(name="length", codes=np.searchsorted(edges, lengths).astype(np.int64))


def explaining(carries: Labels, is_a: Labels, attributes: Sequence[Attribute]) -> list[str]:
    """The attributes without which nothing of a difference is left: within runs of equal length, task or model, that is.

    `carries` (runs,) are the runs that show the behaviour. Cochran, Mantel and Haenszel's test, whose strata are the groups.
    """
    if abs(_deviation(carries, is_a, np.zeros(len(is_a), np.int64))) < CLEAR:
        return []
    return [one.name for one in attributes if abs(_deviation(carries, is_a, one.codes)) < CLEAR]


def _deviation(carries: Labels, is_a: Labels, strata: NDArray[np.int64]) -> float:
    """By how many standard deviations more runs of A show it than their number in each stratum lets expect."""
    _, code = np.unique(strata, return_inverse=True)
    n, a, m = (np.bincount(code, weights=weights) for weights in (np.ones(len(code)), is_a, carries))
    seen = float((carries & is_a).sum())
    variance = float((a * (n - a) * m * (n - m) / np.maximum(n * n * (n - 1), 1)).sum())
    return (seen - float((a * m / n).sum())) / np.sqrt(variance) if variance > 0 else 0.0


def length_difference(lengths: NDArray[np.integer], is_a: Labels) -> float:
    """How surely runs of A are longer (> 0) or shorter, in standard deviations of the rank sum."""
    from scipy import stats

    if lengths.min(initial=0) == lengths.max(initial=0):
        return 0.0
    ranks = stats.rankdata(lengths)
    n, n_a = len(ranks), int(is_a.sum())
    spread = float(ranks.std()) * np.sqrt(n_a * (n - n_a) / max(1, n - 1))
    return float(ranks[is_a].sum() - n_a * ranks.mean()) / spread if spread else 0.0
