"""Every invariant of store and output, checked: what `runatlas verify` reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.contracts import (
    NO_TOPIC,
    NO_TOPIC_LABEL,
    TOPIC_LEVEL,
    UNIT_TOLERANCE,
    Check,
    in_batches,
    with_occurrence,
)
from components.errors import NotFound, RunAtlasError
from components.snapshot.manifest import MANIFEST, TOPICS, labels_schema
from components.snapshot.parts import (
    LOGS_COLUMNS,
    REQUIRED,
    Part,
    embeddings_schema,
    read_columns,
    read_row_groups,
    vectors_of,
)
from components.snapshot.read import Snapshot, open_snapshot, read_topics, snapshot_at
from components.snapshot.row_sums import RowSum, has_twice, id_words
from components.store import Store
from components.store.publications import Row
from components.store.tables import RecordState
from components.store.vectors import f16
from components.store.verification import Verification

unit_tolerance = UNIT_TOLERANCE + 1e-3  # of a stored vector's length: float16 rounding adds up to 5e-4

POSITIONED: Final = ("id", "projection_x", "projection_y")

damaged = (OSError, ValueError, KeyError, TypeError, pa.ArrowException, RunAtlasError)
no_snapshot = (NotFound, OSError, ValueError, KeyError, TypeError)


def _checked(name: str, find_problem: Callable[[], str]) -> Check:
    try:
        detail = find_problem()
    except damaged as error:
        detail = f"can't be read: {error!r}"
    return Check(name=name, ok=not detail, detail=detail)


def verify_dataset(store: Store, dataset: str, dataset_id: int, output: Path) -> list[Check]:
    """All checks of one dataset; none of them writes, none raises on damage."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("the database is intact", lambda: "; ".join(Verification(store.db).database_errors()[:3])),
        ("every record's id follows from its content", lambda: _changed_records(store, dataset_id)),
        ("every key names one record", lambda: _shared_keys(store, dataset_id)),
        ("every record on the map has a position and a vector", lambda: _unplaced(store, dataset_id)),
        ("vectors are finite and of unit length", lambda: _bad_vectors(store)),
        ("the newest snapshot is published", lambda: _unpublished(store, dataset_id, output)),
        (
            "the output holds exactly the records on the map, at their positions",
            lambda: _astray(store, dataset_id, output),
        ),
    ]
    done = [_checked(name, check) for name, check in checks]
    if store.publications.newest(dataset_id) is None:
        return done
    try:
        return [*done, *check_snapshot(open_snapshot(output).path)]
    except no_snapshot as error:
        detail = f"{error}; `runatlas publish` rebuilds it"
        return [*done, Check(name=f'dataset "{dataset}" has a snapshot', ok=False, detail=detail)]


# --- the database ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Equals:
    """Stored records that are equal but for their occurrence: how many, the sum of their ids, and one of them."""

    seq: int
    count: int = 0
    ids: int = 0


def _changed_records(store: Store, dataset_id: int) -> str:
    """The ids of n equal records are those of occurrences 0 to n - 1, so each is computed once and only sums are kept."""
    repeated: dict[str, _Equals] = {}  # by the id of occurrence 0, which is not counted here
    for batch in store.records.stream(dataset_id, *RecordState):
        for stored in batch:
            first = with_occurrence(stored.record, 0).id
            if first != stored.record.id:
                equals = repeated.setdefault(first, _Equals(seq=stored.seq))
                equals.count += 1
                equals.ids += int(stored.record.id, 16)
    by_seq = {equals.seq: equals for equals in repeated.values()}
    for seqs in in_batches(by_seq, 1_000):
        for stored in store.records.by_seq(seqs):
            equals = by_seq[stored.seq]
            expected = (with_occurrence(stored.record, n).id for n in range(1, equals.count + 1))
            if sum(int(id, 16) for id in expected) != equals.ids:
                which = "was" if equals.count == 1 else f"or one of the {equals.count} records equal to it was"
                return f"record {stored.record.id} of {stored.record.filename} {which} changed after it was loaded"
    return ""


def _shared_keys(store: Store, dataset_id: int) -> str:
    shared = Verification(store.db).shared_keys(dataset_id)
    return f"several current records have the key {shared[0]!r}" if shared else ""


def _unplaced(store: Store, dataset_id: int) -> str:
    layout = store.layouts.current(dataset_id)
    n_indexed = store.records.count(dataset_id, RecordState.INDEXED)
    if layout is None:
        return f"{n_indexed} records are marked as indexed, but there is no map" if n_indexed else ""
    statements = Verification(store.db)
    n_current = statements.current_layout_count(dataset_id)
    if n_current != 1:
        return f"{n_current} layouts are current"
    n_placed = statements.placed_count(dataset_id, layout.id)
    return "" if n_placed == n_indexed else f"{n_indexed - n_placed} of {n_indexed} records have none"


def _bad_vectors(store: Store) -> str:
    for id, data in Verification(store.db).vectors():
        length = float(np.linalg.norm(np.frombuffer(data, f16).astype(np.float32)))
        if not abs(length - 1) < unit_tolerance:
            return f"vector {id} has length {length}"
    return ""


