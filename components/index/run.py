"""Index a dataset: plan, embed, place, publish, until nothing is pending. The one execution path of every caller."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from components.contracts import Embedder, IndexReport, IndexSeconds, Step, StepRunner
from components.errors import DiskFailed, LeaseHeld, ServiceUnavailable, TransientError
from components.index.batches import EmbedBatch, EmbedOutcome
from components.index.cluster import Cluster
from components.index.context import IndexContext, IndexInputs, open_index
from components.index.embed import Committed, EmbedProgress, embed_batch
from components.index.place import Placement, place
from components.index.plan import Plan, make_plan
from components.index.topic_names import name_topics
from components.index.topic_report import topic_report
from components.publish.run import Published
from components.retry import retry_while_busy, run_directly
from components.search.lists import needs_lists, open_lists, search_cache
from components.snapshot.read import open_snapshot
from components.store import lease_name
from components.store.index_requests import IndexRequest
from components.store.layouts import LayoutInfo
from components.store.tables import RecordState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass over the pending records did. `layout` is the published one afterwards."""

    plan: Plan
    embedded: EmbedOutcome
    placement: Placement
    published: Published
    layout: LayoutInfo | None

    @property
    def n_failed(self) -> int:
        """Records whose text could not be embedded."""
        return self.embedded.failed + self.placement.n_failed

    def repeats(self, earlier: Pass) -> bool:
        """Were the same records pending as in an earlier pass, and was none of them embedded, placed or failed?"""
        did = self.embedded.embedded + self.placement.n_placed + self.n_failed
        return not did and np.array_equal(self.plan.pending.seqs, earlier.plan.pending.seqs)


class Stopwatch:
    """Seconds spent in the steps of an index."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds = dict.fromkeys(("fetch", "embed", "project", "publish"), 0.0)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Adds the time that the block takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[step] += time.monotonic() - began

    def read(self) -> IndexSeconds:
        """The sums so far, and the time since the start."""
        total = round(time.monotonic() - self._began, 3)
        return IndexSeconds(**{step: round(seconds, 3) for step, seconds in self._seconds.items()}, total=total)


def run_index(inputs: IndexInputs, *, run_step: StepRunner = run_directly) -> IndexReport:
    """Index what is pending, and what arrives or is requested meanwhile.

    Raises `LeaseHeld` while another index of the dataset runs, `ServiceUnavailable` if the model can't be reached.
    """
    store, embed, watch = inputs.store, inputs.settings.embed, Stopwatch()
    run_step("reach model", lambda _: _reach(inputs.embedder), retries=embed.retries, backoff_s=embed.backoff_s)
    store.leases.wait_for_stale_holder(lease_name(inputs.dataset))
    passes = _run_passes(inputs, run_step, watch)
    # an index that was refused between the last pass and the end of the lease has left a request
    while retry_while_busy(lambda: store.index_requests.open(inputs.dataset)).ids:
        try:
            passes += _run_passes(replace(inputs, requested=IndexRequest()), run_step, watch)
        except LeaseHeld:
            break
    return _report(inputs, passes, watch.read())


def _reach(embedder: Embedder) -> int:
    """The model's dimension, for which a service may have to be called."""
    try:
        return embedder.dim
    except TransientError as error:
        raise ServiceUnavailable(
            f"The embedding model {embedder.identity} is down: {error} Progress is saved; run `index` again.",
            retry_after_s=error.retry_after_s,
        ) from error


def _run_passes(inputs: IndexInputs, run_step: StepRunner, watch: Stopwatch) -> list[Pass]:
    """Passes under one lease, until nothing is pending and nothing more is requested."""
    with open_index(inputs) as context:
        passes = [_run_pass(context, run_step, watch, is_first=True)]
        while not _is_done(context):
            passes.append(_run_pass(context, run_step, watch, is_first=False))
            if passes[-1].repeats(passes[-2]):
                logger.warning("%s: %d records stay pending.", context.dataset, passes[-1].plan.records)
                break
        return passes


def _run_pass(context: IndexContext, run_step: StepRunner, watch: Stopwatch, *, is_first: bool) -> Pass:
    with watch.timed("fetch"):
        plan = run_step("fetch unindexed", lambda _: _plan(context, is_first=is_first))
    with watch.timed("embed"):
        embedded = _embed(context, plan, run_step)
    with watch.timed("project"):
        placement = run_step("place", lambda _: _placed(context, plan))
        if placement.is_new_map:
            run_step("name topics", lambda _: _named(context, placement))
    with watch.timed("publish"):
        published = run_step("publish", lambda _: _publish(context, plan, placement))
        if published.is_new and needs_lists(published.rows):
            run_step("search lists", lambda _: _write_lists(context))
    store, dataset_id = context.target.store, context.target.dataset_id
    layout = retry_while_busy(lambda: store.layouts.current(dataset_id))
    return Pass(plan=plan, embedded=embedded, placement=placement, published=published, layout=layout)


