"""How clearly each neighbourhood belongs to one of two sets of runs, and which neighbourhoods to read first.

Around a centre, runs (not records) are met in order of distance. Two evidences that one set is denser there are taken at
its k-th run: how few runs of the other set lie as near (likelihood ratio of the scan statistic, Kulldorff 1997), and
how much farther out the other set's k-th run lies (ratio of distances). The best of each over k is compared with what
permuted labels show (chance.py), and the score is the sum of both surprises in nats (Fisher 1932).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.compare.chance import Chance, Samples, counted, counted_ratios
from components.compare.graph import Graph

MOST_RUNS = 128  # of a neighbourhood, at most
SIZES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32])  # k: runs of one set that a behaviour is looked for in
BLUR = 0.3  # cosine distance added everywhere: below it, how near two texts lie says little
SAME_DISTANCE = 1e-5
MOST_SHARED = 0.5  # of the runs of two items of a list, by Jaccard
SIDES = (0, 1)  # A, B
FIRST_CANDIDATES = 512

Runs = NDArray[np.int32]
Labels = NDArray[np.bool_]  # is a run of A, (runs,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speakers:
    """Who says what: node i is said by `runs[offsets[i]:offsets[i + 1]]`, each once."""

    offsets: NDArray[np.int64]
    runs: Runs
    n_runs: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many nodes each run says (runs,)."""
        return np.bincount(self.runs, minlength=self.n_runs)

    def of(self, node: int) -> Runs:
        """The runs that say a node."""
        return self.runs[self.offsets[node] : self.offsets[node + 1]]

    def said_by(self, chosen: Labels) -> NDArray[np.bool_]:
        """Which nodes some of these runs say (nodes,)."""
        counted = np.concatenate([[0], np.cumsum(chosen[self.runs])])
        return np.asarray(counted[self.offsets[1:]] > counted[self.offsets[:-1]], np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The runs around each centre (n, m), nearest first, -1 behind the last, and all that labels do not change."""

    centres: NDArray[np.int32]  # (n,) nodes
    near: NDArray[np.int32]  # (n, k) nodes around, itself first
    runs: Runs
    via: NDArray[np.int16]  # (n, m) the column of `near` that brought the run
    tie_end: NDArray[np.int16]  # (n, m) the last column at the same distance
    log_far: NDArray[np.float32]  # (n, m) log of distance + blur
    counts: NDArray[np.bool_]  # (n, m) is the run evidence: neither the centre's own nor of its task


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Per side and centre (2, n): the score in nats, and the column of `Reach.runs` up to which its behaviour goes."""

    score: NDArray[np.float64]
    column: NDArray[np.int64]


def speakers_of(node: NDArray[np.integer], run: NDArray[np.integer], *, n_nodes: int, n_runs: int) -> Speakers:
    """From records: `node` (records,) is the text of each, `run` (records,) its run."""
    pairs = np.unique(node.astype(np.int64) * max(n_runs, 1) + run)
    nodes, runs = np.divmod(pairs, max(n_runs, 1))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=n_nodes))])
    return Speakers(offsets=offsets, runs=runs.astype(np.int32), n_runs=n_runs)


def reach_of(graph: Graph, speakers: Speakers, task: NDArray[np.integer]) -> Reach:
    """The runs that a growing ball around each centre meets; centres that no run says are left out.

    `task` (runs,): runs of one task are no evidence to each other; a run without a task has a number of its own.
    """
    said = np.diff(speakers.offsets)
    centres = np.flatnonzero(said[: len(graph.near)]).astype(np.int32)
    near, similarity = graph.near[centres], graph.similarity[centres]
    m = min(MOST_RUNS, speakers.n_runs)
    runs, via = np.full((len(centres), m), -1, np.int32), np.zeros((len(centres), m), np.int16)
    shuffled = np.random.default_rng(0).permutation(speakers.n_runs)  # where a tie must be cut, it is cut at random
    for i, row in enumerate(near):
        found, column = _met(row, speakers, said, shuffled)
        runs[i, : len(found)], via[i, : len(found)] = found[:m], column[:m]
    far = np.maximum(1.0 - np.take_along_axis(similarity, via.astype(np.int64), axis=1), 0.0)
    own = np.append(task, -1)[runs]
    return Reach(
        centres=centres,
        near=near,
        runs=runs,
        via=via,
        tie_end=_tie_ends(far, runs),
        log_far=np.log(far + BLUR).astype(np.float32),
        counts=(runs >= 0) & (own != own[:, :1]),
    )