# --- database and output -----------------------------------------------------------------------------------------


def _unpublished(store: Store, dataset_id: int, output: Path) -> str:
    newest = store.publications.newest(dataset_id)
    try:
        number = open_snapshot(output).number
    except no_snapshot:
        number = None
    expected = newest.no if newest else None
    if number == expected:
        return ""
    return f"the database names snapshot {expected}, the folder {number}; `runatlas publish` finishes it"


def _astray(store: Store, dataset_id: int, output: Path) -> str:
    newest = store.publications.newest(dataset_id)
    if newest is None:
        return ""
    try:
        snapshot = open_snapshot(output)
    except NotFound as error:
        return str(error)
    if _published_sum(store, dataset_id, snapshot) == _sum_on_map(store, dataset_id, newest.layout_id):
        return ""
    return _first_astray(store, dataset_id, newest.layout_id, snapshot)


def _published_sum(store: Store, dataset_id: int, snapshot: Snapshot) -> RowSum:
    """Of the rows of the output, but for the superseded ones, which leave the next snapshot."""
    leaving = {
        stored.record.id
        for chunk in in_batches(store.publications.superseded(dataset_id), 5_000)
        for stored in store.records.by_seq(chunk)
    }
    total = RowSum()
    for file in snapshot.logs_files:
        for table in read_row_groups(file, POSITIONED):
            if leaving:
                table = table.filter(pc.invert(pc.is_in(table["id"], pa.array(sorted(leaving), pa.string()))))  # noqa: PLW2901
            x, y = (table[name].to_numpy().astype(np.float32) for name in POSITIONED[1:])
            total.add(id_words(table["id"]), x, y)
    return total


def _sum_on_map(store: Store, dataset_id: int, layout_id: int) -> RowSum:
    total = RowSum()
    for rows in in_batches(_rows_on_map(store, dataset_id, layout_id), 5_000):
        x, y = (np.array([getattr(row, name) for row in rows], np.float32) for name in ("x", "y"))
        total.add(id_words([row.stored.record.id for row in rows]), x, y)
    return total


def _first_astray(store: Store, dataset_id: int, layout_id: int, snapshot: Snapshot) -> str:
    """A record in which output and database differ; holds every row, which is why sums are compared first."""
    published = _published_positions(snapshot)
    for row in _rows_on_map(store, dataset_id, layout_id):
        id = row.stored.record.id
        position = published.pop(id, None)
        if position is None:
            return f"record {id} is not in the output"
        if position != (float(np.float32(row.x)), float(np.float32(row.y))):
            return f"record {id} is at {position} in the output, at {(row.x, row.y)} in the database"
    for chunk in in_batches(store.publications.superseded(dataset_id), 5_000):
        for stored in store.records.by_seq(chunk):
            published.pop(stored.record.id, None)  # it leaves the next snapshot
    if not published:
        return ""
    return f"{len(published)} records of the output are not on the map, such as {next(iter(published))}"


def _published_positions(snapshot: Snapshot) -> dict[str, tuple[float, float]]:
    table = read_columns(snapshot.logs_files, POSITIONED)
    ids, xs, ys = (column.to_pylist() for column in table.columns)
    return dict(zip(ids, zip(xs, ys, strict=True), strict=True))


def _rows_on_map(store: Store, dataset_id: int, layout_id: int) -> Iterator[Row]:
    batches = store.publications.rows_by_batch(dataset_id)
    if batches:
        for rows in store.publications.batch_rows(dataset_id, layout_id, min(batches), max(batches)):
            yield from rows


# --- the files of one snapshot -----------------------------------------------------------------------------------


def check_snapshot(path: Path) -> list[Check]:
    """Every promise of the snapshot in this folder, held against its files; never raises on a damaged one."""
    try:
        snapshot = snapshot_at(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Check(name="manifest is readable", ok=False, detail=f"{path / MANIFEST}: {error!r}")]
    checks: list[tuple[str, Callable[[Snapshot], str]]] = [
        ("parts are the ones in the manifest", _parts_differ),
        ("rows are as many as the manifest says", _rows_differ),
        ("columns are the specification's", _schemas_differ),
        ("ids are unique and equal in both outputs", _ids_differ),
        ("required columns hold no null", _nulls),
        ("positions are finite", _infinite_positions),
        ("vectors are of unit length and the manifest's dimension", _vectors_off),
        ("labels hold no null", _labels_off),
        ("topics of the records are active ones, under their names", _topics_off),
    ]
    return [_checked(name, partial(check, snapshot)) for name, check in checks]


def _parts_differ(snapshot: Snapshot) -> str:
    files: list[tuple[Part, Path]] = [(part, snapshot.path / file) for part, file in snapshot.manifest.files()]
    wrong = [file for part, file in files if not part.is_intact(file, thorough=True)]
    stray = sorted({*snapshot.logs_files, *snapshot.embeddings_files} - {file for _, file in files})
    return "; ".join(
        [f"{file.parent.name}/{file.name} is missing or changed" for file in wrong]
        + [f"{file.name} is not in the manifest" for file in stray]
    )


