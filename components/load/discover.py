"""Find what may hold something new: the sources of a dataset, compared with what the ledger has of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from components.contracts import DataSource, LedgerEntry, Locator, Problem
from components.datasets import sources_of
from components.errors import ReadFailed, SourceError
from components.load.changes import Matching, match
from components.load.context import GivenSources, LoadContext, SourceOutcome
from components.locations import without_credentials
from components.retry import retry_while_busy
from components.sources.cursors import is_unchanged
from components.store import Store

max_moves = 5  # tries to follow renamed sources while other loads do the same
not_utf8 = "Its name or that of a folder above it is not UTF-8, so it can't be shown or remembered: rename it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What a load found. `dataset_id` is None if the dataset is unknown and nothing was found for it.

    `known` has the ledger's entries by location, `registered` those that this load added. `unchanged_failures` failed
    in an earlier load and would again.
    """

    dataset_id: int | None
    changed: Sequence[Locator] = ()
    known: Mapping[str, LedgerEntry] = field(default_factory=dict)
    registered: Mapping[str, LedgerEntry] = field(default_factory=dict)
    vanished: Sequence[LedgerEntry] = ()
    unchanged_failures: Sequence[SourceOutcome] = ()
    problems: Sequence[Problem] = ()
    n_found: int = 0
    n_unchanged: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def discover(context: LoadContext, given: GivenSources) -> Discovered:
    """The sources that may hold something new, by key. Creates the dataset if it is new and something was found for it."""
    store = context.store
    dataset_id = retry_while_busy(lambda: store.datasets.id(context.dataset))
    found = context.source.discover(retry_while_busy(lambda: _specs(context, dataset_id)))
    if dataset_id is None:
        if not found.locators:
            return Discovered(dataset_id=None, problems=found.problems, left_out=found.left_out)
        dataset_id = retry_while_busy(lambda: store.datasets.id(context.dataset, create=True))
        assert dataset_id is not None
    named = [locator for locator in found.locators if _is_utf8(locator.location)]
    unnamed = [
        Problem(source=os.fsencode(locator.location).decode("utf-8", "replace"), reason=not_utf8)
        for locator in found.locators
        if not _is_utf8(locator.location)
    ]
    entries, matching = _matched(context, dataset_id, named)
    failures = _unchanged_failures(named, entries, matching)
    known, registered = _registered(store, dataset_id, entries, matching.changed)
    problems = [*found.problems, *unnamed, *matching.problems]
    _remember_unchanged(given, dataset_id, named, entries, matching, problems)
    return Discovered(
        dataset_id=dataset_id,
        changed=matching.changed,
        known=known,
        registered=registered,
        vanished=matching.vanished,
        unchanged_failures=failures,
        problems=problems,
        n_found=len(found.locators),
        left_out=found.left_out,
        n_unchanged=len(named) - len(matching.changed) - len(failures) - len(matching.problems),
    )


def _specs(context: LoadContext, dataset_id: int | None) -> tuple[str, ...]:
    if context.given:
        return tuple(dict.fromkeys(map(context.credentials.completed, context.given)))
    return sources_of(context.settings.sources, context.store, dataset_id, context.credentials)


def _matched(context: LoadContext, dataset_id: int, named: Sequence[Locator]) -> tuple[Sequence[LedgerEntry], Matching]:
    """The ledger's entries at the current locations of their sources, and how the sources compare with them."""
    ledger = context.store.ledger
    contents = LedgerContents(store=context.store, source=context.source)
    for _ in range(max_moves):
        entries = retry_while_busy(lambda: ledger.entries(dataset_id))
        matching = retry_while_busy(
            partial(match, named, entries, contents, is_unchanged=partial(_is_unchanged, context))
        )
        if not matching.moves or retry_while_busy(partial(ledger.move, matching.moves)):
            break
    copies = {locator.location: locator for locator in named if locator.location in matching.copies}
    for entry in retry_while_busy(lambda: ledger.register_all(dataset_id, list(copies.values()))):
        reason = f"a copy of {matching.copies[entry.location]}, which is read"
        retry_while_busy(partial(ledger.note, entry, copies[entry.location], status="copy", reason=reason))
    if matching.moves:
        entries = retry_while_busy(lambda: ledger.entries(dataset_id))
    return entries, matching


