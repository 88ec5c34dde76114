"""Search a published dataset: by meaning, by words, or by both, fused by reciprocal rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.contracts import Embedder, Record
from components.errors import BadQuery, ModelChanged, NotFound
from components.search.filters import Filters
from components.search.row_ids import RowIds
from components.search.rows import accepted_rows
from components.search.vectors import Accepted, Best, SearchVectors, distinct
from components.search.within import centred, operation_filters
from components.snapshot.read import Snapshot
from components.store import Store
from components.store.words import Found

Mode = Literal["meaning", "words", "both"]
max_query_chars = 4_000
max_hits = 1_000
fused_rank = 30  # of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009, who use 60
fused_hits = 100  # of each ranking, at least
some_words_weight = 0.1  # of records with some of the words, beside those with all of them and those of like meaning
max_matches = 1_000  # records with the words, among which the best texts are
max_filtered = 100_000  # records with the words that filters are applied to
dislike_weight = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is searched for: a text, records that are `like` it by id and others that are not, or a vector.

    `mode` applies to a text; everything else is compared by meaning. `within_operation`: only with the spans of the
    operation of the one record that is liked, by what differs between them.
    """

    text: str = ""
    like: Sequence[str] = ()
    unlike: Sequence[str] = ()
    vector: Sequence[float] = ()
    mode: Mode = "both"
    k: int = 10
    filters: Filters = field(default_factory=Filters)
    within_operation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A record, for all of equal text: `count` records have it. The position is on the map; scores order one answer."""

    record: Record
    score: float
    count: int
    x: float | None
    y: float | None

    def as_dict(self) -> dict[str, Any]:
        """The record's fields, and `score`, `count`, `x`, `y`."""
        return {**self.record._asdict(), "score": self.score, "count": self.count, "x": self.x, "y": self.y}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A published dataset that can be searched: the ids and vectors of the snapshot's rows.

    The model is opened for texts that are compared by meaning alone: words and ids are found whatever its settings.
    """

    store: Store
    dataset_id: int
    snapshot: Snapshot
    ids: RowIds
    vectors: SearchVectors
    open_embedder: Callable[[], Embedder]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranked:
    """One record of each text, best first; with the comparison that the ranking comes from, if it is one.

    `weight` is that of its ranks among others.
    """

    ids: Sequence[str]
    scores: Sequence[float]
    weight: float = 1.0
    compared: _Compared | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A direction (dim,) of unit length, and what is best in it."""

    direction: NDArray[np.float32]
    best: Best


def search(searched: Searched, query: Query) -> list[Hit]:
    """The best hits, equal texts folded into one.

    Raises `BadQuery` for a query that is empty, too long or of another dimension, `NotFound` for an unknown record,
    `ModelChanged` if the settings name another model than the map's.
    """
    check(query)
    if query.within_operation:
        return _within_operation(searched, query)
    accepted = _accepted_rows(searched, query)
    rankings: list[_Ranked] = []
    if query.mode != "words" or not query.text:
        rankings.append(_by_meaning(searched, query, accepted))
    if query.text and query.mode != "meaning":
        rankings.append(_by_words(searched, query, accepted, every=True))
    if query.text and query.mode == "both":
        rankings.append(_by_words(searched, query, accepted, every=False))
    return _hits(searched, query, rankings, accepted)


def check(query: Query) -> None:
    """Raises `BadQuery` for one that can't be answered."""
    if not 1 <= query.k <= max_hits:
        raise BadQuery(f"k is {query.k}: give a number from 1 to {max_hits}.")
    if len(query.text) > max_query_chars:
        raise BadQuery(f"The query has {len(query.text):,} characters; at most {max_query_chars:,} are allowed.")
    for name in query.filters.extra:
        if not name or '"' in name:
            raise BadQuery(f"The name of the extra field {name!r} can't be used: leave out the quotes.")
    if not (query.text.strip() or query.like or len(query.vector)):
        raise BadQuery("The query is empty: give a text, the id of a record, or a vector.")
    if query.within_operation and (query.text or len(query.like) != 1 or query.unlike or len(query.vector)):
        raise BadQuery(
            "Within an operation the records that are similar to one record can be searched: give its id alone."
        )


# --- by meaning


def _accepted_rows(searched: Searched, query: Query) -> Accepted:
    """The rows that the filters accept (rows,), None for all."""
    if not query.filters:
        return None
    return accepted_rows(searched.store, searched.dataset_id, searched.snapshot, query.filters)


