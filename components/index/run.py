"""Index a dataset: plan, embed, place, publish, until nothing is pending. The one execution path of every caller."""

from __future__ import annotations

from functools import partial

from components.contracts import IndexReport, StepRunner
from components.index.batches import EmbedOutcome, EmbedTask
from components.index.steps import Indexing
from components.retry import run_directly
from components.store import lease_name


def run_index(opened: Indexing, *, run_step: StepRunner = run_directly) -> IndexReport:
    """What was indexed. Raises `LeaseHeld` while another index of the dataset runs."""
    retries, backoff_s = opened.settings.embed.retries, opened.settings.embed.backoff_s
    run_step("reach model", lambda _: opened.embedder.dim, retries=retries, backoff_s=backoff_s)
    opened.store.leases.wait_for_the_dead(lease_name(opened.dataset))
    with opened as indexing:
        while True:
            plan = run_step("fetch unindexed", lambda _: indexing.plan())
            for batch in plan.tasks:
                run_step(
                    "embed",
                    partial(_embed, indexing, batch),
                    label=f"embed batch {batch.no}, {len(batch.seqs)} texts",
                    retries=retries,
                    backoff_s=backoff_s,
                )
            run_step("place", lambda _: indexing.place())
            run_step("publish", lambda _: indexing.publish())
            if indexing.is_done():
                return indexing.report()


def _embed(indexing: Indexing, batch: EmbedTask, is_last_try: bool) -> EmbedOutcome:
    return indexing.embed(batch, is_last_try=is_last_try)