def _rows_differ(snapshot: Snapshot) -> str:
    expected = snapshot.manifest.rows
    counts = {
        kind: sum(pq.read_metadata(file).num_rows for file in files)
        for kind, files in (("logs", snapshot.logs_files), ("embeddings", snapshot.embeddings_files))
    }
    return "" if set(counts.values()) == {expected} else f"manifest: {expected}, files: {counts}"


def _schemas_differ(snapshot: Snapshot) -> str:
    problems = []
    schemas = [pq.read_schema(file).remove_metadata() for file in snapshot.logs_files]
    for schema in schemas:
        if list(zip(schema.names, schema.types, strict=True))[: len(LOGS_COLUMNS)] != list(LOGS_COLUMNS):
            problems.append(f"logs: {schema.to_string()}")
        if schema != schemas[0]:
            problems.append("logs parts differ in their columns")
    found = [pq.read_schema(file).remove_metadata() for file in snapshot.embeddings_files]
    problems += [f"embeddings: {schema.to_string()}" for schema in found if schema != embeddings_schema()]
    return "; ".join(problems)


def _ids_differ(snapshot: Snapshot) -> str:
    sums = [RowSum(), RowSum()]
    is_twice = False
    for files, total in zip((snapshot.logs_files, snapshot.embeddings_files), sums, strict=True):
        groups = [np.empty(0, np.uint64)]
        for file in files:
            for table in read_row_groups(file, ["id"]):
                words = id_words(table["id"])
                total.add(words)
                groups.append(words[:, 0])
        is_twice = is_twice or has_twice(np.concatenate(groups))
    return _which_ids_differ(snapshot) if is_twice or sums[0] != sums[1] else ""


def _which_ids_differ(snapshot: Snapshot) -> str:
    """How many ids occur twice, and where they differ; holds every id."""
    logs, vectors = (_sorted_ids(files) for files in (snapshot.logs_files, snapshot.embeddings_files))
    for name, ids in (("logs", logs), ("embeddings", vectors)):
        if pc.count_distinct(ids).as_py() != len(ids):
            return f"{len(ids) - pc.count_distinct(ids).as_py()} ids occur more than once in {name}"
    return "" if logs.equals(vectors) else "logs and embeddings hold different ids"


def _sorted_ids(files: Iterable[Path]) -> pa.ChunkedArray:
    chunks = [table["id"].combine_chunks() for file in files for table in read_row_groups(file, ["id"])]
    ids = pa.chunked_array(chunks, pa.string())
    return ids.take(pc.sort_indices(ids))


def _nulls(snapshot: Snapshot) -> str:
    counts = dict.fromkeys(REQUIRED, 0)
    for file in snapshot.logs_files:
        for table in read_row_groups(file, REQUIRED):
            for name in REQUIRED:
                counts[name] += table[name].null_count
    return ", ".join(f"{name}: {count} nulls" for name, count in counts.items() if count)


def _infinite_positions(snapshot: Snapshot) -> str:
    n_infinite = 0
    for file in snapshot.logs_files:
        for table in read_row_groups(file, POSITIONED[1:]):
            x, y = (column.to_numpy() for column in table.columns)
            n_infinite += int((~(np.isfinite(x) & np.isfinite(y))).sum())
    return f"{n_infinite} records have no finite position" if n_infinite else ""


def _vectors_off(snapshot: Snapshot) -> str:
    off = 0
    for file in snapshot.embeddings_files:
        for table in read_row_groups(file, ["vector"]):
            lengths = pc.list_value_length(table["vector"]).to_numpy()
            if (lengths != snapshot.manifest.dim).any():
                return f"{file.name} holds vectors of another dimension than {snapshot.manifest.dim}"
            norms = np.linalg.norm(vectors_of(table), axis=1)
            off += int((~(np.abs(norms - 1) < unit_tolerance)).sum())
    return f"{off} vectors are not of unit length" if off else ""


def _labels_off(snapshot: Snapshot) -> str:
    table = pq.read_table(snapshot.labels_file)
    if table.schema.remove_metadata() != labels_schema():
        return f"columns are {table.schema.remove_metadata().to_string()}"
    return ", ".join(f"{name}: nulls" for name in table.column_names if table[name].null_count)


def _topics_off(snapshot: Snapshot) -> str:
    topics = read_topics(snapshot)
    names = {one["id"]: one["name"] for one in topics if one["state"] == "active" and one["level"] == TOPIC_LEVEL}
    names[NO_TOPIC] = NO_TOPIC_LABEL
    for file in snapshot.logs_files:
        if "topic" not in pq.read_schema(file).names:
            continue  # published before there were topics
        pairs = pq.read_table(file, columns=["topic", "topic_label"]).group_by(["topic", "topic_label"]).aggregate([])
        for row in pairs.to_pylist():
            if names.get(row["topic"]) != row["topic_label"]:
                return f"records have topic {row['topic']} named {row['topic_label']!r}, which is not in {TOPICS}"
    return ""