def _met(
    near: NDArray[np.int32], speakers: Speakers, said: NDArray[np.int64], shuffled: NDArray[np.int64]
) -> tuple[Runs, NDArray[np.int64]]:
    """The first `MOST_RUNS` runs around a centre, nearest first, and the column of `near` that brought each."""
    is_crowd = said[near] >= MOST_RUNS  # whatever is farther away than one of these brings no run
    is_crowd[near < 0] = False
    columns = np.flatnonzero(near >= 0)[: int(is_crowd.argmax()) + 1 if is_crowd.any() else None]
    row = near[columns]
    column = np.repeat(columns, said[row])
    first = np.repeat(speakers.offsets[row] - np.cumsum(said[row]) + said[row], said[row])
    met = speakers.runs[first + np.arange(len(column))]
    order = np.lexsort((shuffled[met], column))
    at = np.sort(np.unique(met[order], return_index=True)[1])[:MOST_RUNS]
    return met[order][at], column[order][at]


def _tie_ends(far: NDArray[np.floating], runs: Runs) -> NDArray[np.int16]:
    m = far.shape[1]
    ends = np.broadcast_to(np.arange(m, dtype=np.int16), far.shape).copy()
    for j in range(m - 2, -1, -1):
        tied = (far[:, j + 1] - far[:, j] < SAME_DISTANCE) & (runs[:, j + 1] >= 0)
        ends[tied, j] = ends[tied, j + 1]
    return ends


def evidence(reach: Reach, is_a: Labels, lengths: NDArray[np.integer], chance: Chance) -> Evidence:
    """How clearly each neighbourhood belongs to A, and to B. It goes up to where many runs end at a sharp border."""
    n = len(reach.runs)
    found = Evidence(score=np.zeros((2, n)), column=np.zeros((2, n), np.int64))
    for side, denser in enumerate(_denser(reach, is_a, lengths)):
        ratio = np.zeros((n, len(SIZES)))
        ratio[denser.row, denser.which] = chance.of_ratio(side, denser.which, denser.ratio)
        count = denser.spread(denser.count, n)
        most = count.max(axis=1)
        found.score[side] = np.where(most > 0, chance.of_count(side, most) + ratio.max(axis=1), 0.0)
        sharpest = (count * denser.spread(np.maximum(denser.ratio, 0.0) + SAME_DISTANCE, n)).argmax(axis=1)
        found.column[side] = denser.spread(denser.column, n)[np.arange(n), sharpest]
    return found


