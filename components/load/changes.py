"""Which file of today is which source of the ledger: unchanged, changed, rotated, renamed, a copy, new or gone.

`match` decides it for all sources of a load, from directory entries and, where these are not enough, from contents. What
to do about a single source at a known location is `DataSource.decide`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from components.contracts import LedgerEntry, Locator, Problem
from components.errors import ReadFailed
from components.locations import is_url

max_rename_candidates = 20  # vanished sources that a new one is compared with: same inode, like name, same size first


class Contents(Protocol):
    """What only the contents of files can answer. Both raise `ReadFailed` where another try may help."""

    def holds(self, locator: Locator, entry: LedgerEntry, *, rotates: bool = False) -> bool:
        """Is this the source, with all that was read of it? With `rotates`: and is it a log, not a document?"""
        ...

    def is_copy(self, locator: Locator, original: Locator, entry: LedgerEntry | None) -> bool:
        """Does this file hold only the beginning of the original?"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """`changed` are to be read, at the locations that the ledger has for them once the `moves` are made."""

    changed: list[Locator]
    moves: dict[int, str] = field(default_factory=dict)  # source id -> location
    copies: dict[str, str] = field(default_factory=dict)  # location -> key of the source that it repeats
    vanished: list[LedgerEntry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)  # new files that could not be compared with known sources


def match(
    locators: Sequence[Locator],
    entries: Sequence[LedgerEntry],
    contents: Contents,
    *,
    is_unchanged: Callable[[Locator, LedgerEntry], bool],
) -> Matching:
    """What became of the sources of the ledger. `is_unchanged` compares a directory entry with a ledger entry."""
    work = _Match(
        here={locator.location: locator for locator in locators},
        known={entry.location: entry for entry in entries if entry.status != "copy"},
        copied={entry.location: entry for entry in entries if entry.status == "copy"},
        contents=contents,
        is_unchanged=is_unchanged,
    )
    changed = [locator for locator in locators if not work.is_settled(locator)]
    work.follow_rotations(changed)
    vanished = work.vanished()
    new = [locator for locator in changed if locator.kind == "file" and locator.location not in work.locations()]
    for locator in new:
        work.identify(locator, vanished)
    left_out = work.copies.keys() | work.failed.keys()
    return Matching(
        changed=[locator for locator in changed if locator.location not in left_out],
        moves=work.moves,
        copies=work.copies,
        vanished=vanished,
        problems=[Problem(source=work.here[at].key, reason=reason) for at, reason in work.failed.items()],
    )


@dataclass(slots=True, kw_only=True)
class _Match:
    here: Mapping[str, Locator]
    known: Mapping[str, LedgerEntry]
    copied: Mapping[str, LedgerEntry]
    contents: Contents
    is_unchanged: Callable[[Locator, LedgerEntry], bool]
    moves: dict[int, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def is_settled(self, locator: Locator) -> bool:
        """Can this file be skipped without looking into it?"""
        if (entry := self.known.get(locator.location)) is not None:
            return self.is_unchanged(locator, entry)
        original = self._original_of_unchanged_copy(locator)
        if original is None:
            return False
        if (there := self.here.get(original.location)) is None:
            return os.path.lexists(original.location)
        try:
            return self.contents.holds(there, original)
        except ReadFailed:
            return True  # until it can be read

    def _original_of_unchanged_copy(self, locator: Locator) -> LedgerEntry | None:
        copy = self.copied.get(locator.location)
        if copy is None or not self.is_unchanged(locator, copy):
            return None
        return next((self.known[at] for at in _shorter_names(locator.location) if at in self.known), None)

    # --- rotations: a log was moved or copied aside, and another one took its name

    def follow_rotations(self, changed: Sequence[Locator]) -> None:
        """Note under `moves` where each rotated log is now."""
        taken = {at: entry for locator in changed if (entry := self.known.get(at := locator.location))}
        by_inode = {entry.inode: entry for entry in taken.values()}
        for locator in changed:
            own = self.known.get(locator.location)
            if locator.kind != "file" or (own and own.inode == locator.inode):
                continue
            named = next((taken[at] for at in _shorter_names(locator.location) if at in taken), None)
            try:
                for entry in (by_inode.get(locator.inode), named):
                    if (
                        entry
                        and entry is not own
                        and entry.source_id not in self.moves
                        and self._moved_to(entry, locator)
                    ):
                        self.moves[entry.source_id] = locator.location
                        break
            except ReadFailed as error:
                self._put_off(locator, error)

    def _moved_to(self, entry: LedgerEntry, locator: Locator) -> bool:
        """Was this log moved from its own location to that of the locator?"""
        if self.contents.holds(self.here[entry.location], entry):
            return False
        own = self.known.get(locator.location)
        if own and self.contents.holds(locator, own):
            return False
        if entry is self._original_of_unchanged_copy(locator):
            return True  # which may hold less than what was read of the log since it was copied
        return self.contents.holds(locator, entry, rotates=True)

    # --- new locations

    def locations(self) -> set[str]:
        """The locations of the known sources once the moves are made."""
        return {self.moves.get(entry.source_id, at) for at, entry in self.known.items()}

    def vanished(self) -> list[LedgerEntry]:
        """Sources that are gone; one that exists and was not asked for this time is not."""
        taken = set(self.moves.values())
        return [
            entry
            for at, entry in self.known.items()
            if entry.source_id not in self.moves
            and (at in taken or (at not in self.here and not is_url(at) and not self._is_there(at)))
        ]

    def _is_there(self, location: str) -> bool:
        """Does the file exist, or the store that held the session? A store that was looked into lists all that it has."""
        if os.path.lexists(location):
            return True
        store = os.path.dirname(location)  # noqa: PTH120
        return os.path.isfile(store) and not any(at.startswith(store + os.sep) for at in self.here)  # noqa: PTH113

    def identify(self, locator: Locator, vanished: list[LedgerEntry]) -> None:
        """Note whether a file at a new location is a vanished source, a copy, or neither."""
        if locator.location in self.failed:
            return
        try:
            entry = self._renamed(locator, vanished)
            if entry is not None:
                vanished.remove(entry)
                self.moves[entry.source_id] = locator.location
            elif (key := self._copied_from(locator)) is not None:
                self.copies[locator.location] = key
        except ReadFailed as error:
            self._put_off(locator, error)

    def _renamed(self, locator: Locator, vanished: Sequence[LedgerEntry]) -> LedgerEntry | None:
        original = self._original_of_unchanged_copy(locator)
        if original in vanished:
            return original

        def unlikeness(entry: LedgerEntry) -> tuple[bool, bool, bool]:
            is_longer_name = locator.location.startswith(entry.location)
            return entry.inode != locator.inode, not is_longer_name, entry.size_bytes != locator.size_bytes

        likely = sorted((entry for entry in vanished if entry.size_bytes > 0), key=unlikeness)
        return next((one for one in likely[:max_rename_candidates] if self.contents.holds(locator, one)), None)

    def _copied_from(self, locator: Locator) -> str | None:
        """The key of the source beside it of which this is a copy, in the middle of a rotation; None if of none."""
        known = {self.moves.get(entry.source_id, at): entry for at, entry in self.known.items()}
        for at in _shorter_names(locator.location):
            original = self.here.get(at) or (at in known and os.path.lexists(at) and Locator(location=at, key=at))
            if original and at not in self.copies:
                entry = known.get(at)
                if self.contents.is_copy(locator, original, entry):
                    return entry.key if entry else original.key
                return None
        return None

    def _put_off(self, locator: Locator, error: ReadFailed) -> None:
        """Leave a new file that can't be compared now to the next load: as another source it would be read twice for good."""
        if locator.location not in self.known:
            self.failed[locator.location] = f"{error} The next load looks again."


def _shorter_names(location: str) -> Iterator[str]:
    """The names in the same folder that this one begins with, longest first: rotation and packing add to a name."""
    folder_end = location.rfind(os.sep) + 1
    return (location[:n] for n in range(len(location) - 1, folder_end, -1))
