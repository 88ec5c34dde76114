"""What the reading of a source gave in total, and whether that is suspiciously little for what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from components.contracts import Batch

MIN_UNKNOWN: Final = 3  # items of an unknown kind; fewer are noise in any log
MOST_RULES: Final = 40  # rules that a report names one by one
OTHER_RULES: Final = "other rules"
COPIED_RULE: Final = "copy of what another session holds"


@dataclass(slots=True)
class ReadTotals:
    """What one reading of a source gave so far."""

    format: str = ""
    n_records: int = 0
    n_defects: int = 0
    n_unknown: int = 0
    unknown_bytes: int = 0
    size_bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.format = batch.cursor.format
        self.n_records += len(batch.records)
        self.n_defects += len(batch.defects)
        self.n_unknown += batch.n_unknown
        self.unknown_bytes += batch.unknown_bytes
        self.size_bytes += batch.size_bytes
        self.skipped.update(batch.skipped)

    def add_copies(self, n: int) -> None:
        """Count `n` records that are left out since another session holds them."""
        if n:
            self.skipped[COPIED_RULE] += n


def shortfall(seen: ReadTotals, *, from_start: bool) -> str:
    """Why the source gave suspiciously little, in a sentence for a person; "" if nothing is suspicious.

    Suspicious: no record at all though the source was read from its start and holds something; most of its bytes in
    items of kinds that the format does not know; or more such items than records.

    >>> shortfall(ReadTotals(format="chat", n_records=5, size_bytes=900), from_start=True)
    ''
    """
    if from_start and seen.size_bytes and not seen.n_records and seen.format == "corpus":
        left_out = f" Left out: {spelled(seen.skipped)}." if seen.skipped else ""
        defects = f" {seen.n_defects:,} defects." if seen.n_defects else ""
        return f"It holds no documents with a key and a text.{left_out}{defects}"
    if from_start and seen.size_bytes and not seen.n_records:
        left_out = f" Left out: {spelled(seen.skipped)}." if seen.skipped else ""
        return (
            f"It was read as {seen.format}, which found no record in its {seen.size_bytes:,} bytes.{left_out} {_remedy}"
        )
    is_mostly_unknown = from_start and seen.unknown_bytes * 2 > seen.size_bytes
    if is_mostly_unknown or (seen.n_unknown >= MIN_UNKNOWN and seen.n_unknown > seen.n_records):
        return (
            f"It was read as {seen.format}, which does not know {seen.n_unknown:,} of its items and made only "
            f"{seen.n_records:,} records. Left out: {spelled(seen.skipped)}. {_remedy}"
        )
    return ""


_remedy: Final = "If it is a log of another kind, name its format: `runatlas load FILE --format NAME`."


def spelled(skipped: Mapping[str, int]) -> str:
    """The rules with their counts, the most frequent first.

    >>> spelled({"empty message": 2, "repeated message": 1_200})
    '1,200 by "repeated message", 2 by "empty message"'
    """
    ordered = sorted(skipped.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f'{n:,} by "{rule}"' for rule, n in ordered)


def bounded(skipped: Mapping[str, int]) -> dict[str, int]:
    """At most `MOST_RULES` rules, the most frequent first; the rest is summed up."""
    ordered = sorted(skipped.items(), key=lambda pair: (-pair[1], pair[0]))
    kept, rest = dict(ordered[:MOST_RULES]), ordered[MOST_RULES:]
    if rest:
        kept[OTHER_RULES] = kept.get(OTHER_RULES, 0) + sum(n for _, n in rest)
    return kept
