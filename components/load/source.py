"""Load one source: decide what to read, read it batch by batch, and persist each batch with the cursor behind it."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from components.contracts import COPIED_FROM, Batch, Decision, LedgerEntry, Locator
from components.errors import NotReady, ReadFailed, SourceError
from components.load.context import LoadContext, Outcome, SourceOutcome
from components.load.discover import Discovered
from components.load.renumbering import renumbered, sequence
from components.retry import retry_while_busy
from components.sources.read_totals import ReadTotals, shortfall
from components.store.ledger import SourceMoved

logger = logging.getLogger(__name__)

max_turns = 5  # tries while another load reads the same source


@dataclass(slots=True, kw_only=True)
class Reading:
    """One source that is being read; the counts include tries that were interrupted."""

    context: LoadContext
    dataset_id: int
    entry: LedgerEntry
    locator: Locator
    n_tries: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    totals: ReadTotals | None = None
    on_batch: Callable[[int], None] | None = None  # called with the records of each batch once they are stored

    def outcome(self, outcome: Outcome, reason: str, *, is_known: bool = False) -> SourceOutcome:
        """What became of the source, with a warning where it gave suspiciously little."""
        totals, warning = self.totals, ""
        if totals and outcome in {"loaded", "resumed"}:
            warning = shortfall(totals, from_start=outcome == "loaded")
        return SourceOutcome(
            source=self.entry.key,
            outcome=outcome,
            reason=reason,
            skipped_by_rule=dict(totals.skipped) if totals else {},
            redacted=dict(self.redacted),
            warning=warning,
            is_known=is_known,
            **dict[str, Any](self.counts),
        )


def begin_reading(context: LoadContext, found: Discovered, locator: Locator) -> Reading:
    """A source that is to be read."""
    assert found.dataset_id is not None
    known = found.known.get(locator.location)
    # an entry that this load registered is as it was then: its version shows whether that is past
    entry = found.registered.get(locator.location) or retry_while_busy(
        lambda: _current_entry(context, found.dataset_id or 0, locator, known)
    )
    return Reading(context=context, dataset_id=found.dataset_id, entry=entry, locator=locator)


def load_source(reading: Reading) -> SourceOutcome:
    """Decide, read and persist one source, all its batches. Never raises for what is wrong with the source.

    After a `TransientError` another call continues, and counts what was stored before as well.
    """
    context, locator = reading.context, reading.locator

    def load() -> SourceOutcome:
        reading.n_tries += 1
        if reading.n_tries > 1:
            reading.entry = _current_entry(context, reading.dataset_id, locator, reading.entry)
        return _load(reading)

    for turn in range(max_turns):
        try:
            return retry_while_busy(load)
        except SourceMoved as error:
            logger.info("%s: %s Trying again.", locator.key, error)
            time.sleep(0.2 * 2**turn * random.uniform(0.5, 1.5))  # noqa: S311 - keeps two loads from colliding again
    return reading.outcome("skipped", "another load is reading it now")


def _current_entry(context: LoadContext, dataset_id: int, locator: Locator, known: LedgerEntry | None) -> LedgerEntry:
    """The ledger's entry now; a new one if another load saw that this log was rotated away."""
    entry = context.store.ledger.entry(known.source_id) if known else None
    if entry is None or entry.location != locator.location:
        return context.store.ledger.register(dataset_id, locator)
    return entry


def _load(reading: Reading) -> SourceOutcome:
    try:
        return _take(reading)
    except NotReady as error:  # what is whole is stored already
        return _put_off(reading, "not_ready", str(error))
    except SourceError as error:
        return _put_off(reading, "failed", str(error), is_looked_at_again=isinstance(error, ReadFailed))


