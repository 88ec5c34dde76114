"""Load a dataset: discover what changed, read and persist it, report. The one execution path of every caller."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from components.contracts import LoadReport, Locator, Problem, Progress, RecordCounts, SourceCounts, StepRunner
from components.load.context import GivenSources, LoadContext, SourceOutcome
from components.load.discover import Discovered, discover, with_last_reported
from components.load.groups import by_size, label_of
from components.load.source import Reading, begin_reading, load_source
from components.retry import retry_while_busy, run_directly
from components.sources.read_totals import bounded
from components.store.tables import RecordState

shown_from = 1_000  # records of a batch: large sources show progress of their own
retries, backoff_s = 3, 1.0  # of a group of sources, on errors that may pass


def run_load(
    context: LoadContext, *, run_step: StepRunner = run_directly, progress: Progress | None = None
) -> LoadReport:
    """Bring every new record of the dataset's sources, or of the given ones, into the store, once."""
    began = time.monotonic()
    given = GivenSources(context)
    found = run_step("discover", lambda _: discover(context, given))
    readings: dict[str, Reading] = {}
    outcomes: dict[str, SourceOutcome] = {}

    n_records = 0

    def count_records(n: int) -> None:
        nonlocal n_records
        n_records += n
        if progress and n >= shown_from:
            progress("read records", n_records, 0)

    def load_group(group: Sequence[Locator], _: bool) -> None:
        for locator in group:
            if locator.location in outcomes:  # an earlier try of this step got so far
                continue
            if locator.location not in readings:
                readings[locator.location] = begin_reading(context, found, locator)
                readings[locator.location].on_batch = count_records
            outcome = outcomes[locator.location] = load_source(readings[locator.location])
            del readings[locator.location]
            if found.dataset_id is not None and _is_readable(locator, outcome):
                given.remember(found.dataset_id, {locator.spec})
            if progress:
                progress("read and persist", len(outcomes), len(found.changed))

    for group in by_size(found.changed):
        label = f"read and persist {label_of(group)}"
        run_step("read and persist", partial(load_group, group), label=label, retries=retries, backoff_s=backoff_s)
    return _report(context, found, list(outcomes.values()), began)


def _is_readable(locator: Locator, outcome: SourceOutcome) -> bool:
    is_empty = locator.kind == "file" and locator.size_bytes == 0  # it may be written to later
    return outcome.outcome != "failed" or is_empty


def _report(context: LoadContext, found: Discovered, tried: Sequence[SourceOutcome], began: float) -> LoadReport:
    """Marks sources that are gone, and adds everything up; `began` is the time that the load started at."""
    done = [*tried, *found.unchanged_failures]
    n_gone = _mark_gone(context, found)
    retired, unindexed = _settle(context, found.dataset_id)
    kinds = Counter(outcome.outcome for outcome in done)
    redacted = {outcome.source: outcome.redacted for outcome in done if outcome.redacted}
    return LoadReport(
        dataset=context.dataset,
        sources=SourceCounts(
            discovered=found.n_found,
            loaded=kinds["loaded"],
            resumed=kinds["resumed"],
            skipped=kinds["skipped"] + found.n_unchanged,
            not_ready=kinds["not_ready"],
            failed=kinds["failed"] + len(found.problems),
            gone=n_gone,
        ),
        records=RecordCounts(
            new=sum(outcome.new for outcome in done),
            existing=sum(outcome.existing for outcome in done),
            superseded=sum(outcome.superseded for outcome in done) + retired,
            unindexed=unindexed,
        ),
        defects=sum(outcome.defects for outcome in done),
        bytes=sum(outcome.size_bytes for outcome in done),
        seconds=round(time.monotonic() - began, 3),
        problems=[*with_last_reported(context.store, context.dataset, found.problems), *_problems(tried, found)],
        skipped_by_rule=bounded(_skipped(tried, found)),
        redacted=dict(sum(map(Counter, redacted.values()), Counter[str]()).most_common()),
        redacted_by_source={source: dict(kinds) for source, kinds in sorted(redacted.items())},
    )


def _skipped(tried: Iterable[SourceOutcome], found: Discovered) -> Counter[str]:
    """Items that were left out, by rule; and, unless nothing has changed, files that belong to other sources."""
    skipped: Counter[str] = Counter()
    for outcome in tried:
        skipped.update(outcome.skipped_by_rule)
    if found.changed or not found.n_found:
        skipped.update(found.left_out)
    return skipped


def _mark_gone(context: LoadContext, found: Discovered) -> int:
    gone = [entry.source_id for entry in found.vanished if entry.status not in {"gone", "removed"}]
    retry_while_busy(lambda: context.store.ledger.mark_gone(gone))
    return len(gone)


def _settle(context: LoadContext, dataset_id: int | None) -> tuple[int, int]:
    """How many copies of sessions are retired now that the originals are known, and how many records are pending."""
    if dataset_id is None:
        return 0, 0
    retired = retry_while_busy(lambda: context.store.sessions.settle(dataset_id))
    return retired, retry_while_busy(lambda: context.store.records.count(dataset_id, RecordState.WAITING))


def _problems(tried: Iterable[SourceOutcome], found: Discovered) -> list[Problem]:
    unread = [
        Problem(source=outcome.source, reason=outcome.reason, known=outcome.is_known)
        for outcome in tried
        if outcome.outcome in {"not_ready", "failed"}
    ]
    warned = [Problem(source=outcome.source, reason=outcome.warning) for outcome in tried if outcome.warning]
    unchanged = [
        Problem(source=outcome.source, reason=outcome.reason, known=True) for outcome in found.unchanged_failures
    ]
    return [*unread, *warned, *unchanged]
