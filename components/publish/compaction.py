"""Compaction: which small parts to merge into larger ones, so that readers open few files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.publish.parts import merge_parts, part_info, unique_part_name
from components.snapshot.parts import KINDS, Kind, part_file_name
from components.store.publications import PartInfo

SMALL_DATASET_ROWS = 5_000  # up to here a dataset is one file of each kind: rewriting it costs a tenth of a second
YOUNG_DATASET_ROWS = 25_000  # up to here it becomes one again whenever an eighth of it, or an eighth file, is new
FAN_IN = 8
MAX_PARTS, ENOUGH_PARTS = 96, 72  # readers slow down beyond some 100 files


def compacted(parts: Sequence[PartInfo], folder: Path, *, part_rows: int) -> list[PartInfo]:
    """The same rows in fewer files where there are many small ones; both kinds are merged alike."""
    return [
        part for kind in KINDS for part in _compacted(kind, [p for p in parts if p.kind == kind], folder, part_rows)
    ]


def _compacted(kind: Kind, parts: Sequence[PartInfo], folder: Path, part_rows: int) -> list[PartInfo]:
    ordered = sorted(parts, key=lambda part: part.first_batch)
    groups = tiers([(part.name, part.rows) for part in ordered], part_rows=part_rows)
    merged = {name: group for group in groups for name in group}
    out: list[PartInfo] = []
    for part in ordered:
        group = merged.get(part.name)
        if group is None:
            out.append(part)
        elif part.name == group[0]:
            out.append(_merged(kind, [p for p in ordered if p.name in group], folder))
    return out


def _merged(kind: Kind, parts: Sequence[PartInfo], folder: Path) -> PartInfo:
    first, last = parts[0].first_batch, parts[-1].last_batch
    paths = [folder / part_file_name(kind, part.name) for part in parts]
    return part_info(merge_parts(kind, paths, folder, unique_part_name(first, last)), first, last)


def tiers(parts: Sequence[tuple[str, int]], *, part_rows: int = 250_000) -> list[list[str]]:
    """Which parts to merge now: groups of two or more names, each of neighbours, to be merged in that order.

    `parts` are (name, rows) of one kind, oldest first. Eight neighbours of a tier (its rows a power of eight) become
    one of the next, as in a log-structured merge tree: each row is rewritten O(log n) times in the life of a
    dataset, and a publication costs what is new.

    >>> tiers([("a", 2_000), ("b", 3)])
    [['a', 'b']]
    >>> tiers([("a", 20_000), ("b", 3)])
    []
    >>> tiers([("a", 200_000), ("b", 1_000), ("c", 1_000)])
    []
    """
    if len(parts) < 2:
        return []
    total = sum(rows for _, rows in parts)
    if total <= min(YOUNG_DATASET_ROWS, part_rows):
        is_due = len(parts) >= FAN_IN or FAN_IN * (total - max(rows for _, rows in parts)) >= total
        return [[name for name, _ in parts]] if total <= SMALL_DATASET_ROWS or is_due else []
    singles = [_Group(names=(name,), rows=rows) for name, rows in parts]
    groups = _limited(_affordable(_tiered(singles, part_rows), dict(parts), part_rows))
    return [list(group.names) for group in groups if len(group.names) > 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    names: tuple[str, ...]
    rows: int


def _joined(groups: Sequence[_Group]) -> _Group:
    return _Group(names=tuple(n for group in groups for n in group.names), rows=sum(group.rows for group in groups))


def _tiered(groups: list[_Group], part_rows: int) -> list[_Group]:
    """Merges until no tier holds eight neighbours that fit together."""
    while True:
        for start, end in _stretches([_tier(group.rows, part_rows) for group in groups]):
            packed = _packed(groups[start:end], part_rows) if end - start >= FAN_IN else groups[start:end]
            if len(packed) < end - start:
                groups = [*groups[:start], *packed, *groups[end:]]
                break
        else:
            return groups


def _tier(rows: int, part_rows: int) -> int:
    """0 below 1,024 rows, then one more for each factor of eight; -1 for a part that is full."""
    if 2 * rows > part_rows:
        return -1
    return max(0, int(math.log(max(rows, 1) / 1_024, FAN_IN)) + 1) if rows >= 1_024 else 0


def _stretches(levels: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches of neighbours of a tier, newest first; a small part before a larger one counts as the larger."""
    found: list[tuple[int, int]] = []
    end, level = len(levels), 0
    for at in range(len(levels) - 1, -1, -1):
        if levels[at] == -1 or levels[at] > level:
            found.append((at + 1, end))
            end, level = (at, 0) if levels[at] == -1 else (at + 1, levels[at])
    return [(start, stop) for start, stop in [*found, (0, end)] if stop > start]


def _packed(groups: Sequence[_Group], part_rows: int) -> list[_Group]:
    """Neighbours put together, none above `part_rows`."""
    packed: list[_Group] = []
    for group in groups:
        if packed and packed[-1].rows + group.rows <= part_rows:
            packed[-1] = _joined([packed[-1], group])
        else:
            packed.append(group)
    return packed


def _affordable(groups: list[_Group], rows_of: dict[str, int], part_rows: int) -> list[_Group]:
    """At most a full part's rows are merged at once, smallest groups first; the rest is merged later."""
    merged = sorted((group for group in groups if len(group.names) > 1), key=lambda group: group.rows)
    spent = 0
    kept: set[tuple[str, ...]] = set()
    for group in merged:
        spent += group.rows
        if not kept or spent <= part_rows:
            kept.add(group.names)
    return [
        one
        for group in groups
        for one in (
            [group] if group.names in kept else [_Group(names=(name,), rows=rows_of[name]) for name in group.names]
        )
    ]


def _limited(groups: list[_Group]) -> list[_Group]:
    """Where there are too many parts the smallest neighbours are put together, whatever their size, with some slack."""
    if len(groups) <= MAX_PARTS:
        return groups
    while len(groups) > ENOUGH_PARTS:
        at = min(range(len(groups) - 1), key=lambda i: groups[i].rows + groups[i + 1].rows)
        groups = [*groups[:at], _joined(groups[at : at + 2]), *groups[at + 2 :]]
    return groups
