"""Give pending records a position: on the map that exists, on a first one, or on one that is fitted again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from components.atomic import disk_errors
from components.contracts import Layout, Step, Vectors
from components.index.batches import digest_list
from components.index.context import IndexContext
from components.index.maps import OpenedMap, PlacedVectors, map_folder, open_map, rows_of, transform
from components.index.plan import Ids, Plan
from components.index.topics import FoundTopics, find_topics
from components.projector.geometry import placement
from components.projector.layout import FittedMap, write_folder
from components.retry import retry_while_busy
from components.store.layouts import NOT_LOOKED_FOR, LayoutInfo, MapVectors, PositionRows
from components.store.tables import RecordState
from components.topics.catalog import MapRows

put_rows = 4_096  # positions stored at once
lookup_rows = 5_000  # digests looked up at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Records and their vectors: parallel arrays (n,)."""

    seqs: Ids
    vector_ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What placing did. `layout` is the one to publish, `n_failed` counts records whose text can't be embedded.

    `is_new_map`: the layout and its topics were made just now; `renewal_advised`: see `TopicReport`.
    """

    step: Step
    layout: LayoutInfo | None
    n_placed: int
    n_failed: int
    is_new_map: bool = False
    renewal_advised: bool = False


def place(context: IndexContext, plan: Plan) -> Placement:
    """Give every planned record that has a vector a position, by a fit, a refit or the existing layout."""
    return retry_while_busy(lambda: _place(context, plan))


def _place(context: IndexContext, plan: Plan) -> Placement:
    pending, n_failed = _links(context, plan)
    step: Step = "none" if _is_empty(plan, pending) else _step(context, plan, pending)
    layout = plan.layout
    if step in {"fit", "refit"}:
        layout, found = _make_map(context, plan, pending, step)
        return Placement(
            step=step,
            layout=layout,
            n_placed=len(pending.seqs),
            n_failed=n_failed,
            is_new_map=True,
            renewal_advised=found.renewal_advised,
        )
    if not len(pending.seqs):
        step = "none"
    elif layout is not None:
        _place_new(context, layout, pending)
    return Placement(step=step, layout=layout, n_placed=len(pending.seqs), n_failed=n_failed)


def _is_empty(plan: Plan, pending: Links) -> bool:
    """Is there nothing to make a map of: nothing is pending, and nothing was ever on one?"""
    if len(pending.seqs) or plan.is_other_space:
        return False
    return plan.layout is None or plan.layout.n_fitted + plan.layout.n_placed == 0


def _step(context: IndexContext, plan: Plan, pending: Links) -> Step:
    layout, settings = plan.layout, context.settings.project
    if layout is None:
        return "fit"
    young = min(settings.young, settings.landmarks)  # a map of all its landmarks can't grow by a refit
    n_total = layout.n_fitted
    if layout.n_fitted < young and len(pending.seqs):
        n_total = len(np.union1d(_published_map(context, plan).ids, pending.vector_ids))
    if _only_topics(plan):
        return "refit"
    return placement(has_layout=True, recompute=plan.recompute, n_fitted=layout.n_fitted, n_total=n_total, young=young)


def _only_topics(plan: Plan) -> bool:
    """Are topics looked for on a map that stays as it is: since that was requested, or since it has none yet?"""
    return plan.layout is not None and not plan.recompute and (plan.renew_topics or plan.layout.n_topics is None)


# --- the pending records and their vectors


def _links(context: IndexContext, plan: Plan) -> tuple[Links, int]:
    """The planned records that are still to be placed, with their vectors, and how many others failed.

    Records with the text of another one that failed fail as well.
    """
    seqs, vector_ids = plan.pending.seqs, plan.pending.vector_ids.copy()
    is_there = _still_pending(context, plan)
    is_unknown = vector_ids < 0
    digests = digest_list(plan.pending.unknown.digests)
    vector_ids[is_unknown] = _vector_ids(context, digests)
    failing = {
        seq: name
        for seq, name, vector_id, there in zip(
            seqs[is_unknown].tolist(),
            digests,
            vector_ids[is_unknown].tolist(),
            is_there[is_unknown].tolist(),
            strict=True,
        )
        if vector_id < 0 and there
    }
    n_failed = _fail_with_equal_texts(context, failing) if failing else 0
    is_placed = is_there & (vector_ids >= 0)
    return Links(seqs=seqs[is_placed], vector_ids=vector_ids[is_placed]), n_failed


def _still_pending(context: IndexContext, plan: Plan) -> NDArray[np.bool_]:
    """Which planned records are still in the states that are placed, (n,): a load may have superseded some."""
    target = context.target
    found = [np.array(batch, np.int64) for batch in target.store.records.stream_seqs(target.dataset_id, *plan.states)]
    return np.isin(plan.pending.seqs, np.concatenate([np.empty(0, np.int64), *found]), assume_unique=True)


def _vector_ids(context: IndexContext, digests: list[bytes]) -> Ids:
    """Ids of the vectors of texts, -1 where there is none."""
    target = context.target
    ids: list[int] = []
    for start in range(0, len(digests), lookup_rows):
        chunk = digests[start : start + lookup_rows]
        known = target.store.vectors.known(target.model_id, chunk)
        ids += [known.get(name, -1) for name in chunk]
    return np.array(ids, np.int64)


def _fail_with_equal_texts(context: IndexContext, digests: dict[int, bytes]) -> int:
    """Record these records as failed if their text failed for another one; returns how many."""
    target = context.target
    errors = target.store.records.failed_digests(target.dataset_id)
    by_error: dict[str, dict[int, bytes]] = {}
    for seq, name in digests.items():
        if name in errors:
            by_error.setdefault(errors[name], {})[seq] = name
    for error, failed in by_error.items():
        target.store.records.fail(target.fence, target.dataset_id, failed, error)
    return sum(map(len, by_error.values()))


# --- on the layout that exists


def _place_new(context: IndexContext, layout: LayoutInfo, pending: Links) -> None:
    """Place on the existing layout; everything on the map keeps its position."""
    is_new = ~context.target.store.layouts.have_position(layout.id, pending.seqs)
    links = Links(seqs=pending.seqs[is_new], vector_ids=pending.vector_ids[is_new])
    if not len(links.seqs):
        return
    placed = transform(context, _open_layout(context, layout), np.unique(links.vector_ids))
    _store_positions(context, layout, links, placed, is_new=True)


def _open_layout(context: IndexContext, info: LayoutInfo) -> OpenedMap:
    target, folder = context.target, map_folder(context.settings.cache, context.dataset, info)
    return open_map(target.store, context.projector, folder, info, target.embedder.dim)


def _store_positions(
    context: IndexContext, layout: LayoutInfo, links: Links, placed: PlacedVectors, *, is_new: bool
) -> None:
    for start in range(0, len(links.seqs), put_rows):
        part = slice(start, start + put_rows)
        at = np.searchsorted(placed.vector_ids, links.vector_ids[part])
        rows = PositionRows(
            seqs=links.seqs[part],
            vector_ids=links.vector_ids[part],
            positions=placed.positions[at],
            topics=placed.topics[at],
        )
        n_off_map = int(placed.off_map[at].sum())
        context.target.store.layouts.put(context.target.fence, layout.id, rows, n_off_map=n_off_map, is_new=is_new)
        context.report("keep positions", start + len(rows.seqs), len(links.seqs))


# --- fit and refit


def _make_map(context: IndexContext, plan: Plan, pending: Links, step: Step) -> tuple[LayoutInfo, FoundTopics]:
    """A new layout and topics of everything that has a vector; all is stored before it is published."""
    target, store = context.target, context.target.store
    old = _published_map(context, plan)
    ids = np.unique(pending.vector_ids) if plan.is_other_space else np.union1d(old.ids, pending.vector_ids)
    kept = _open_layout(context, plan.layout) if plan.layout is not None and _only_topics(plan) else None
    chosen = kept.fitted_ids if kept else _landmarks(context, ids)
    context.report(step, 0, len(chosen))
    vectors = store.vectors.get(chosen, target.embedder.dim)
    before = _before(context, plan, pending, old, chosen)
    layout = cast("FittedMap", kept.layout if kept else _fitted(context, step, vectors, before))
    context.report(step, len(chosen), len(chosen))
    found = find_topics(
        context,
        plan,
        layout,
        MapRows(vector_ids=chosen, vectors=vectors, positions=layout.positions),
        before.topics,
    )
    info = store.layouts.add(
        target.fence,
        target.dataset_id,
        model_id=target.model_id,
        text_hash=context.text_hash,
        arrays={**layout.arrays(), "fitted_ids": chosen, "topics": found.labels, "topic_far": np.array(found.far)},
        n_fitted=len(chosen),
        displacement=0.0 if kept else layout.displacement,
        same_map=plan.layout if kept else None,
    )
    store.topics.put(target.fence, info.id, found.topics)
    with disk_errors(context.settings.cache):
        write_folder(layout, map_folder(context.settings.cache, context.dataset, info))
    opened = OpenedMap(info=info, fitted_ids=chosen, layout=layout, topics=found.labels, far=found.far)
    placed = transform(context, opened, ids)
    if not plan.is_other_space:
        placed = replace(placed, topics=found.keep(placed.vector_ids, placed.topics, old, chosen))
    for links in _all_links(context, plan, pending):
        _store_positions(context, info, links, placed, is_new=False)
    return info, found


def _fitted(context: IndexContext, step: Step, vectors: Vectors, before: MapVectors) -> Layout:
    if step == "refit":
        return context.projector.refit(vectors, before.positions)
    return context.projector.fit(vectors)


def _before(context: IndexContext, plan: Plan, pending: Links, old: MapVectors, chosen: Ids) -> MapVectors:
    """What the published map says of the chosen vectors: NaN and `NOT_LOOKED_FOR` where it has none of them."""
    if plan.layout is not None and plan.is_other_space:
        return _by_record(context, plan.layout, pending, chosen)
    return _lookup(old, chosen)


def _landmarks(context: IndexContext, ids: Ids) -> Ids:
    """The vectors to fit, by the digests of their texts: all of them, or those with the lowest digests.

    So the sample is uniform and chosen before a vector is read, and the map is the same on every machine, in whatever
    order texts were embedded; as the data grows, most of a new sample was in the old one, so refits keep the landmarks
    that they can.
    """
    order = np.argsort(context.target.store.vectors.ranks(ids), kind="stable")
    return ids[order[: context.settings.project.landmarks]]


def _published_map(context: IndexContext, plan: Plan) -> MapVectors:
    """The distinct vectors on the published map."""
    if plan.layout is None:
        none = np.empty(0, np.int64)
        return MapVectors(ids=none, positions=np.empty((0, 2), np.float32), topics=none)
    return context.target.store.layouts.distinct(plan.layout.id, context.target.dataset_id)


def _by_record(context: IndexContext, layout: LayoutInfo, links: Links, chosen: Ids) -> MapVectors:
    """What the old map says of these vectors' records, though it was fitted on other vectors."""
    old = context.target.store.layouts.placed(layout.id, int(links.seqs[0]), int(links.seqs[-1]))
    seqs = np.full(len(chosen), -1, np.int64)
    at = rows_of(chosen, links.vector_ids)
    seqs[at[at >= 0]] = links.seqs[at >= 0]
    return _lookup(MapVectors(ids=old.seqs, positions=old.positions, topics=old.topics), seqs)


