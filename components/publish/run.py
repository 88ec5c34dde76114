"""Publish: what the database says should be in the output, brought to disk and committed as one snapshot.

The order makes every crash harmless: parts are written aside first, then one fenced transaction commits which records
and parts the next snapshot consists of, then the files follow from the database. Whoever comes next finishes them.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from components.arrow import numbers, strings, times
from components.atomic import disk_errors
from components.contracts import Json, Progress
from components.errors import DiskFailed
from components.publish import install
from components.publish.homes import expect_home, home_at, is_copy_of
from components.publish.install import Manifest
from components.publish.labels import Label, map_labels
from components.settings import PublishSettings
from components.snapshot.parts import TIMESTAMP, Kind, Part, part_file_name, read_row_groups
from components.snapshot.read import manifest_from_json, snapshot_name
from components.store import Store
from components.store.layouts import LayoutInfo
from components.store.lease import Fence
from components.store.publications import PartInfo, Row, SnapshotInfo
from components.store.vectors import f16

batch_rows = 5_000  # read from the database at once
label_sample = 20_000  # records that region names are made from
clock_step_s = 0.02  # file systems tell the time in steps of up to so much
label_growth = 1.2  # names are made anew when the map has grown by so much

_arrow_types = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`snapshot` is the newest one, `rows` its records; `is_new` says that this publication made it."""

    snapshot: int | None
    rows: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Parts on disk that no transaction has named yet, a pair a batch, and what records each batch holds."""

    parts: Sequence[PartInfo]
    batches: Mapping[int, Sequence[tuple[int, int, int]]]  # no -> (first seq, last seq, rows) of its stretches


class Publishing:
    """Publication of one dataset, under its index lease."""

    def __init__(
        self,
        store: Store,
        fence: Fence,
        *,
        dataset: str,
        dataset_id: int,
        home: Path,
        output: Path,
        settings: PublishSettings,
        extras: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.fence = fence
        self.dataset = dataset
        self.dataset_id = dataset_id
        self.home = home
        self.output = output
        self.settings = settings
        self.extras = [_extra_column(spec) for spec in extras]

    @property
    def parts_folder(self) -> Path:
        return self.output / "parts"

    def claim(self, *, adopt: bool = False) -> None:
        """Make sure that this home keeps the dataset's output; `adopt` takes it over from another one.

        Raises `OutputElsewhere` where another home keeps it.
        """
        recorded = self.store.publications.home(self.dataset_id)
        with disk_errors(self.home):
            own = home_at(self.home, recorded)
        if not adopt and not self.store.db.lies_in(self.home):  # a home with a database of its own shares nothing
            expect_home(own, recorded, is_copy=is_copy_of(own, recorded, self.home), dataset=self.dataset)
        if own != recorded:
            self.store.publications.keep_at(self.fence, self.dataset_id, own)

    def publish(
        self, layout: LayoutInfo, dim: int, progress: Progress | None = None, *, thorough: bool = False
    ) -> Published:
        """Bring everything that has a position in `layout` into the output; nothing happens if it is there.

        Published files that are missing or cut are made anew from the database, as a new snapshot; `thorough` finds
        changed ones too. Raises `StoreBusy` if a load changed what was being published, `DiskFailed` if files can't be
        written or read.
        """
        with _files_told(self.output), self._overtaken_told():
            return self._publish(layout, dim, progress, thorough=thorough)

    def finish(self, *, thorough: bool = False) -> None:
        """Bring the files to what the database says, and remove what nobody needs any more; see `publish`."""
        newest = self.store.publications.newest(self.dataset_id)
        if newest is None:
            return
        with _files_told(self.output), self._overtaken_told():
            if not (self._lost_parts(thorough=thorough) or self._is_spoilt(newest, thorough=thorough)):
                self._bring_out(newest)
                return
            layout = self.store.layouts.current(self.dataset_id)
            assert layout is not None
            self._publish(layout, newest.manifest["manifest"]["dim"], None, thorough=thorough)

    @contextmanager
    def _overtaken_told(self) -> Iterator[None]:
        """Raises `LeaseLost` for files that are gone because another index took over and cleaned up."""
        try:
            yield
        except (OSError, pa.ArrowException, DiskFailed):
            self.fence.check()
            raise

    def _publish(self, layout: LayoutInfo, dim: int, progress: Progress | None, *, thorough: bool) -> Published:
        newest = self.store.publications.newest(self.dataset_id)
        lost = self._lost_parts(thorough=thorough)
        leaving = self.store.publications.superseded(self.dataset_id)
        written = self._write_waiting(layout, dim, progress)
        rebuilt = self._rebuild(newest, layout, dim, progress, leaving=leaving, lost=lost)
        is_spoilt = newest is not None and self._is_spoilt(newest, thorough=thorough)
        if newest is not None and not written.batches and rebuilt is None and not is_spoilt:
            self._bring_out(newest)
            return Published(snapshot=newest.no, rows=newest.rows, is_new=False)
        kept = rebuilt if rebuilt is not None else self._current_parts()
        parts = self._compacted([*kept, *written.parts])
        self._commit(newest, layout, dim, parts, written, leaving=leaving, is_rebuilt=rebuilt is not None)
        done = self.store.publications.newest(self.dataset_id)
        assert done is not None
        self._bring_out(done)
        return Published(snapshot=done.no, rows=done.rows, is_new=True)

    def _bring_out(self, newest: SnapshotInfo) -> None:
        """Make the files say what the database says; then remove what nobody needs any more."""
        labels = [Label(**label) for label in newest.manifest["labels"]]
        install.publish_snapshot(self.output, _manifest(newest), self.parts_folder, labels, self.fence)
        now = time.time() - clock_step_s
        self.fence.check()  # whatever a successor writes is younger than `now`, and stays
        live = [_part(part) for part in self._current_parts()]
        install.collect_garbage(
            self.output,
            keep=self.settings.keep_snapshots,
            keep_s=self.settings.keep_s,
            live_parts=live,
            now=now,
        )

    # --- what became of the files since they were published

    def _lost_parts(self, *, thorough: bool) -> set[str]:
        """Names of the parts whose file is gone or cut; if `thorough`, or changed."""
        return {
            part.name
            for part in self._current_parts()
            if not install.is_part(self.parts_folder / _part(part).file_name, _part(part), thorough=thorough)
        }

    def _is_spoilt(self, newest: SnapshotInfo, *, thorough: bool) -> bool:
        """Was the snapshot damaged, or did another database publish beyond it? Numbers are used only once."""
        shown = install.current_number(self.output) or 0
        folder = self.output / "snapshots" / snapshot_name(newest.no)
        if shown < newest.no and not folder.exists():
            return False  # it is still to be built
        return shown > newest.no or not install.is_whole(folder, _manifest(newest), thorough=thorough)

    # --- what goes into the next snapshot

    def _write_waiting(self, layout: LayoutInfo, dim: int, progress: Progress | None) -> Written:
        """The waiting records that have a position, as new parts of a batch of their own."""
        first = self.store.publications.next_batch(self.dataset_id)
        waiting = self.store.publications.waiting_rows(self.dataset_id, layout.id, batch_rows)
        parts: list[PartInfo] = []
        batches: dict[int, list[tuple[int, int, int]]] = {}
        for batch, stretch in enumerate(_stretches(waiting, self.settings.part_rows), first):
            links: list[_Links] = []
            name = _part_name(batch, batch)
            tables = (self.logs_table(rows) for rows in _noting(stretch, links))
            logs = install.write_logs_part(self.parts_folder, name, tables, self._arrow_extras())
            vectors = (self.embeddings_table(link, dim) for link in links)
            embeddings = install.write_embeddings_part(self.parts_folder, name, vectors)
            parts += [_info(logs, batch, batch), _info(embeddings, batch, batch)]
            batches[batch] = [(link.first_seq, link.last_seq, len(link.ids)) for link in links]
            if progress:
                progress("publish", sum(n for stretches in batches.values() for _, _, n in stretches), 0)
        return Written(parts=parts, batches=batches)

    def _rebuild(
        self,
        newest: SnapshotInfo | None,
        layout: LayoutInfo,
        dim: int,
        progress: Progress | None,
        *,
        leaving: Collection[int],
        lost: Collection[str],
    ) -> list[PartInfo] | None:
        """The published parts, written again where something in them changed; None if nothing did."""
        if newest is None:
            return []
        is_other_map = newest.layout_id != layout.id
        is_other_shape = newest.manifest["extras"] != self._extras_spec()
        is_other_model = newest.manifest["model_id"] != layout.model_id
        if not (is_other_map or is_other_shape or leaving or lost):
            return None
        counts = self.store.publications.rows_by_batch(self.dataset_id) if leaving else None
        parts: list[PartInfo] = []
        pairs = list(zip(self._parts("logs"), self._parts("embeddings"), strict=True))
        for n, (logs, embeddings) in enumerate(pairs):
            both = is_other_model or (counts is not None and _has_shrunk(logs, counts))
            parts += self._renewed(
                logs,
                embeddings,
                layout,
                dim,
                logs_too=both or is_other_map or is_other_shape or logs.name in lost,
                embeddings_too=both or embeddings.name in lost,
            )
            if progress:
                progress("rewrite", n + 1, len(pairs))
        return parts

    def _renewed(
        self,
        logs: PartInfo,
        embeddings: PartInfo,
        layout: LayoutInfo,
        dim: int,
        *,
        logs_too: bool,
        embeddings_too: bool,
    ) -> list[PartInfo]:
        """The same batches as they are now, one kind or both; nothing where all of them have left.

        Where a record left while one kind was being written, the other kind has to follow.
        """
        if logs_too and not embeddings_too:
            made, _ = self._rewritten_logs(logs, layout)
            if made.rows == embeddings.rows:
                return [made, embeddings]
        elif embeddings_too and not logs_too:
            rows = self._batch_rows(embeddings, layout)
            made = self._rewritten_embeddings(embeddings, (_links(batch) for batch in rows), dim)
            if made.rows == logs.rows:
                return [logs, made]
        elif not logs_too:
            return [logs, embeddings]
        made, links = self._rewritten_logs(logs, layout)
        return [made, self._rewritten_embeddings(logs, links, dim)] if made.rows else []

    def _batch_rows(self, part: PartInfo, layout: LayoutInfo) -> Iterator[list[Row]]:
        return self.store.publications.batch_rows(
            self.dataset_id, layout.id, part.first_batch, part.last_batch, batch_rows
        )

    def _rewritten_logs(self, part: PartInfo, layout: LayoutInfo) -> tuple[PartInfo, list[_Links]]:
        """The new part, and what its twin is made of."""
        links: list[_Links] = []
        tables = (self.logs_table(rows) for rows in _noting(self._batch_rows(part, layout), links))
        name = _part_name(part.first_batch, part.last_batch)
        made = install.write_logs_part(self.parts_folder, name, tables, self._arrow_extras())
        return _info(made, part.first_batch, part.last_batch), links

    def _rewritten_embeddings(self, part: PartInfo, links: Iterable[_Links], dim: int) -> PartInfo:
        name = _part_name(part.first_batch, part.last_batch)
        vectors = (self.embeddings_table(link, dim) for link in links)
        made = install.write_embeddings_part(self.parts_folder, name, vectors)
        return _info(made, part.first_batch, part.last_batch)

    def _compacted(self, parts: Sequence[PartInfo]) -> list[PartInfo]:
        """The same rows in fewer files where there are many small ones; both kinds are merged alike."""
        out: list[PartInfo] = []
        for kind in ("logs", "embeddings"):
            mine = sorted((p for p in parts if p.kind == kind), key=lambda part: part.first_batch)
            groups = install.tiers([(p.name, p.rows) for p in mine], part_rows=self.settings.part_rows)
            merged = {name: group for group in groups for name in group}
            for part in mine:
                group = merged.get(part.name)
                if group is None:
                    out.append(part)
                elif part.name == group[0]:
                    out.append(self._merged(kind, [p for p in mine if p.name in group]))
        return out

    def _merged(self, kind: Kind, parts: Sequence[PartInfo]) -> PartInfo:
        paths = [self.parts_folder / part_file_name(kind, part.name) for part in parts]
        name = _part_name(parts[0].first_batch, parts[-1].last_batch)
        made = install.merge_parts(kind, paths, self.parts_folder, name)
        return _info(made, parts[0].first_batch, parts[-1].last_batch)

    def logs_table(self, rows: Sequence[Row]) -> pa.Table:
        """Rows as the logs output shows them."""
        records = [row.stored.record for row in rows]
        table: dict[str, pa.Array] = {
            "id": strings([r.id for r in records]),
            "timestamp": times([r.timestamp for r in records], TIMESTAMP),
            "filename": strings([r.filename for r in records]),
            "text": strings([r.text for r in records]),
            "iteration": numbers(np.array([r.iteration for r in records], np.int32), pa.int32()),
            "idx_in_iteration": numbers(np.array([r.idx_in_iteration for r in records], np.int32), pa.int32()),
            "type": strings([r.type for r in records]),
            "projection_x": numbers(np.array([row.x for row in rows], np.float32), pa.float32()),
            "projection_y": numbers(np.array([row.y for row in rows], np.float32), pa.float32()),
        }
        for name, key, kind in self.extras:
            values = [_typed(r.extra.get(key), kind) for r in records]
            table[name] = strings(values) if kind == "string" else pa.array(values, _arrow_types[kind])
        return pa.table(table, schema=install.logs_schema(self._arrow_extras()))

    def embeddings_table(self, links: _Links, dim: int) -> pa.Table:
        """Ids and vectors of rows that were written."""
        return install.embeddings_table(links.ids, self.store.vectors.get(links.vector_ids, dim).astype(f16))

    def _arrow_extras(self) -> list[tuple[str, pa.DataType]]:
        return [(name, _arrow_types[kind]) for name, _, kind in self.extras]

    def _extras_spec(self) -> Json:
        return [list(extra) for extra in self.extras]

    def _parts(self, kind: Kind) -> list[PartInfo]:
        return self.store.publications.parts(self.dataset_id, kind)

    def _current_parts(self) -> list[PartInfo]:
        return [*self._parts("logs"), *self._parts("embeddings")]

    # --- the commit

    def _commit(
        self,
        newest: SnapshotInfo | None,
        layout: LayoutInfo,
        dim: int,
        parts: Sequence[PartInfo],
        written: Written,
        *,
        leaving: Sequence[int],
        is_rebuilt: bool,
    ) -> None:
        no = max(newest.no if newest else 0, install.highest_number(self.output)) + 1
        rows = sum(part.rows for part in parts if part.kind == "logs")
        manifest = Manifest(
            snapshot=no,
            dataset=self.dataset,
            layout=layout.version,
            model=self.store.vectors.model(layout.model_id)[0],
            text_settings=layout.text_hash,
            dim=dim,
            rows=rows,
            parts=[_part(part) for part in parts],
            created=datetime.now(UTC),
        )
        labels, labelled_rows = self._labels(newest, layout, parts, rows)
        body = {
            "manifest": orjson.loads(manifest.to_json()),
            "labels": [asdict(label) for label in labels],
            "labelled_rows": labelled_rows,
            "extras": self._extras_spec(),
            "model_id": layout.model_id,
        }
        publications = self.store.publications
        with self.fence.write() as connection:
            for batch, stretches in written.batches.items():
                publications.commit_batch(
                    connection, self.dataset_id, no=batch, stretches=stretches, layout_id=layout.id
                )
            publications.leave(connection, leaving)
            if newest is not None and newest.layout_id != layout.id:
                publications.part_with_unplaced(connection, self.dataset_id, layout.id)
            if is_rebuilt:
                publications.expect_rows(connection, self.dataset_id, rows)
            publications.replace_parts(connection, self.dataset_id, parts)
            publications.commit_snapshot(
                connection, self.dataset_id, no=no, layout_id=layout.id, rows=rows, manifest=body
            )
            self.store.layouts.make_current(connection, self.dataset_id, layout.id)

    def _labels(
        self, newest: SnapshotInfo | None, layout: LayoutInfo, parts: Sequence[PartInfo], rows: int
    ) -> tuple[list[Label], int]:
        """Names of the map's regions, and the rows that they were made from; the old ones while they still fit."""
        if newest is not None and newest.layout_id == layout.id:
            labelled = newest.manifest["labelled_rows"]
            if rows <= labelled * label_growth:
                return [Label(**label) for label in newest.manifest["labels"]], labelled
        files = [self.parts_folder / part_file_name("logs", part.name) for part in parts if part.kind == "logs"]
        sample = _sampled(files, rows)
        places = np.column_stack([sample["projection_x"].to_numpy(), sample["projection_y"].to_numpy()])
        return map_labels(places.astype(np.float32), sample["text"].to_pylist(), sample["type"].to_pylist()), rows


