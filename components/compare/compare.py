"""Compare two sets of runs of a published dataset."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from components.compare.chance import Chance
from components.compare.confounders import (
    Attribute,
    attributes_of,
    explaining,
    length_attribute,
    length_difference,
)
from components.compare.evidence import (
    SIDES,
    Labels,
    Reach,
    Speakers,
    ball,
    reach_of,
    speakers_of,
)
from components.compare.graph import MOST_CENTRES, Graph
from components.compare.material import DEFAULT_TASK, Material, Texts, read_material, texts_of
from components.compare.permute import ROUNDS, SIGNIFICANT, Lists, Null, chance_of, is_permutable, lists_of, null_of
from components.compare.report import Comparison, Reading, SetSize, is_of_its_side, newcombe
from components.compare.sets import NEITHER, A, B, Chosen, choose_sets
from components.compare.stored import graph_of_choice, n_stored_centres, whole_graph
from components.compare.topics import TopicDifference, compare_topics, runs_with_topics
from components.neighbors.cores import cores
from components.search.filters import Filters
from components.search.row_ids import RowIds
from components.search.vectors import SearchVectors
from components.snapshot.read import Snapshot, read_topics, topic_column
from components.store import Store

VERSION = 2  # of results
ITEMS = 20  # of each list
EXAMPLES = 3
WHOLE_SHARE = 0.6  # of the texts; sets that hold less have a graph of their own, with neighbours from themselves alone
LENGTHS_DIFFER = 4.0  # standard deviations from which on it is worth a caution
CENTRE_ROUND_S = 3e-6  # CPU of a round for each centre, and below what reading rows and comparing vectors takes
ROW_S, NEW_GRAPH_S = 4e-6, 1.5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A published dataset whose runs can be compared; `cache` is the folder of its graphs."""

    store: Store
    dataset_id: int
    snapshot: Snapshot
    ids: RowIds
    vectors: SearchVectors
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Two sets by filters (b None: all other runs), the key of `extra` that names a task, and how much to read."""

    a: Filters
    b: Filters | None = None
    task: str = DEFAULT_TASK
    rounds: int = ROUNDS
    tags: str = ""  # the state of the dataset's tags, where the filters name some

    def key(self, snapshot: Snapshot) -> str:
        """The id of the result: equal for the same question about the same snapshot."""
        spelled = {
            "version": VERSION,
            "snapshot": [snapshot.number, snapshot.manifest.created.isoformat()],
            "a": sorted(self.a.spelled()),
            "b": None if self.b is None else sorted(self.b.spelled()),
            "task": self.task,
            "rounds": self.rounds,
            **({"tags": self.tags} if self.tags else {}),
        }
        return hashlib.sha256(orjson.dumps(spelled)).hexdigest()[:32]


def estimated_s(snapshot: Snapshot, cache: Path) -> float:
    """About how long a comparison takes, in seconds, for a caller who may wait or not."""
    rows = snapshot.manifest.rows
    known = n_stored_centres(snapshot, cache)
    centres = min(rows, MOST_CENTRES) if known is None else known
    made = NEW_GRAPH_S * centres if known is None else 0.0
    return ROW_S * rows + made + 2 * ROUNDS * CENTRE_ROUND_S * centres / cores()


def compare(compared: Compared, request: Request) -> Comparison:
    """What tells the sets apart. Raises `BadQuery` if one is empty or if they overlap, `DiskFailed` if the cache fails."""
    store, dataset_id, snapshot = compared.store, compared.dataset_id, compared.snapshot
    material = read_material(store, dataset_id, snapshot, request.task)
    chosen = choose_sets(store, dataset_id, snapshot, material, request.a, request.b)
    return _Work(compared, request, material, chosen).result()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSides:
    """Of each row of a snapshot (rows,): whose it is (A, B or NEITHER), and its weight. The rows of each set weigh 1 together.

    A run weighs the same however long it is. Rows that no agent wrote are in neither set.
    """

    side: NDArray[np.int8]
    weight: NDArray[np.float64]


def sides_of_rows(compared: Compared, request: Request) -> RowSides:
    """The rows of both sets. Raises `BadQuery` as `compare` does."""
    store, dataset_id, snapshot = compared.store, compared.dataset_id, compared.snapshot
    material = read_material(store, dataset_id, snapshot, request.task)
    chosen = choose_sets(store, dataset_id, snapshot, material, request.a, request.b)
    of_run = np.select([chosen.a, chosen.b], [A, B], NEITHER).astype(np.int8)
    side = np.where(material.is_agent, of_run[material.run], NEITHER).astype(np.int8)
    lengths = np.bincount(material.run[side != NEITHER], minlength=material.n_runs)
    weight = np.where(side == NEITHER, 0.0, 1.0 / np.maximum(lengths[material.run], 1))
    for one in SIDES:
        weight[side == one] /= max(float(weight[side == one].sum()), 1e-12)
    return RowSides(side=side, weight=weight)


class _Work:
    """One comparison. Runs are numbered anew: only those of both sets, in their order."""

    def __init__(self, compared: Compared, request: Request, material: Material, chosen: Chosen) -> None:
        self.compared, self._request, self._material = compared, request, material
        members = np.flatnonzero(chosen.a | chosen.b)
        number = np.full(material.n_runs, -1, np.int32)
        number[members] = np.arange(len(members))
        self.is_a: Labels = chosen.a[members]
        self.run = number[material.run]  # (rows,) -1 for rows of other runs
        self._members = members
        self.rows = np.flatnonzero(material.is_agent & (self.run >= 0))
        self._task = material.task[members]

    def result(self) -> Comparison:
        texts, graph = self._texts_and_graph()
        speakers = speakers_of(texts.node, self.run[self.rows], n_nodes=len(texts.digests), n_runs=len(self.is_a))
        reach = reach_of(graph, speakers, self._task)
        chance = chance_of(reach, speakers, self.is_a)
        lists = lists_of(reach, speakers, self.is_a, chance, ITEMS)
        rounds, free = self._request.rounds, np.zeros(len(self.is_a), np.int64)
        null = null_of(reach, speakers, self.is_a, free, chance, most=ITEMS, rounds=rounds)
        within = None
        if self._strata is not None:
            within = null_of(reach, speakers, self.is_a, self._strata, chance, most=ITEMS, rounds=rounds)
        best = max((float(scores.max(initial=0.0)) for scores in lists.scores), default=0.0)
        return Comparison(
            snapshot=self.compared.snapshot.number,
            a=self._size(self.is_a, self._request.a, speakers),
            b=self._size(~self.is_a, self._request.b, speakers),
            p=null.p(best) if best > 0 else 1.0,
            p_within_tasks=None if within is None else within.p(best) if best > 0 else 1.0,
            needed=self._needed(null, chance, speakers),
            topics=tuple(self._topics()),
            reading=tuple(self._reading(reach, speakers, texts, lists, null, within)),
            cautions=tuple(self._cautions(speakers)),
            id=self._request.key(self.compared.snapshot),
        )

    @property
    def _strata(self) -> NDArray[np.int64] | None:
        """Runs by task, those without one together; None where no task has runs of both sets."""
        has_task = self._material.has_task[self._members]
        strata = np.where(has_task, self._task, -1)
        return strata if is_permutable(self.is_a[has_task], self._task[has_task]) else None

    def _texts_and_graph(self) -> tuple[Texts, Graph]:
        """The texts that the sets' rows are nodes of, and their graph: the dataset's, unless the sets are a small part of it."""
        compared, material = self.compared, self._material
        own = texts_of(compared.vectors, self.rows)
        every = np.flatnonzero(material.is_agent)
        if len(every) == len(self.rows):
            return own, whole_graph(compared.snapshot, compared.vectors, own, compared.cache)
        if len(self.rows) < WHOLE_SHARE * len(every):
            return own, graph_of_choice(compared.snapshot, compared.vectors, own, compared.cache)
        whole = texts_of(compared.vectors, every)
        graph = whole_graph(compared.snapshot, compared.vectors, whole, compared.cache)
        return replace(whole, node=np.searchsorted(whole.digests, own.digests)[own.node]), graph

    def _size(self, chosen: Labels, filters: Filters | None, speakers: Speakers) -> SetSize:
        members = self._members[chosen]
        return SetSize(
            filters=() if filters is None else tuple(filters.spelled()),
            runs=int(chosen.sum()),
            records=int(chosen[self.run[self.rows]].sum()),
            tasks=len(np.unique(self._material.task[members][self._material.has_task[members]])),
            median_texts=float(np.median(speakers.lengths[chosen])),
        )

    def _needed(self, null: Null, chance: Chance, speakers: Speakers) -> dict[str, int | None]:
        """How many like runs of one side alone are significant, if both evidences are equally surprising."""
        n, n_a = len(self.is_a), int(self.is_a.sum())
        if math.comb(n, n_a) < 1 / SIGNIFICANT:
            return {"a": None, "b": None}
        of_texts = float((speakers.lengths * self.is_a).sum() / max(1, speakers.lengths.sum()))
        found: dict[str, int | None] = {}
        for side, (size, share) in enumerate([(n_a, of_texts), (n - n_a, 1 - of_texts)]):
            expected = min(max(size / n, share), 1 - 1e-9)
            surprise = chance.of_count(side, np.arange(1, size + 1) * -math.log(expected))
            enough = np.flatnonzero(2 * surprise >= null.needed)
            found["ab"[side]] = int(enough[0]) + 1 if len(enough) else None
        return found

    def _cautions(self, speakers: Speakers) -> list[str]:
        found = []
        longer = length_difference(speakers.lengths, self.is_a)
        if abs(longer) >= LENGTHS_DIFFER:
            name = "a" if longer > 0 else "b"
            found.append(f"The runs of {name} are clearly longer. The test allows for that; counts of topics do not.")
        material, members = self._material, self._members
        if not material.has_task[members].any():
            found.append(
                "No run names its task, so different tasks in the two sets can't be distinguished from different behaviour."
            )
        models = material.model[members]
        if (
            material.has_model[members].mean() > 0.5
            and not is_permutable(self.is_a, models)
            and len(np.unique(models)) > 1
        ):
            found.append("No model has runs of both sets: whatever differs may be the model.")
        return found

    def _topics(self) -> list[TopicDifference]:
        snapshot = self.compared.snapshot
        topics = [one for one in read_topics(snapshot) if one["state"] == "active"]
        if not topics:
            return []
        column = topic_column(snapshot)[self.rows]
        has_topic = runs_with_topics(topics, column, self.run[self.rows], len(self.is_a))
        return compare_topics(has_topic, topics, self.is_a, self._strata)

    def _reading(
        self, reach: Reach, speakers: Speakers, texts: Texts, lists: Lists, null: Null, within: Null | None
    ) -> list[Reading]:
        """Both lists as one, the clearest first."""
        material, members = self._material, self._members
        attributes = attributes_of(
            self.is_a,
            task=self._task,
            has_task=material.has_task[members],
            model=material.model[members],
            has_model=material.has_model[members],
        )
        spoken = _Spoken(self, speakers, texts)
        found = []
        for side in SIDES:
            qs = null.q(side, lists.scores[side])
            for i, score, q in zip(lists.centres[side], lists.scores[side].tolist(), qs.tolist(), strict=True):
                item = _Item(reach=reach, i=i, column=int(lists.found.column[side, i]), side=side)
                p, p_within = null.p(score), None if within is None else within.p(score)
                found.append(spoken.reading(item, score, q, p, p_within, attributes))
        n_a, n = int(self.is_a.sum()), len(self.is_a)
        return sorted((one for one in found if is_of_its_side(one, n_a, n - n_a)), key=lambda one: -one.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """Centre `i` of a reach as an item of a side's list, whose behaviour goes up to a column."""

    reach: Reach
    i: int
    column: int
    side: int

    @property
    def runs(self) -> NDArray[np.int32]:
        """The runs of both sets that show it."""
        return self.reach.runs[self.i, : int(self.reach.tie_end[self.i, self.column]) + 1]


