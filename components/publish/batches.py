"""Batches of records as pairs of parts: new records as new batches, published batches again where something changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from components.contracts import Progress, TopicSize
from components.publish.parts import part_info, unique_part_name, write_embeddings_part, write_logs_part
from components.publish.tables import ExtraColumn, TopicNames, arrow_fields, embeddings_table, logs_table
from components.snapshot.parts import Kind
from components.store import Store
from components.store.publications import PartInfo, Row, SeqRange
from components.store.vectors import f16
from components.topics.edits import RawSizes

batch_rows = 5_000  # read from the database at once


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatches:
    """Parts on disk that no transaction has named yet, a pair a batch, and which records each batch holds."""

    parts: Sequence[PartInfo]
    ranges: Mapping[int, Sequence[SeqRange]]  # by number of the batch
    records_by_topic: Mapping[int | None, int]  # topics as stored
    topics_by_vector: Mapping[int, int | None]

    def sizes(self, known: Collection[int]) -> RawSizes:
        """What the records add to topics; `known` are vectors that published records have, whose texts are counted."""
        texts = Counter(topic for vector_id, topic in self.topics_by_vector.items() if vector_id not in known)
        return {topic: TopicSize(records, texts[topic]) for topic, records in self.records_by_topic.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What makes published parts stale: of all of them, or of single ones."""

    layout: bool
    columns: bool
    topics: bool  # names and merges of topics
    model: bool
    lost: Collection[str]  # names of parts whose file is missing or damaged
    leaving: Sequence[int]  # superseded records that are still in a part, by number in the order of arrival

    def __bool__(self) -> bool:
        return bool(self.layout or self.columns or self.topics or self.model or self.lost or self.leaving)

    def stale_kinds(self, logs: PartInfo, embeddings: PartInfo, counts: Mapping[int, int]) -> set[Kind]:
        """Which parts of a pair to write again; `counts`: batch -> how many of its records are on the map now."""
        stale: set[Kind] = set()
        if self.model or (self.leaving and _has_shrunk(logs, counts)):
            return {"logs", "embeddings"}
        if self.layout or self.columns or self.topics or logs.name in self.lost:
            stale.add("logs")
        if embeddings.name in self.lost:
            stale.add("embeddings")
        return stale


def _has_shrunk(part: PartInfo, counts: Mapping[int, int]) -> bool:
    return part.rows != sum(n for batch, n in counts.items() if part.first_batch <= batch <= part.last_batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWriter:
    """Writes the batches of a dataset, with their positions in one layout and vectors (n, dim)."""

    store: Store
    dataset_id: int
    layout_id: int
    dim: int
    folder: Path
    extras: Sequence[ExtraColumn]
    topics: TopicNames
    progress: Progress | None

    def write_new(self, part_rows: int) -> NewBatches:
        """The waiting records that have a position, as parts of about `part_rows` rows, each a batch of its own."""
        first = self.store.publications.next_batch(self.dataset_id)
        waiting = self.store.publications.waiting_rows(self.dataset_id, self.layout_id, batch_rows)
        parts: list[PartInfo] = []
        ranges: dict[int, list[SeqRange]] = {}
        records_by_topic: Counter[int | None] = Counter()
        topics_by_vector: dict[int, int | None] = {}
        for batch, rows in enumerate(_split(waiting, part_rows), first):
            keys: list[_Keys] = []
            parts += self._write_pair(rows, keys, batch, batch)
            ranges[batch] = [key.range for key in keys]
            for key in keys:
                records_by_topic.update(key.topics)
                topics_by_vector.update(zip(key.vector_ids, key.topics, strict=True))
            self._report("publish", sum(part.rows for part in parts if part.kind == "logs"), 0)
        return NewBatches(
            parts=parts, ranges=ranges, records_by_topic=records_by_topic, topics_by_vector=topics_by_vector
        )

    def rewrite(self, changes: Changes) -> list[PartInfo]:
        """The published parts, those written again that are stale; batches whose records all left are left out."""
        publications = self.store.publications
        counts = publications.rows_by_batch(self.dataset_id) if changes.leaving else {}
        logs, embeddings = (publications.parts(self.dataset_id, kind) for kind in ("logs", "embeddings"))
        parts: list[PartInfo] = []
        for n, pair in enumerate(zip(logs, embeddings, strict=True), 1):
            parts += self._rewritten(*pair, changes.stale_kinds(*pair, counts))
            self._report("rewrite", n, len(logs))
        return parts

    def _rewritten(self, logs: PartInfo, embeddings: PartInfo, stale: set[Kind]) -> list[PartInfo]:
        """The same batches as they are now; if a record left while one kind was written, the other kind follows."""
        if not stale:
            return [logs, embeddings]
        first, last = logs.first_batch, logs.last_batch
        name = unique_part_name(first, last)
        if stale == {"logs"}:
            new = self._write_logs(name, self._published_rows(first, last), first, last)
            if new.rows == embeddings.rows:
                return [new, embeddings]
        elif stale == {"embeddings"}:
            new = self._write_embeddings(name, map(_keys, self._published_rows(first, last)), first, last)
            if new.rows == logs.rows:
                return [logs, new]
        return self._write_pair(self._published_rows(first, last), [], first, last)

    def _published_rows(self, first: int, last: int) -> Iterator[list[Row]]:
        return self.store.publications.batch_rows(self.dataset_id, self.layout_id, first, last, batch_rows)

    def _write_pair(self, rows: Iterable[list[Row]], keys: list[_Keys], first: int, last: int) -> list[PartInfo]:
        """Both parts of these rows, none if there are no rows; `keys` receives the keys of the rows."""
        name = unique_part_name(first, last)
        logs = self._write_logs(name, _collecting(rows, keys), first, last)
        return [logs, self._write_embeddings(name, keys, first, last)] if logs.rows else []

    def _write_logs(self, name: str, batches: Iterable[list[Row]], first: int, last: int) -> PartInfo:
        tables = (logs_table(rows, self.extras, self.topics) for rows in batches)
        return part_info(write_logs_part(self.folder, name, tables, arrow_fields(self.extras)), first, last)

    def _write_embeddings(self, name: str, batches: Iterable[_Keys], first: int, last: int) -> PartInfo:
        vectors = self.store.vectors
        tables = (embeddings_table(keys.ids, vectors.get(keys.vector_ids, self.dim).astype(f16)) for keys in batches)
        return part_info(write_embeddings_part(self.folder, name, tables), first, last)

    def _report(self, step: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(step, done, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """What is needed of some rows to write their vectors and to mark them as indexed."""

    ids: Sequence[str]
    vector_ids: Sequence[int]
    topics: Sequence[int | None]
    range: SeqRange


def _keys(rows: Sequence[Row]) -> _Keys:
    return _Keys(
        ids=[row.stored.record.id for row in rows],
        vector_ids=[row.vector_id for row in rows],
        topics=[row.topic for row in rows],
        range=SeqRange(first=rows[0].stored.seq, last=rows[-1].stored.seq, rows=len(rows)),
    )


def _collecting(batches: Iterable[list[Row]], keys: list[_Keys]) -> Iterator[list[Row]]:
    """The same batches, while `keys` collects the keys of those that were read."""
    for rows in batches:
        keys.append(_keys(rows))
        yield rows


def _split(batches: Iterator[list[Row]], part_rows: int) -> Iterator[Iterator[list[Row]]]:
    """The batches in groups of `part_rows` rows, a batch more or less; each must be read before the next."""
    per_part = max(part_rows // batch_rows, 1)
    for first in batches:
        yield chain([first], islice(batches, per_part - 1))
