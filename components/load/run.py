"""Load, step by step: discover, then decide, read and persist each source. Both conductors call exactly this."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from components.contracts import (
    COPIED_FROM,
    Batch,
    DataSource,
    Decision,
    LedgerEntry,
    LoadReport,
    Locator,
    Problem,
    RecordCounts,
    SourceCounts,
)
from components.credentials import Credentials
from components.datasets import sources_of
from components.errors import NotReady, ReadFailed, SourceError
from components.load.changes import match
from components.load.renumbering import renumbered, sequence
from components.locations import absolute, without_credentials, without_password
from components.retry import retry_while_busy
from components.settings import DatasetSettings
from components.sources.cursors import is_unchanged
from components.sources.read_totals import ReadTotals, bounded, shortfall
from components.store import Store
from components.store.ledger import SourceMoved
from components.store.tables import RecordState

logger = logging.getLogger(__name__)

odd_name = "Its name or that of a folder above it is not UTF-8, so it can't be shown or remembered: rename it."
max_turns = 5  # that a load waits for another one on the same source
Outcome = Literal["loaded", "resumed", "skipped", "not_ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOutcome:
    """What became of one source in one load."""

    source: str
    outcome: Outcome
    reason: str = ""
    new: int = 0
    existing: int = 0
    superseded: int = 0
    defects: int = 0
    size_bytes: int = 0
    skipped_by_rule: Mapping[str, int] = field(default_factory=dict)
    warning: str = ""  # it was read, but gave suspiciously little


class Loading:
    """One load of one dataset. `discover` first, then `load_source` for each locator in any order, then `finish`."""

    def __init__(
        self,
        store: Store,
        source: DataSource,
        dataset: str,
        settings: DatasetSettings,
        *,
        sources: Sequence[str] = (),
        format: str | None = None,
        verify: bool = False,
        credentials: Credentials,
    ) -> None:
        self.store = store
        self.credentials = credentials
        self.source = source
        self.dataset = dataset
        self.settings = settings
        self.given = tuple(sources)
        self._to_remember = set(map(credentials.completed, self.given))  # once something of it could be read
        self.verify = verify
        self.options = _options(settings, format)
        self.started = time.monotonic()
        self._number = retry_while_busy(lambda: store.ledger.dataset_id(dataset))
        self.format = format or settings.format
        self._known: dict[str, LedgerEntry] = {}
        self._changed: list[Locator] = []
        self._vanished: list[LedgerEntry] = []
        self._registered: dict[str, LedgerEntry] = {}  # by this load, and not read by it yet
        self._problems: list[Problem] = []
        self._reported: set[str] = set()  # keys of sources that still wait, for the reason that an earlier load gave
        self._n_discovered = 0
        self._n_unchanged = 0
        self._redacted: dict[str, Counter[str]] = {}  # source -> kind -> secrets replaced
        self._unchanged: list[SourceOutcome] = []  # that failed before, and would again
        self._yields: dict[str, ReadTotals] = {}  # location -> what this load read of it

    @property
    def dataset_id(self) -> int:
        """The dataset's number, once something was found for it: a mistyped source makes no dataset."""
        assert self._number is not None
        return self._number

    def discover(self) -> list[Locator]:
        """The sources that may hold something new, by key. Those that have not changed at all are counted and left.

        Makes the dataset if it is new and there is anything to load into it.
        """
        found = self.source.discover(retry_while_busy(self._specs))
        if self._number is None:
            if not found.locators:
                self._problems = [*found.problems]
                return []
            self._number = retry_while_busy(lambda: self.store.ledger.dataset_id(self.dataset, create=True))
        named = [locator for locator in found.locators if _is_storable(locator.location)]
        unnamed = [
            Problem(source=os.fsencode(locator.location).decode("utf-8", "replace"), reason=odd_name)
            for locator in found.locators
            if not _is_storable(locator.location)
        ]
        self._problems = [*found.problems, *unnamed]
        self._n_discovered = len(found.locators)
        entries = self._matched(named)
        still_failed = {locator.location for locator in named} - {locator.location for locator in self._changed}
        self._unchanged = [
            SourceOutcome(source=entry.key, outcome="failed", reason=entry.reason)
            for entry in entries
            if entry.status == "failed" and entry.location in still_failed
        ]
        changed = self._changed
        n_put_off = len(self._problems) - len(found.problems) - len(unnamed)
        self._n_unchanged = len(named) - len(changed) - len(self._unchanged) - n_put_off
        self._register(changed)
        left = {locator.location for locator in changed} | {e.location for e in entries if e.status == "failed"}
        self._remember({locator.spec for locator in named if locator.location not in left})
        broken = {problem.source for problem in self._problems}
        unnamed_specs = self._to_remember - {one.spec for one in named}  # all that they name, others name too
        self._remember({spec for spec in unnamed_specs if not {spec, without_credentials(spec)} & broken})
        return changed

    def _remember(self, specs: set[str]) -> None:
        """Later loads look at these sources again: something of each could be read."""
        if fresh := sorted(specs & self._to_remember):
            self._to_remember.difference_update(fresh)
            specs_found = list(map(absolute, fresh))
            self.credentials.keep(specs_found)
            bare = [without_password(spec) for spec in specs_found]
            retry_while_busy(lambda: self.store.ledger.remember(self.dataset_id, bare))

    def _matched(self, named: Sequence[Locator]) -> Sequence[LedgerEntry]:
        """The ledger's entries once they tell where each source lies now; what has to be read is noted on the way."""
        for _ in range(max_turns):
            entries = retry_while_busy(lambda: self.store.ledger.entries(self.dataset_id))
            found = retry_while_busy(partial(match, named, entries, self, is_unchanged=self._is_unchanged))
            if not found.moves or retry_while_busy(partial(self.store.ledger.move, found.moves)):
                break
        self._changed, self._vanished = found.changed, found.vanished
        self._problems = [*self._problems, *found.problems]
        copies = [locator for locator in named if locator.location in found.copies]
        for entry in retry_while_busy(lambda: self.store.ledger.register_all(self.dataset_id, copies)):
            locator = next(one for one in copies if one.location == entry.location)
            reason = f"a copy of {found.copies[locator.location]}, which is read"
            retry_while_busy(partial(self.store.ledger.note, entry, locator, status="copy", reason=reason))
        if found.moves:
            entries = retry_while_busy(lambda: self.store.ledger.entries(self.dataset_id))
        self._known = {entry.location: entry for entry in entries if entry.status != "copy"}
        return entries

    def _register(self, changed: Sequence[Locator]) -> None:
        """Enter in the ledger, all at once, what is new."""
        new = [locator for locator in changed if locator.location not in self._known]
        entries = retry_while_busy(lambda: self.store.ledger.register_all(self.dataset_id, new))
        self._registered = {entry.location: entry for entry in entries}
        self._known |= self._registered

    def _specs(self) -> tuple[str, ...]:
        if self.given:
            return tuple(dict.fromkeys(map(self.credentials.completed, self.given)))
        return sources_of(self.settings.sources, self.store, self._number, self.credentials)

    def _is_unchanged(self, locator: Locator, entry: LedgerEntry) -> bool:
        """Is another look at this source pointless? Its directory entry says so; no content is read."""
        if self.verify or locator.kind != "file" or entry.status not in {"loaded", "failed", "copy"}:
            return False
        if entry.status == "failed" and entry.options != self.options:
            return False
        if entry.status == "loaded" and self.format and self.format != entry.format:
            return False
        return is_unchanged(locator, entry)

    def load_source(self, locator: Locator) -> SourceOutcome:
        """Decide, read and persist one source, all its batches. Never raises for what is wrong with the source."""
        outcome = self._load_in_turn(locator)
        is_empty = locator.kind == "file" and locator.size_bytes == 0  # it may be written to later
        if outcome.outcome != "failed" or is_empty:
            self._remember({locator.spec})
        return outcome

    def _load_in_turn(self, locator: Locator) -> SourceOutcome:
        taken: Counter[str] = Counter()
        for attempt in range(max_turns):
            try:
                return self._judged(locator, retry_while_busy(lambda: self._load_once(locator, taken)))
            except SourceMoved as error:
                logger.info("%s: %s Trying again.", locator.key, error)
                time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - two that collide part
        outcome = SourceOutcome(
            source=locator.key, outcome="skipped", reason="another load is reading it now", **_counts(taken)
        )
        return self._judged(locator, outcome)

    def _judged(self, locator: Locator, outcome: SourceOutcome) -> SourceOutcome:
        """The outcome with what was left out by rules, and a warning where the source gave suspiciously little."""
        seen = self._yields.pop(locator.location, None)
        if seen is None:
            return outcome
        is_read = outcome.outcome in {"loaded", "resumed"}
        warning = shortfall(seen, from_start=outcome.outcome == "loaded") if is_read else ""
        return replace(outcome, skipped_by_rule=dict(seen.skipped), warning=warning)

    def _load_once(self, locator: Locator, taken: Counter[str]) -> SourceOutcome:
        entry = self._registered.pop(locator.location, None)  # as it was then: its version tells if that is past
        if entry is None and (known := self._known.get(locator.location)):
            entry = self.store.ledger.entry(known.source_id)
        if entry is None or entry.location != locator.location:  # new, or another load saw that log rotated away
            entry = self.store.ledger.register(self.dataset_id, locator)
        locator = replace(locator, key=entry.key)
        try:
            return self._take(locator, entry, taken)
        except NotReady as error:  # what is whole is taken already
            return self._put_off(locator, entry, "not_ready", str(error), taken)
        except SourceError as error:
            again = isinstance(error, ReadFailed)
            return self._put_off(locator, entry, "failed", str(error), taken, is_looked_at_again=again)

    def _take(self, locator: Locator, entry: LedgerEntry, taken: Counter[str]) -> SourceOutcome:
        """Read and persist what there is; `taken` counts along, so that an interruption does not hide it."""
        decision = self.source.decide(
            locator,
            entry if entry.cursor else None,
            verify=self.verify,
            is_stored=lambda records: self.store.ledger.holds(entry, records),
        )
        if decision.action == "skip":
            is_open = entry.status == "reading"
            superseded = self._close(entry, entry.version, entry.generation) if is_open else 0
            self.store.ledger.touch(entry, locator, version=entry.version + is_open)
            outcome: Outcome = "resumed" if taken["size_bytes"] else "skipped"  # by a try that was interrupted
            return SourceOutcome(
                source=entry.key, outcome=outcome, reason=decision.reason, superseded=superseded, **_counts(taken)
            )
        resumes = decision.action == "resume"
        generation = entry.generation if resumes else entry.generation + 1
        version, superseded = entry.version, 0
        for batch, is_last in _ahead(self._batches(locator, entry, decision)):
            originals, copied = self._without_copies(entry, batch)
            kept = self.store.ledger.persist(
                self.dataset_id,
                entry,
                originals,
                generation=generation,
                version=version,
                options=self.options,
                closes=self.settings.on_rewrite if is_last else None,
                own_sessions=batch.sessions,
                copied_sessions=copied,
            )
            version, superseded = kept.version, superseded + kept.superseded
            if batch.redacted:
                self._redacted.setdefault(entry.key, Counter()).update(batch.redacted)
            seen = self._yields.setdefault(locator.location, ReadTotals())
            seen.add(batch)
            seen.add_copies(len(batch.records) - len(originals.records))
            taken.update(new=kept.new, existing=kept.existing, defects=len(batch.defects), size_bytes=batch.size_bytes)
        outcome = "resumed" if resumes else "loaded"
        return SourceOutcome(
            source=entry.key, outcome=outcome, reason=decision.reason, superseded=superseded, **_counts(taken)
        )

    def _without_copies(self, entry: LedgerEntry, batch: Batch) -> tuple[Batch, set[str]]:
        """The batch without what it repeats of other sessions that are known, and which sessions it repeats."""
        copied = {str(record.extra[COPIED_FROM]) for record in batch.records if COPIED_FROM in record.extra}
        if not copied or not batch.sessions or self.settings.history == "all":
            return batch, set()
        kept = self.store.sessions.originals(self.dataset_id, entry.source_id, batch.records)
        return replace(batch, records=kept), copied

    def _batches(self, locator: Locator, entry: LedgerEntry, decision: Decision) -> Iterator[Batch]:
        """What the source gives; a document that was read before keeps its places though older items are dropped."""
        resumes = decision.action == "resume"
        batches = self.source.read(locator, decision.cursor or entry.cursor if resumes else None)
        since = entry.generation - resumes  # the last generation that was read to its end
        first = next(batches, None) if since > 0 else None
        if first is None or first.cursor.state.get("kind") != "document":
            yield from itertools.chain([first] if first else [], batches)
            return
        rest = [first, *batches]
        whole = self.source.read(locator, None) if resumes else rest
        yield from renumbered(rest, sequence(whole), self.store.ledger.runs(entry, since=since))

    def _close(self, entry: LedgerEntry, version: int, generation: int) -> int:
        return self.store.ledger.finish(
            entry, version=version, generation=generation, on_rewrite=self.settings.on_rewrite
        )

    def _put_off(
        self,
        locator: Locator,
        entry: LedgerEntry,
        outcome: Literal["not_ready", "failed"],
        reason: str,
        taken: Counter[str],
        *,
        is_looked_at_again: bool = False,
    ) -> SourceOutcome:
        waits = outcome == "not_ready" or is_looked_at_again
        if waits and (entry.status, entry.reason) == (outcome, reason):
            self._reported.add(entry.key)
        self.store.ledger.note(
            entry,
            locator,
            status=outcome,
            reason=reason,
            options=self.options,
            is_looked_at_again=is_looked_at_again,
        )
        return SourceOutcome(source=entry.key, outcome=outcome, reason=reason, **_counts(taken))

    def holds(self, locator: Locator, entry: LedgerEntry, *, rotates: bool = False) -> bool:
        """Is this the source, with all that was read of it? If `rotates`: and is it a log, not a document?

        A document is written anew all the time, and a copy of an old one beside it is a copy.
        """
        whole = retry_while_busy(lambda: self.store.ledger.entry(entry.source_id))
        if whole.cursor is None or (rotates and whole.cursor.state.get("kind") in {"document", "archive", "parquet"}):
            return False
        return self.source.decide(locator, whole).action in {"skip", "resume"}

    def is_copy(self, locator: Locator, original: Locator, entry: LedgerEntry | None) -> bool:
        """Does this file hold nothing but what the original begins with?"""
        whole = retry_while_busy(lambda: self.store.ledger.entry(entry.source_id)) if entry else None
        try:
            return self.source.is_copy(locator, original, whole)
        except ReadFailed:
            raise
        except SourceError:
            return False

    def finish(self, outcomes: Iterable[SourceOutcome]) -> LoadReport:
        """Mark what is gone, and add everything up."""
        tried = list(outcomes)
        done = [*tried, *self._unchanged]
        gone = [entry.source_id for entry in self._vanished if entry.status not in {"gone", "removed"}]
        retry_while_busy(lambda: self.store.ledger.mark_gone(gone))
        number = self._number
        waiting = RecordState.WAITING
        retired = 0 if number is None else retry_while_busy(lambda: self.store.sessions.settle(number))
        unindexed = 0 if number is None else retry_while_busy(lambda: self.store.records.count(number, waiting))
        kinds = Counter(outcome.outcome for outcome in done)
        unread = [
            Problem(source=o.source, reason=o.reason, known=o.source in self._reported)
            for o in tried
            if o.outcome in {"not_ready", "failed"}
        ]
        unchanged = [Problem(source=o.source, reason=o.reason, known=True) for o in self._unchanged]
        warned = [Problem(source=o.source, reason=o.warning) for o in done if o.warning]
        skipped = sum((Counter(o.skipped_by_rule) for o in done), Counter[str]())
        return LoadReport(
            dataset=self.dataset,
            sources=SourceCounts(
                discovered=self._n_discovered,
                loaded=kinds["loaded"],
                resumed=kinds["resumed"],
                skipped=kinds["skipped"] + self._n_unchanged,
                not_ready=kinds["not_ready"],
                failed=kinds["failed"] + len(self._problems),
                gone=len(gone),
            ),
            records=RecordCounts(
                new=sum(o.new for o in done),
                existing=sum(o.existing for o in done),
                superseded=sum(o.superseded for o in done) + retired,
                unindexed=unindexed,
            ),
            defects=sum(o.defects for o in done),
            bytes=sum(o.size_bytes for o in done),
            seconds=round(time.monotonic() - self.started, 3),
            problems=[*self._marked(self._problems), *unread, *warned, *unchanged],
            skipped_by_rule=bounded(skipped),
            redacted=dict(sum(self._redacted.values(), Counter[str]()).most_common()),
            redacted_by_source={source: dict(kinds) for source, kinds in sorted(self._redacted.items())},
        )

    def _marked(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems of what was named, such as a folder that is missing: `known` where the last load reported them."""
        last = retry_while_busy(lambda: self.store.runs.last(self.dataset, "load", state="done")) if problems else None
        reported = (last.report or {}).get("problems", []) if last else []
        known = {(one["source"], one["reason"]) for one in reported}
        return [replace(one, known=(one.source, one.reason) in known) for one in problems]


def _counts(taken: Counter[str]) -> dict[str, Any]:
    """The counts as arguments of a `SourceOutcome`."""
    return dict(taken)


def _ahead(batches: Iterator[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch and whether it is the last one; none is where the source stops before its end."""
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


def _options(settings: DatasetSettings, format: str | None) -> str:
    spelled = repr((format or settings.format, sorted(settings.columns.items()), settings.history))
    return hashlib.sha256(spelled.encode()).hexdigest()[:16]


def _is_storable(path: str) -> bool:
    """Can this path be kept in a database and shown?"""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