def _sampled(files: Sequence[Path], rows: int) -> pa.Table:
    """Texts, types and places of at most `label_sample` records, taken evenly from all parts."""
    columns = ["text", "type", "projection_x", "projection_y"]
    stride = max(1, -(-rows // label_sample))
    tables = [
        table.take(np.arange(0, table.num_rows, stride)) for path in files for table in read_row_groups(path, columns)
    ]
    empty = install.logs_schema().empty_table().select(columns)
    return pa.concat_tables([empty, *tables])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    """What of some rows is needed to write their vectors and to mark them."""

    ids: Sequence[str]
    vector_ids: Sequence[int]
    first_seq: int
    last_seq: int


def _links(rows: Sequence[Row]) -> _Links:
    return _Links(
        ids=[row.stored.record.id for row in rows],
        vector_ids=[row.vector_id for row in rows],
        first_seq=rows[0].stored.seq,
        last_seq=rows[-1].stored.seq,
    )


def _noting(batches: Iterable[list[Row]], links: list[_Links]) -> Iterator[list[Row]]:
    """The same batches, while `links` learns what went by."""
    for rows in batches:
        links.append(_links(rows))
        yield rows


def _stretches(batches: Iterator[list[Row]], part_rows: int) -> Iterator[Iterator[list[Row]]]:
    """The batches in stretches of `part_rows` rows, a batch more or less; each must be read before the next."""
    per_part = max(part_rows // batch_rows, 1)
    for first in batches:
        yield chain([first], islice(batches, per_part - 1))


def _manifest(snapshot: SnapshotInfo) -> Manifest:
    return manifest_from_json(orjson.dumps(snapshot.manifest["manifest"]))


def _has_shrunk(part: PartInfo, counts: Mapping[int, int]) -> bool:
    """Does this part hold records that should leave? `counts`: batch -> how many of it are on the map now."""
    return part.rows != sum(n for batch, n in counts.items() if part.first_batch <= batch <= part.last_batch)


@contextmanager
def _files_told(output: Path) -> Iterator[None]:
    """Raises `DiskFailed` for what the disk refuses, and for parts that turn out to be damaged when they are read."""
    with disk_errors(output):
        try:
            yield
        except pa.ArrowException as error:
            raise DiskFailed(
                f"A published file below {output} is damaged: {error}. `runatlas publish` makes it anew."
            ) from error


def _part_name(first_batch: int, last_batch: int) -> str:
    """Unique whoever writes: two indexes never write the same file, even if one of them should not."""
    return f"{first_batch:06d}-{last_batch:06d}-{uuid.uuid4().hex[:8]}"


def _info(part: Part, first_batch: int, last_batch: int) -> PartInfo:
    return PartInfo(
        kind=part.kind,
        name=part.name,
        first_batch=first_batch,
        last_batch=last_batch,
        rows=part.rows,
        size_bytes=part.size_bytes,
        sha256=part.sha256,
    )


def _part(info: PartInfo) -> Part:
    kind: Kind = "logs" if info.kind == "logs" else "embeddings"
    return Part(kind=kind, name=info.name, rows=info.rows, sha256=info.sha256, size_bytes=info.size_bytes)


def _extra_column(spec: str) -> tuple[str, str, str]:
    """Column, key of `extra`, type, from `key` or `key:type`.

    >>> _extra_column("cost:float")
    ('cost', 'cost', 'float')
    """
    key, _, kind = spec.partition(":")
    return key, key, kind if kind in _arrow_types else "string"


def _typed(value: Json, kind: str) -> Any:
    """The value as the column's type, or None where it is none."""
    if value is None:
        return None
    if kind == "string":
        return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    if kind == "bool":
        return value if isinstance(value, bool) else None
    try:
        number = int(value) if kind == "int" else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_storable = -(2**63) <= number < 2**63 if kind == "int" else math.isfinite(number)
    return number if is_storable else None