class _Spoken:
    """Items of the list with their records."""

    def __init__(self, work: _Work, speakers: Speakers, texts: Texts) -> None:
        self._speakers = speakers
        self._compared, self._is_a = work.compared, work.is_a
        run, rows = work.run, work.rows
        order = np.argsort(texts.node, kind="stable")
        self._rows, self._run = rows[order], run[rows[order]]
        self._starts = np.searchsorted(texts.node[order], np.arange(len(texts.digests) + 1))

    def _row(self, node: int, side: int) -> int | None:
        """The first row of a text in a run of the side."""
        rows = slice(self._starts[node], self._starts[node + 1])
        mine = self._rows[rows][self._is_a[self._run[rows]] == (side == 0)]
        return int(mine[0]) if len(mine) else None

    def reading(
        self, item: _Item, score: float, q: float, p: float, p_within: float | None, attributes: Sequence[Attribute]
    ) -> Reading:
        is_a, compared = self._is_a, self._compared
        around = ball(item.reach, item.i, item.column).tolist()
        own = np.bincount(np.concatenate([self._speakers.of(node) for node in around]), minlength=len(is_a))
        by_length = length_attribute(self._speakers.lengths - own)
        rows = [row for node in around[: 4 * EXAMPLES + 1] if (row := self._row(node, item.side)) is not None]
        ids = compared.ids.at(np.array(rows[: EXAMPLES + 1], np.int64))
        record = compared.store.records.by_ids(compared.dataset_id, ids[:1])[0].record
        carries = np.zeros(len(is_a), np.bool_)
        carries[item.runs[item.runs >= 0]] = True
        a, b, n_a = int((carries & is_a).sum()), int((carries & ~is_a).sum()), int(is_a.sum())
        return Reading(
            id=ids[0],
            side="ab"[item.side],
            runs_a=a,
            runs_b=b,
            q=round(q, 4),
            text=record.text,
            p=round(p, 4),
            p_within_tasks=None if p_within is None else round(p_within, 4),
            score=round(score, 3),
            interval=newcombe(a, n_a, b, len(is_a) - n_a),
            filename=record.filename,
            type=record.type,
            explained_by=tuple(explaining(carries, is_a, [by_length, *attributes])),
            examples=tuple(ids[1:]),
        )