def _take(reading: Reading) -> SourceOutcome:
    """Read and persist what there is."""
    context, entry = reading.context, reading.entry
    locator = replace(reading.locator, key=entry.key)
    decision = context.source.decide(
        locator,
        entry if entry.cursor else None,
        verify=context.verify,
        is_stored=lambda records: context.store.ledger.holds(entry, records),
    )
    if decision.action == "skip":
        return _skip(reading, locator, decision)
    resumes = decision.action == "resume"
    version = entry.version
    for batch, is_last in _with_last(_batches(reading, locator, decision)):
        originals, copied = _without_copies(reading, batch)
        kept = context.store.writer.persist(
            reading.dataset_id,
            entry,
            originals,
            generation=entry.generation if resumes else entry.generation + 1,
            version=version,
            options=context.options,
            closes=context.settings.on_rewrite if is_last else None,
            own_sessions=batch.sessions,
            copied_sessions=copied,
        )
        version = kept.version
        reading.redacted.update(batch.redacted)
        if reading.on_batch:
            reading.on_batch(len(batch.records))
        reading.totals = reading.totals or ReadTotals()
        reading.totals.add(batch)
        reading.totals.add_copies(len(batch.records) - len(originals.records))
        reading.counts.update(
            new=kept.new,
            existing=kept.existing,
            superseded=kept.superseded,
            defects=len(batch.defects),
            size_bytes=batch.size_bytes,
        )
    return reading.outcome("resumed" if resumes else "loaded", decision.reason)


def _skip(reading: Reading, locator: Locator, decision: Decision) -> SourceOutcome:
    """Nothing new: close a reading that was interrupted after its last batch, and remember the time stamp."""
    store, entry = reading.context.store, reading.entry
    is_open = entry.status == "reading"
    if is_open:
        superseded = store.writer.finish(
            entry,
            version=entry.version,
            generation=entry.generation,
            on_rewrite=reading.context.settings.on_rewrite,
        )
        reading.counts.update(superseded=superseded)
    store.ledger.touch(entry, locator, version=entry.version + is_open)
    outcome: Outcome = "resumed" if reading.counts["size_bytes"] else "skipped"  # by a try that was interrupted
    return reading.outcome(outcome, decision.reason)


def _without_copies(reading: Reading, batch: Batch) -> tuple[Batch, set[str]]:
    """The batch without what it repeats of other sessions that are known, and which sessions it repeats."""
    context = reading.context
    copied = {str(record.extra[COPIED_FROM]) for record in batch.records if COPIED_FROM in record.extra}
    if not copied or not batch.sessions or context.settings.history == "all":
        return batch, set()
    kept = context.store.sessions.originals(reading.dataset_id, reading.entry.source_id, batch.records)
    return replace(batch, records=kept), copied


def _batches(reading: Reading, locator: Locator, decision: Decision) -> Iterator[Batch]:
    """The batches of the source; a document that was read before keeps its positions though older items are dropped."""
    source, entry = reading.context.source, reading.entry
    resumes = decision.action == "resume"
    batches = source.read(locator, decision.cursor or entry.cursor if resumes else None)
    since = entry.generation - resumes  # the last generation that was read to its end
    first = next(batches, None) if since > 0 else None
    if first is None or first.cursor.state.get("kind") != "document":
        yield from itertools.chain([first] if first else [], batches)
        return
    rest = [first, *batches]
    whole = source.read(locator, None) if resumes else rest
    yield from renumbered(rest, sequence(whole), reading.context.store.ledger.runs(entry, since=since))


def _put_off(
    reading: Reading, outcome: Literal["not_ready", "failed"], reason: str, *, is_looked_at_again: bool = False
) -> SourceOutcome:
    """Record why the source was not read."""
    context, entry = reading.context, reading.entry
    waits = outcome == "not_ready" or is_looked_at_again
    context.store.ledger.note(
        entry,
        reading.locator,
        status=outcome,
        reason=reason,
        options=context.options,
        is_looked_at_again=is_looked_at_again,
    )
    return reading.outcome(outcome, reason, is_known=waits and (entry.status, entry.reason) == (outcome, reason))


def _with_last(batches: Iterator[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch and whether it is the last one; none is where the source fails before its end."""
    held = None
    try:
        for batch in batches:
            if held is not None:
                yield held, False
            held = batch
    except SourceError:
        if held is not None:
            yield held, False
        raise
    if held is not None:
        yield held, True