def _all_links(context: IndexContext, plan: Plan, pending: Links) -> Iterator[Links]:
    """Every record that goes on the new map: the pending ones, and those on the old map."""
    yield pending
    if plan.layout is None or plan.is_other_space:
        return
    store, dataset_id = context.target.store, context.target.dataset_id
    for batch in store.records.stream_seqs(dataset_id, RecordState.INDEXED, size=put_rows):
        old = store.layouts.placed(plan.layout.id, batch[0], batch[-1])
        is_kept = np.isin(old.seqs, np.array(batch, np.int64)) & ~np.isin(old.seqs, pending.seqs)
        yield Links(seqs=old.seqs[is_kept], vector_ids=old.vector_ids[is_kept])


def _lookup(known: MapVectors, wanted: Ids) -> MapVectors:
    """Positions and topics of the wanted ids, NaN and `NOT_LOOKED_FOR` where there are none."""
    positions = np.full((len(wanted), 2), np.nan, np.float32)
    topics = np.full(len(wanted), NOT_LOOKED_FOR, np.int64)
    if len(known.ids):
        at = np.minimum(np.searchsorted(known.ids, wanted), len(known.ids) - 1)
        hit = known.ids[at] == wanted
        positions[hit], topics[hit] = known.positions[at[hit]], known.topics[at[hit]]
    return MapVectors(ids=wanted, positions=positions, topics=topics)
