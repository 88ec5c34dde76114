"""Find the topics of a map that was fitted just now, and name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.contracts import TOPIC_LEVEL, Topic, Vectors
from components.index.context import IndexContext
from components.index.plan import Ids, Plan
from components.neighbors.knn import Neighbors, around, index_of, nearest_of_many, unit
from components.projector.layout import FittedMap
from components.store.layouts import NOT_LOOKED_FOR, MapVectors
from components.store.topics import TopicEdits, topic_from_json
from components.topics.catalog import MapRows, make_catalog, next_id_of, returned_ids
from components.topics.clusters import NOISE, Labels, coarse_clusters, fine_clusters
from components.topics.edits import with_edits, with_published
from components.topics.identity import (
    MIN_ROWS,
    VOTERS,
    Maintained,
    far_limit,
    first_topics,
    maintain,
    renewed_topics,
)
from components.topics.space import topic_space

NEIGHBORS = 15  # of each row, itself included
FINE_ROWS = 30_000  # rows up to which HDBSCAN is an adviser: its time grows with their square
SMALL_MAP = 5_000  # rows below which topics stay coarser than a larger map would have them
RENEWAL_RATIO = 1.6  # clusters from scratch, per topic


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopics:
    """The topic of each fitted row (n,), all topics and groups, and what placing needs; see `OpenedMap`.

    `changed` are the topics whose other records, which were not fitted, have to be looked at again.
    """

    labels: Labels
    topics: Sequence[Topic]
    far: float
    changed: frozenset[int]
    renewal_advised: bool

    def keep(self, vector_ids: Ids, topics: Ids, old: MapVectors, fitted_ids: Ids) -> Ids:
        """These topics of vectors, but the old ones for those that were not fitted and whose topic did not change."""
        active = [topic.id for topic in self.topics if topic.state == "active" and topic.level == TOPIC_LEVEL]
        stays = np.isin(old.topics, list(set(active) - self.changed)) & ~np.isin(old.ids, fitted_ids)
        kept = topics.copy()
        kept[np.searchsorted(vector_ids, old.ids[stays])] = old.topics[stays]
        return kept


def find_topics(context: IndexContext, plan: Plan, layout: FittedMap, rows: MapRows, before: Labels) -> FoundTopics:
    """The topics of a map's fitted rows, maintained from those that the published map has.

    `before` (n,) are the rows' topics on that, `NOT_LOOKED_FOR` where it has none.
    """
    store, dataset_id = context.target.store, context.target.dataset_id
    edits = store.topics.edits(dataset_id)
    old = _old_topics(context, plan, edits)
    if plan.is_other_space:  # vectors of another model can't tell which topics return
        old = [replace(topic, centroid=np.empty(0, np.float32), members=()) for topic in old]
    before = np.array([edits.target(topic) if topic >= 0 else topic for topic in before.tolist()], np.int64)
    if len(rows.vectors) <= MIN_ROWS:
        labels = np.full(len(rows.vectors), NOISE, np.int64)
        found = Maintained(topics=labels, next_id=next_id_of(old), changes=[])
        return _found(found, rows, old, far=np.inf, n_advised=0)
    vectors = unit(rows.vectors)
    near = layout.near or around(layout.index, vectors, min(NEIGHBORS, len(vectors) - 1))
    positions = topic_space(vectors, near, seed=context.settings.project.seed, cache=context.settings.shared_cache)
    coarse = coarse_clusters(positions, context.density)
    others = Neighbors(rows=near.rows[:, 1:], distances=near.distances[:, 1:])
    far = far_limit(others.distances)
    is_known = before != NOT_LOOKED_FOR
    fixed = {*edits.names, *map(edits.target, edits.merged)}  # by people
    if not is_known.any():
        found = first_topics(coarse, next_id=next_id_of(old))
    elif plan.renew_topics:
        found = renewed_topics(coarse, before, next_id_of(old), fixed=fixed)
    else:
        advisers = [coarse] if len(vectors) > FINE_ROWS else [fine_clusters(positions), coarse]
        near_known, known_topics = _near_known(context, vectors, before, old)
        found = maintain(
            before,
            next_id_of(old),
            others,
            near_known,
            known_topics,
            advisers,
            fixed=fixed,
        )
        found = returned_ids(found, rows, old)
    return _found(found, rows, old, far=far, n_advised=int(coarse.max(initial=NOISE)) + 1)


def _old_topics(context: IndexContext, plan: Plan, edits: TopicEdits) -> list[Topic]:
    """The topics of the published map."""
    if plan.layout is None:
        return []
    target = context.target
    newest = target.store.publications.newest(target.dataset_id)
    published = [topic_from_json(raw) for raw in (newest.manifest.get("topics", []) if newest else [])]
    topics = with_published(target.store.topics.of_layout(plan.layout.id), published)
    return with_edits(topics, edits.names, {topic: edits.target(topic) for topic in edits.merged})


def _near_known(
    context: IndexContext, vectors: Vectors, before: Labels, old: Sequence[Topic]
) -> tuple[Neighbors, Labels]:
    """The nearest known rows of each new row, and the topics of all known rows; those of ended topics are among them."""
    is_new = before == NOT_LOOKED_FOR
    ended = [topic for topic in old if topic.state == "ended" and len(topic.centroid) == vectors.shape[1]]
    members = np.array([vector_id for topic in ended for vector_id in topic.members], np.int64)
    topics = np.concatenate([before[~is_new], *(np.full(len(topic.members), topic.id) for topic in ended)])
    known = np.concatenate([vectors[~is_new], unit(context.target.store.vectors.get(members, vectors.shape[1]))])
    if not is_new.any():
        return Neighbors(rows=np.empty((0, 1), np.int64), distances=np.empty((0, 1))), topics
    index = index_of(known, seed=context.settings.project.seed)
    return nearest_of_many(index, vectors[is_new], min(VOTERS, len(known))), topics


def _found(maintained: Maintained, rows: MapRows, old: Sequence[Topic], *, far: float, n_advised: int) -> FoundTopics:
    ended = [topic.id for topic in old if topic.state == "ended"]
    labels = maintained.topics.copy()
    for id in ended:  # a few records that are like those of an ended topic don't bring it back
        if 0 < (labels == id).sum() < MIN_ROWS:
            labels[labels == id] = NOISE
    catalog = make_catalog(Maintained(topics=labels, next_id=maintained.next_id, changes=maintained.changes), rows, old)
    n_active = sum(topic.state == "active" and topic.level == TOPIC_LEVEL for topic in catalog.topics)
    return FoundTopics(
        labels=labels,
        topics=catalog.topics,
        far=far,
        changed=frozenset(change.other for change in maintained.changes if change.kind == "split"),
        renewal_advised=len(labels) < SMALL_MAP and n_advised > RENEWAL_RATIO * max(n_active, 1) and bool(old),
    )