def _by_meaning(searched: Searched, query: Query, accepted: Accepted) -> _Ranked:
    """The accepted rows that are closest to the query's vector, but for the records that are liked."""
    direction = _direction(searched, query)
    is_fused = bool(query.text) and query.mode == "both"
    n = (max(query.k, fused_hits) if is_fused else query.k) + len(query.like)
    best = searched.vectors.best(direction, n, accepted)
    compared = _Compared(direction=direction, best=best)
    ids = [
        id if id not in query.like else _equal_to(searched, query, row, accepted, compared)
        for row, id in zip(best.rows.tolist(), searched.ids.at(best.rows), strict=True)
    ]
    kept = [(id, score) for id, score in zip(ids, best.scores.tolist(), strict=True) if id]
    return _Ranked(ids=[id for id, _ in kept], scores=[score for _, score in kept], compared=compared)


def _equal_to(searched: Searched, query: Query, row: int, accepted: Accepted, compared: _Compared) -> str:
    """The id of another row with the vector of this one, which is a record that is liked; "" if there is none."""
    vector = searched.vectors.at(np.array([row])).astype(np.float32)
    (equal,) = searched.vectors.equal_rows(vector, accepted, compared.direction, compared.best)
    return next((id for id in searched.ids.at(equal) if id not in query.like), "")


def _within_operation(searched: Searched, query: Query) -> list[Hit]:
    """The spans of the same operation that are most similar by what differs between them."""
    (id,) = query.like
    stored = searched.store.records.by_id(searched.dataset_id, id)
    vector = _vector_of(searched, id)
    operation = operation_filters(id, stored.record.extra if stored else {})
    own = _accepted_rows(searched, replace(query, filters=operation))
    wanted = _accepted_rows(searched, query)
    assert own is not None
    best = centred(np.flatnonzero(own), searched.vectors.at, vector)
    is_other = np.array([one != id for one in searched.ids.at(best.rows)], np.bool_)
    is_wanted = is_other if wanted is None else is_other & wanted[best.rows]
    rows, scores = best.rows[is_wanted], best.scores[is_wanted]
    first = distinct(searched.vectors.at, rows, scores, query.k) if len(rows) else rows
    at = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    ranked = _Ranked(ids=searched.ids.at(first), scores=[at[row] for row in first.tolist()])
    return _hits(searched, query, [ranked], wanted)