def sampled(reach: Reach, is_a: Labels, lengths: NDArray[np.integer]) -> Samples:
    """What these labels show, to measure chance by."""
    n = len(reach.runs)
    sides = _denser(reach, is_a, lengths)
    return Samples(
        count=np.stack([counted(one.spread(one.count, n).max(axis=1)) for one in sides]),
        ratio=np.stack([counted_ratios(one.which, one.ratio, len(SIZES)) for one in sides]),
        total=n,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Denser:
    """Where one side is denser than expected: at centre `row`, up to its run in `column`, the `SIZES[which]`-th of the side.

    `count` is the evidence of the scan statistic in nats, `ratio` the log ratio of distances to the k-th run of each side.
    """

    row: NDArray[np.int64]
    which: NDArray[np.int64]
    column: NDArray[np.int64]
    count: NDArray[np.float64]
    ratio: NDArray[np.floating]

    def spread(self, values: NDArray[Any], n: int) -> NDArray[Any]:
        """Values by centre and size (n, sizes), 0 elsewhere."""
        found = np.zeros((n, len(SIZES)), values.dtype)
        found[self.row, self.which] = values
        return found


def _denser(reach: Reach, is_a: Labels, lengths: NDArray[np.integer]) -> list[_Denser]:
    """Of both sides.

    What is rare is met in proportion to the length of runs, what every run does in proportion to their number: of a
    side's two shares the larger is expected, so that longer runs alone are no finding.
    """
    of_runs, of_texts = is_a.mean(), (lengths * is_a).sum() / max(1, lengths.sum())
    shares = [min(max(share), 1 - 1e-9) for share in ((of_runs, of_texts), (1.0 - of_runs, 1.0 - of_texts))]
    label = np.append(is_a, False)[reach.runs]
    met = [_Met.of(of_side & reach.counts) for of_side in (label, ~label)]
    farthest = np.where(reach.runs >= 0, reach.log_far, -np.inf).max(axis=1, initial=-np.inf)
    return [_of_side(reach, met[side], met[1 - side], farthest, shares[side]) for side in SIDES]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    """The runs of one side around each centre: columns (all of them, centre by centre), and where each centre's begin."""

    columns: NDArray[np.int64]
    starts: NDArray[np.int64]  # (n + 1,)
    counted: NDArray[np.int16]  # (n, m) how many up to each column

    @classmethod
    def of(cls, mine: NDArray[np.bool_]) -> _Met:
        counted = np.cumsum(mine, axis=1, dtype=np.int16)
        starts = np.concatenate([[0], np.cumsum(counted[:, -1], dtype=np.int64)])
        return cls(columns=np.flatnonzero(mine) % mine.shape[1], starts=starts, counted=counted)

    def nth(self, row: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.int64]:
        """The column of the k-th run of each row, which has so many."""
        return np.asarray(self.columns[self.starts[row] + k - 1], np.int64)


def _of_side(reach: Reach, mine: _Met, others: _Met, farthest: NDArray[np.floating], share: float) -> _Denser:
    row, which = np.nonzero(np.diff(mine.starts)[:, None] >= SIZES)
    k = SIZES[which]
    at = mine.nth(row, k)
    n_others = others.counted[row, reach.tie_end[row, at]].astype(np.int64)
    is_dense = k > share * (k + n_others)
    row, which, k, at, n_others = row[is_dense], which[is_dense], k[is_dense], at[is_dense], n_others[is_dense]
    has_kth = np.diff(others.starts)[row] >= k
    theirs = farthest[row]
    theirs[has_kth] = reach.log_far[row[has_kth], others.nth(row[has_kth], k[has_kth])]
    return _Denser(
        row=row,
        which=which,
        column=at,
        count=_count_evidence(share)[which, n_others],
        ratio=theirs - reach.log_far[row, at],
    )


def _count_evidence(share: float) -> NDArray[np.float64]:
    """By size and number of others (sizes, others): nats that so many of one side among them are not chance."""
    k, others = SIZES[:, None].astype(float), np.arange(MOST_RUNS + 1.0)[None, :]
    both = k + others
    found = k * np.log(k / both / share) + others * np.log(np.maximum(others, 1) / both / (1.0 - share))
    return np.asarray(np.maximum(found, 0.0), np.float64)


def reading_list(reach: Reach, found: Evidence, side: int, speakers: Speakers, of_side: Labels, most: int) -> list[int]:
    """The centres to read (their numbers in `reach`), best first.

    One for each neighbourhood, said by a run of the side, and none that mostly the same runs brought.
    """
    score = np.where(speakers.said_by(of_side)[reach.centres], found.score[side], 0.0)
    chosen = _Chosen(reach, len(speakers.offsets) - 1, of_side)
    for i in _best_first(score):
        if len(chosen.items) == most:
            break
        chosen.offer(int(i), int(found.column[side][i]))
    return chosen.items


def _best_first(score: NDArray[np.float64]) -> Sequence[int]:
    """Where positive scores are, the largest first. A list seldom needs more than the first few hundred."""
    some = np.flatnonzero(score > 0)
    if len(some) > 4 * FIRST_CANDIDATES:
        bound = np.partition(score[some], -FIRST_CANDIDATES)[-FIRST_CANDIDATES]
        first = some[score[some] >= bound]
        return _Lazily(score, first, some[score[some] < bound])
    ordered: list[int] = some[np.argsort(-score[some], kind="stable")].tolist()
    return ordered


class _Lazily(Sequence[int]):
    """The first candidates sorted at once, the others when they are asked for."""

    def __init__(self, score: NDArray[np.float64], first: NDArray[np.int64], rest: NDArray[np.int64]) -> None:
        self._score, self._rest = score, rest
        self._sorted: list[int] = first[np.argsort(-score[first], kind="stable")].tolist()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._rest)

    def __getitem__(self, at: int) -> int:  # type: ignore[override]
        if at >= len(self._sorted) and len(self._rest):
            self._sorted += self._rest[np.argsort(-self._score[self._rest], kind="stable")].tolist()
            self._rest = self._rest[:0]
        return self._sorted[at]


class _Chosen:
    """A reading list that grows."""

    def __init__(self, reach: Reach, n_nodes: int, of_side: Labels) -> None:
        self.items: list[int] = []
        self._reach, self._of_side = reach, of_side
        self._covered, self._taken = np.zeros(n_nodes, np.bool_), np.zeros(n_nodes, np.bool_)
        self._carriers: list[set[int]] = []

    def offer(self, i: int, column: int) -> None:
        """Take a centre unless an earlier one stands for it."""
        reach = self._reach
        around = ball(reach, i, column)
        if self._covered[reach.centres[i]] or self._taken[around].any():
            return
        runs = reach.runs[i, : column + 1]
        now = set(runs[self._of_side[runs]].tolist())
        if any(len(now & before) > MOST_SHARED * len(now | before) for before in self._carriers):
            return
        self.items.append(i)
        self._carriers.append(now)
        self._taken[reach.centres[i]] = self._covered[around] = True


def ball(reach: Reach, i: int, column: int) -> NDArray[np.int32]:
    """The nodes that centre i's behaviour consists of, nearest first."""
    around = reach.near[i, : int(reach.via[i, column]) + 1]
    return around[around >= 0]
