"""Load, step by step: discover, then decide, read and persist each source. Both conductors call exactly this."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from components.contracts import (
    Batch,
    DataSource,
    LedgerEntry,
    LoadReport,
    Locator,
    Problem,
    RecordCounts,
    SourceCounts,
)
from components.errors import NotReady, SourceError
from components.settings import DatasetSettings
from components.store import Store
from components.store.engine import patiently
from components.store.ledger import SourceMoved
from components.store.tables import RecordState

logger = logging.getLogger(__name__)

max_rename_candidates = 20  # vanished sources that a new one is compared with: same inode, like name, same size first
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
    ) -> None:
        self.store = store
        self.source = source
        self.dataset = dataset
        self.settings = settings
        self.given = tuple(sources)
        self.verify = verify
        self.options = _options(settings, format)
        self.started = time.monotonic()
        found = patiently(lambda: store.ledger.dataset_id(dataset, create=True))
        assert found is not None
        self.dataset_id: int = found
        self._known: dict[str, LedgerEntry] = {}
        self._vanished: list[LedgerEntry] = []
        self._registered: dict[str, LedgerEntry] = {}  # by this load, and not read by it yet
        self._problems: list[Problem] = []
        self._n_discovered = 0
        self._n_unchanged = 0
        self._redacted: dict[str, Counter[str]] = {}  # source -> kind -> secrets replaced
        self._unchanged: list[SourceOutcome] = []  # that failed before, and would again

    def discover(self) -> list[Locator]:
        """The sources that may hold something new, by key. Those that have not changed at all are counted and left."""
        found = self.source.discover(patiently(self._specs))
        named = [locator for locator in found.locators if _is_storable(locator.location)]
        unnamed = [
            Problem(source=os.fsencode(locator.location).decode("utf-8", "replace"), reason=odd_name)
            for locator in found.locators
            if not _is_storable(locator.location)
        ]
        self._problems = [*found.problems, *unnamed]
        self._n_discovered = len(found.locators)
        entries = patiently(lambda: self.store.ledger.entries(self.dataset_id))
        self._known = {entry.location: entry for entry in entries}
        here = {locator.location for locator in named}
        self._vanished = [entry for entry in entries if entry.location not in here and _has_vanished(entry)]
        changed = [locator for locator in named if not self._is_unchanged(locator)]
        self._follow_rotations(changed)
        still_failed = here - {locator.location for locator in changed}
        self._unchanged = [
            SourceOutcome(source=entry.key, outcome="failed", reason=entry.reason)
            for entry in entries
            if entry.status == "failed" and entry.location in still_failed
        ]
        self._n_unchanged = len(named) - len(changed) - len(self._unchanged)
        self._register(changed)
        if self.given:
            given = _absolute(self.given, self._problems)
            patiently(lambda: self.store.ledger.remember(self.dataset_id, given))
        return changed

    def _register(self, changed: Sequence[Locator]) -> None:
        """Enter in the ledger, all at once, what is new and not a known source under another name."""
        new: list[Locator] = []
        for locator in changed:
            if locator.location not in self._known:
                renamed = patiently(lambda new=locator: self._renamed(new))  # type: ignore[misc]
                if renamed is None:
                    new.append(locator)
                else:
                    self._known[locator.location] = renamed
        entries = patiently(lambda: self.store.ledger.register_all(self.dataset_id, new))
        self._registered = {entry.location: entry for entry in entries}
        self._known |= self._registered

    def _specs(self) -> tuple[str, ...]:
        if self.given:
            return self.given
        return tuple(dict.fromkeys((*self.settings.sources, *self.store.ledger.remembered(self.dataset_id))))

    def _is_unchanged(self, locator: Locator) -> bool:
        """Is another look at this source pointless? Its directory entry says so; no content is read."""
        entry = self._known.get(locator.location)
        if entry is None or self.verify or locator.kind != "file" or entry.status not in {"loaded", "failed"}:
            return False
        if entry.status == "failed" and entry.options != self.options:
            return False
        return (entry.size_bytes, entry.mtime_ns) == (locator.size_bytes, locator.mtime_ns)

    def load_source(self, locator: Locator) -> SourceOutcome:
        """Decide, read and persist one source, all its batches. Never raises for what is wrong with the source."""
        taken: Counter[str] = Counter()
        for attempt in range(max_turns):
            try:
                return patiently(lambda: self._load_once(locator, taken))
            except SourceMoved as error:
                logger.info("%s: %s Trying again.", locator.key, error)
                time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - two that collide part
        return SourceOutcome(source=locator.key, outcome="skipped", reason="another load is reading it now", **taken)

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
            return self._put_off(locator, entry, "failed", str(error), taken)

    def _take(self, locator: Locator, entry: LedgerEntry, taken: Counter[str]) -> SourceOutcome:
        """Read and persist what there is; `taken` counts along, so that an interruption does not hide it."""
        decision = self.source.decide(locator, entry if entry.cursor else None, verify=self.verify)
        if decision.action == "skip":
            is_open = entry.status == "reading"
            superseded = self._close(entry, entry.version, entry.generation) if is_open else 0
            self.store.ledger.touch(entry, locator, version=entry.version + is_open)
            outcome: Outcome = "resumed" if taken["size_bytes"] else "skipped"  # by a try that was interrupted
            return SourceOutcome(
                source=entry.key, outcome=outcome, reason=decision.reason, superseded=superseded, **taken
            )
        resumes = decision.action == "resume"
        generation = entry.generation if resumes else entry.generation + 1
        version, superseded = entry.version, 0
        for batch, is_last in _ahead(self.source.read(locator, entry.cursor if resumes else None)):
            kept = self.store.ledger.persist(
                self.dataset_id,
                entry,
                batch,
                generation=generation,
                version=version,
                options=self.options,
                closes=self.settings.on_rewrite if is_last else None,
            )
            version, superseded = kept.version, superseded + kept.superseded
            if batch.redacted:
                self._redacted.setdefault(entry.key, Counter()).update(batch.redacted)
            taken.update(new=kept.new, existing=kept.existing, defects=len(batch.defects), size_bytes=batch.size_bytes)
        outcome = "resumed" if resumes else "loaded"
        return SourceOutcome(source=entry.key, outcome=outcome, reason=decision.reason, superseded=superseded, **taken)

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
    ) -> SourceOutcome:
        self.store.ledger.note(entry, locator, status=outcome, reason=reason, options=self.options)
        return SourceOutcome(source=entry.key, outcome=outcome, reason=reason, **taken)

    def _renamed(self, locator: Locator) -> LedgerEntry | None:
        """The vanished source with the same content, which from now on lies where `locator` says."""

        def unlikeness(entry: LedgerEntry) -> tuple[bool, bool, bool]:
            is_longer_name = locator.location.startswith(entry.location)
            return entry.inode != locator.inode, not is_longer_name, entry.size_bytes != locator.size_bytes

        likely = sorted((entry for entry in self._vanished if entry.size_bytes > 0), key=unlikeness)
        for entry in likely[:max_rename_candidates]:
            if self._holds(locator, entry) and self.store.ledger.move({entry.source_id: locator.location}):
                self._vanished.remove(entry)
                return entry
        return None

    def _holds(self, locator: Locator, entry: LedgerEntry, *, rotates: bool = False) -> bool:
        """Does what lies there begin with all that was read of this source? If `rotates`: of a log, not a document.

        A document is written anew all the time, and a copy of an old one beside it is a copy.
        """
        whole = patiently(lambda: self.store.ledger.entry(entry.source_id))
        if whole.cursor is None or (rotates and whole.cursor.state.get("kind") in {"document", "archive", "parquet"}):
            return False
        return self.source.decide(locator, whole).action in {"skip", "resume"}

    def _follow_rotations(self, changed: Sequence[Locator]) -> None:
        """Logs that were moved or copied aside while another one took their name are known where they lie now."""
        taken = {entry.location: entry for locator in changed if (entry := self._known.get(locator.location))}
        by_inode = {entry.inode: entry for entry in taken.values()}
        here = {locator.location: locator for locator in changed}
        moves: dict[int, str] = {}
        for locator in changed if taken else ():
            own = taken.get(locator.location)
            if locator.kind != "file" or (own and own.inode == locator.inode):
                continue
            names = (locator.location[:n] for n in range(len(locator.location) - 1, 0, -1))
            named = next((taken[name] for name in names if name in taken), None)
            for entry in (by_inode.get(locator.inode), named):
                if entry is None or entry is own or entry.source_id in moves:
                    continue
                stays = self._holds(here[entry.location], entry) or (own and self._holds(locator, own))
                if not stays and self._holds(locator, entry, rotates=True):
                    moves[entry.source_id] = locator.location
                    break
        is_moved = bool(moves) and patiently(lambda: self.store.ledger.move(moves))
        if is_moved:
            entries = patiently(lambda: self.store.ledger.entries(self.dataset_id))
            self._known = {entry.location: entry for entry in entries}
            self._vanished = [e for e in entries if e.location not in here and _has_vanished(e)]

    def finish(self, outcomes: Iterable[SourceOutcome]) -> LoadReport:
        """Mark what is gone, and add everything up."""
        done = [*outcomes, *self._unchanged]
        gone = [entry.source_id for entry in self._vanished if entry.status != "gone"]
        patiently(lambda: self.store.ledger.mark_gone(gone))
        unindexed = patiently(lambda: self.store.records.count(self.dataset_id, RecordState.WAITING))
        kinds = Counter(outcome.outcome for outcome in done)
        told = [Problem(source=o.source, reason=o.reason) for o in done if o.outcome in {"not_ready", "failed"}]
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
                superseded=sum(o.superseded for o in done),
                unindexed=unindexed,
            ),
            defects=sum(o.defects for o in done),
            bytes=sum(o.size_bytes for o in done),
            seconds=round(time.monotonic() - self.started, 3),
            problems=[*self._problems, *told],
            redacted=dict(sum(self._redacted.values(), Counter[str]()).most_common()),
            redacted_by_source={source: dict(kinds) for source, kinds in sorted(self._redacted.items())},
        )


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


def _has_vanished(entry: LedgerEntry) -> bool:
    """Is a source that was not found really no more? It may just not have been asked for this time."""
    return "://" not in entry.location and not os.path.lexists(entry.location)


def _absolute(specs: Iterable[str], problems: Iterable[Problem]) -> list[str]:
    """The specs as later loads will find them from any folder; those that name nothing are not worth remembering."""
    missing = {problem.source for problem in problems}
    return [spec if "://" in spec else str(Path(spec).absolute()) for spec in specs if spec not in missing]