def _is_unchanged(context: LoadContext, locator: Locator, entry: LedgerEntry) -> bool:
    """Does the directory entry of a source show that reading it again is pointless? No content is read."""
    if context.verify or locator.kind == "table" or entry.status not in {"loaded", "failed", "copy"}:
        return False
    if (entry.status == "failed" or context.settings.corpus) and entry.options != context.options:
        return False
    if entry.status == "loaded" and context.format and context.format != entry.format:
        return False
    return is_unchanged(locator, entry)


def _unchanged_failures(
    named: Sequence[Locator], entries: Sequence[LedgerEntry], matching: Matching
) -> list[SourceOutcome]:
    unchanged = {locator.location for locator in named} - {locator.location for locator in matching.changed}
    return [
        SourceOutcome(source=entry.key, outcome="failed", reason=entry.reason, is_known=True)
        for entry in entries
        if entry.status == "failed" and entry.location in unchanged
    ]


def _registered(
    store: Store, dataset_id: int, entries: Sequence[LedgerEntry], changed: Sequence[Locator]
) -> tuple[dict[str, LedgerEntry], dict[str, LedgerEntry]]:
    """Location -> entry of all sources, and of those that are added to the ledger here, all at once."""
    known = {entry.location: entry for entry in entries if entry.status != "copy"}
    new = [locator for locator in changed if locator.location not in known]
    registered = {
        entry.location: entry for entry in retry_while_busy(lambda: store.ledger.register_all(dataset_id, new))
    }
    return known | registered, registered


def _remember_unchanged(
    given: GivenSources,
    dataset_id: int,
    named: Sequence[Locator],
    entries: Sequence[LedgerEntry],
    matching: Matching,
    problems: Sequence[Problem],
) -> None:
    """Remember given sources of which something was read before, and those that only name what others name, too."""
    unread = {locator.location for locator in matching.changed} | {e.location for e in entries if e.status == "failed"}
    given.remember(dataset_id, {locator.spec for locator in named if locator.location not in unread})
    broken = {problem.source for problem in problems}
    unnamed = given - {locator.spec for locator in named}
    given.remember(dataset_id, {spec for spec in unnamed if not {spec, without_credentials(spec)} & broken})


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerContents:
    """Compares contents of files with what the ledger has of them; see `components.load.changes.Contents`."""

    store: Store
    source: DataSource

    def holds(self, locator: Locator, entry: LedgerEntry, *, rotates: bool = False) -> bool:
        """Is this the source, with all that was read of it? If `rotates`: and is it a log, not a document?

        A document is rewritten as a whole, and a copy of an old one beside it is a copy.
        """
        whole = retry_while_busy(lambda: self.store.ledger.entry(entry.source_id))
        if whole.cursor is None or (rotates and whole.cursor.state.get("kind") in {"document", "archive", "parquet"}):
            return False
        return self.source.decide(locator, whole).action in {"skip", "resume"}

    def is_copy(self, locator: Locator, original: Locator, entry: LedgerEntry | None) -> bool:
        """Does this file hold only the beginning of the original?"""
        whole = retry_while_busy(lambda: self.store.ledger.entry(entry.source_id)) if entry else None
        try:
            return self.source.is_copy(locator, original, whole)
        except ReadFailed:
            raise
        except SourceError:
            return False


def with_last_reported(store: Store, dataset: str, problems: Sequence[Problem]) -> list[Problem]:
    """The problems of what was named, such as a missing folder: `known` where the last load reported them."""
    last = retry_while_busy(lambda: store.runs.last(dataset, "load", state="done")) if problems else None
    reported = (last.report or {}).get("problems", []) if last else []
    known = {(one["source"], one["reason"]) for one in reported}
    return [replace(one, known=(one.source, one.reason) in known) for one in problems]


def _is_utf8(path: str) -> bool:
    """Can this path be stored and shown?"""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