def _as_ids(ids: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([id.encode("ascii", "replace") for id in ids], "S32")


def _direction(searched: Searched, query: Query) -> NDArray[np.float32]:
    """The vector that is searched for (dim,), of unit length: Rocchio's, with likes and dislikes."""
    dim = searched.snapshot.manifest.dim
    likes: list[NDArray[np.float32]] = []
    if query.text.strip():
        likes.append(_embedded(searched, query.text))
    if len(query.vector):
        likes.append(_given(query.vector, dim))
    likes += [_vector_of(searched, id) for id in query.like]
    dislikes = [_vector_of(searched, id) for id in query.unlike]
    direction = np.mean(likes, axis=0) - (dislike_weight * np.mean(dislikes, axis=0) if dislikes else 0.0)
    length = float(np.linalg.norm(direction))
    if length < 1e-6:
        raise BadQuery("What is liked and what is disliked cancel each other out.")
    return np.asarray(direction / length, np.float32)


def _embedded(searched: Searched, text: str) -> NDArray[np.float32]:
    model, embedder = searched.snapshot.manifest.model, searched.open_embedder()
    if embedder.identity != model:
        raise ModelChanged(
            f"The map was made by model {model}, the settings name {embedder.identity}: index with "
            "recompute=true, restore the model, or search by words."
        )
    return np.asarray(embedder.embed([text]).vectors[0], np.float32)


def _given(vector: Sequence[float], dim: int) -> NDArray[np.float32]:
    given = np.asarray(vector, np.float32)
    if given.shape != (dim,):
        raise BadQuery(f"The vector has {len(given)} dimensions, the map has {dim}.")
    length = float(np.linalg.norm(given))
    if not np.isfinite(length) or length < 1e-6:
        raise BadQuery("The vector has no direction: it is zero or not finite.")
    return given / length


def _vector_of(searched: Searched, id: str) -> NDArray[np.float32]:
    """The vector of a record on the map. Raises `NotFound`."""
    store, dataset_id = searched.store, searched.dataset_id
    stored = store.records.by_id(dataset_id, id)
    placed = store.layouts.on_map(dataset_id, [stored.seq], searched.snapshot.manifest.dim) if stored else None
    if placed is None or not len(placed.seqs):
        raise NotFound(f"No record {id!r} is on the map. Ids are the 32 hex digits of the outputs.")
    return np.asarray(placed.vectors[0], np.float32)


# --- by words


def _by_words(searched: Searched, query: Query, accepted: Accepted, *, every: bool) -> _Ranked:
    """Records with all words, or with some, which is much weaker evidence."""
    limit = max_filtered if query.filters else max_matches
    found = searched.store.words.search(searched.dataset_id, query.text, limit, every=every)
    if accepted is not None:
        is_kept = np.isin(_as_ids([one.id for one in found]), searched.ids.of(accepted))
        found = [one for one, kept in zip(found, is_kept.tolist(), strict=True) if kept][:max_matches]
    best = _of_distinct_texts(searched.store, found, max(query.k, fused_hits) if query.mode == "both" else query.k)
    return _Ranked(
        ids=[one.id for one in best],
        scores=[one.score for one in best],
        weight=1.0 if every else some_words_weight,
    )


def _of_distinct_texts(store: Store, found: Sequence[Found], n: int) -> list[Found]:
    """The first of each of the first n texts, best first; texts are read as far as needed."""
    best: dict[str, Found] = {}
    for start in range(0, len(found), 2 * n):
        chunk = found[start : start + 2 * n]
        texts = store.records.texts([one.seq for one in chunk])
        for one in chunk:
            best.setdefault(texts.get(one.seq, ""), one)
        if len(best) >= n:
            break
    return list(best.values())[:n]


# --- hits


def _hits(searched: Searched, query: Query, rankings: Sequence[_Ranked], accepted: Accepted) -> list[Hit]:
    """The k best of one ranking, or of several fused by reciprocal rank; records of equal text are one hit."""
    store, dataset_id = searched.store, searched.dataset_id
    ids = _unique(one.ids for one in rankings)
    stored = {one.record.id: one for one in store.records.by_ids(dataset_id, ids)} if len(rankings) == 1 else {}
    texts = {id: one.record.text for id, one in stored.items()} or store.records.texts_by_ids(dataset_id, ids)
    first: dict[str, str] = {}  # text -> id
    scores: dict[str, float] = {}
    for ranking in rankings:
        for n, (id, score) in enumerate(zip(ranking.ids, ranking.scores, strict=True)):
            if id in texts and id not in query.like:
                first_id = first.setdefault(texts[id], id)
                value = score if len(rankings) == 1 else ranking.weight / (fused_rank + n + 1)
                scores[first_id] = scores.get(first_id, 0.0) + value
    best = sorted(scores, key=scores.__getitem__, reverse=True)[: query.k]
    stored = stored or {one.record.id: one for one in store.records.by_ids(dataset_id, best)}
    compared = next((one.compared for one in rankings if one.compared), None)
    placed = _placed(searched, query, [stored[id].seq for id in best if id in stored], accepted, compared)
    return [
        Hit(record=stored[id].record, score=round(scores[id], 6), **placed.get(stored[id].seq, _unplaced))
        for id in best
        if id in stored  # it may have been removed meanwhile
    ]


_unplaced: dict[str, Any] = {"count": 1, "x": None, "y": None}


def _placed(
    searched: Searched, query: Query, seqs: Sequence[int], accepted: Accepted, compared: _Compared | None
) -> dict[int, dict[str, Any]]:
    """Seq -> position and number of records with the same vector, of records that are on the map."""
    placed = searched.store.layouts.on_map(searched.dataset_id, seqs, searched.vectors.dim)
    direction, best = (compared.direction, compared.best) if compared else (None, None)
    equal = searched.vectors.equal_rows(placed.vectors, accepted, direction, best)
    counts = [sum(id not in query.like for id in searched.ids.at(rows)) if query.like else len(rows) for rows in equal]
    return {
        seq: {"count": max(1, count), "x": x, "y": y}
        for seq, count, (x, y) in zip(placed.seqs.tolist(), counts, placed.positions.tolist(), strict=True)
    }


def _unique(groups: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(id for group in groups for id in group))