def _plan(context: IndexContext, *, is_first: bool) -> Plan:
    plan = make_plan(context, is_first=is_first)
    n_batches = len(plan.batches)
    logger.info(
        "%s: %d pending records, %d of them have a vector; batches to embed: %d.",
        context.dataset,
        plan.records,
        plan.reused,
        n_batches,
    )
    return plan


def _embed(context: IndexContext, plan: Plan, run_step: StepRunner) -> EmbedOutcome:
    settings = context.settings.embed
    on_commit = EmbedProgress(plan, context.report)
    if context.cluster is not None and plan.batches:
        return _embed_elsewhere(context, context.cluster, plan.batches, on_commit)

    def embed(batch: EmbedBatch, is_last_try: bool) -> EmbedOutcome:
        return embed_batch(context.target, batch, is_last_try=is_last_try, on_commit=on_commit)

    total = EmbedOutcome()
    for batch in plan.batches:
        label = f"embed batch {batch.no}, {len(batch.seqs)} texts"
        total += run_step(
            "embed", partial(embed, batch), label=label, retries=settings.retries, backoff_s=settings.backoff_s
        )
    return total


def _embed_elsewhere(
    context: IndexContext, cluster: Cluster, batches: Sequence[EmbedBatch], progress: EmbedProgress
) -> EmbedOutcome:
    """Embed batches in other processes, whose commits are seen batch by batch."""
    total = EmbedOutcome()
    outcomes = cluster.embed(context.dataset, context.target.fence.token, batches, progress.refresh)
    for batch, outcome in zip(batches, outcomes, strict=True):
        total += outcome
        progress(Committed(outcome=outcome, n_texts=len(batch.seqs), n_estimated=batch.n_tokens))
    return total


def _placed(context: IndexContext, plan: Plan) -> Placement:
    placement = place(context, plan)
    logger.info("%s: placed by %s.", context.dataset, placement.step)
    return placement


def _named(context: IndexContext, placement: Placement) -> int:
    layout = placement.layout
    assert layout is not None  # a new map has one
    n_named = name_topics(context, layout)
    logger.info("%s: %d topics and groups were named.", context.dataset, n_named)
    return n_named


def _publish(context: IndexContext, plan: Plan, placement: Placement) -> Published:
    """Publish what is placed, and close what the pass has done; without a map there is nothing to publish."""
    target = context.target
    store, fence, dataset_id = target.store, target.fence, target.dataset_id

    def publish() -> Published:
        published = Published(snapshot=None, rows=0, is_new=False)
        if placement.layout is not None:
            store.words.update(fence)
            published = context.publishing.publish(placement.layout, target.embedder.dim, context.report)
        store.layouts.drop_retired(fence, dataset_id)
        store.records.forget_failures(fence, dataset_id)
        store.index_requests.close(fence, plan.request)
        return published

    published = retry_while_busy(publish)
    logger.info("%s: snapshot %s has %d records.", context.dataset, published.snapshot, published.rows)
    return published


def _write_lists(context: IndexContext) -> int:
    """Make the lists of a large snapshot now, so that no search has to wait for them; returns how many there are.

    What can't be written is left to the first search: the snapshot is published, and whole without them.
    """
    output = context.publishing.output
    try:
        lists = open_lists(open_snapshot(output), search_cache(context.settings.cache, output))
    except DiskFailed as error:
        logger.warning("%s: the search lists were not made: %s", context.dataset, error)
        return 0
    return len(lists.centroids)


def _is_done(context: IndexContext) -> bool:
    """Is nothing pending, and nothing more requested?"""
    store, dataset_id = context.target.store, context.target.dataset_id
    return retry_while_busy(
        lambda: (
            not store.index_requests.open(context.dataset).ids
            and store.records.count(dataset_id, RecordState.WAITING) == 0
        )
    )


def _report(inputs: IndexInputs, passes: Sequence[Pass], seconds: IndexSeconds) -> IndexReport:
    embedded = sum((one.embedded for one in passes), EmbedOutcome())
    steps: list[Step] = [one.placement.step for one in passes if one.placement.step != "none"]
    step, layout, published = (steps or ["none"])[0], passes[-1].layout, passes[-1].published
    return IndexReport(
        dataset=inputs.dataset,
        records=sum(one.plan.records for one in passes),
        embedded=embedded.embedded,
        reused=sum(one.plan.reused for one in passes),
        failed=sum(one.n_failed for one in passes),
        step=step,
        layout=layout.version if layout else None,
        drift=layout.drift if layout else None,
        snapshot=published.snapshot,
        rows=published.rows,
        seconds=seconds,
        shortened=embedded.n_shortened,
        refit_displacement=layout.displacement if layout and step == "refit" else None,
        topics=topic_report(
            inputs.store,
            inputs.dataset,
            first_snapshot=next((one.published.snapshot for one in passes if one.published.is_new), None),
            renewal_advised=any(one.placement.renewal_advised for one in passes),
        ),
    )
