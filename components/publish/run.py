"""Publish: what the database says should be in the output, written to disk and committed as one snapshot.

The order makes every crash harmless: parts are written aside first, then one fenced transaction commits which records
and parts the next snapshot consists of, then the files follow from the database. The next run finishes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa

from components.atomic import disk_errors
from components.contracts import Json, Progress
from components.errors import DiskFailed
from components.publish import install
from components.publish.batches import BatchWriter, Changes, NewBatches
from components.publish.compaction import compacted
from components.publish.homes import expect_home, home_at, is_copy_of
from components.publish.parts import part_of
from components.publish.tables import ExtraColumn, extra_columns
from components.publish.topics import TopicPublication, open_topics
from components.settings import PublishSettings
from components.snapshot.manifest import Label, Manifest, manifest_from_json, snapshot_name
from components.snapshot.parts import KINDS, TOPIC_COLUMNS
from components.snapshot.read import current_number
from components.store import Store
from components.store.layouts import LayoutInfo
from components.store.lease import Fence
from components.store.publications import PartInfo, SnapshotInfo
from components.store.topics import topic_from_json
from components.topics.edits import RawSizes

clock_step_s = 0.02  # the resolution of a file system's times may be as coarse as this


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`snapshot` is the newest one, `rows` its records; `is_new` says that this publication made it."""

    snapshot: int | None
    rows: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Publishing:
    """Publication of one dataset, under its index lease."""

    store: Store
    fence: Fence
    _: KW_ONLY
    dataset: str
    dataset_id: int
    home: Path
    output: Path
    settings: PublishSettings
    extras: Sequence[str] = ()

    @property
    def parts_folder(self) -> Path:
        """The folder of the files that snapshots link to."""
        return self.output / "parts"

    @property
    def columns(self) -> list[ExtraColumn]:
        """The columns that the dataset declares."""
        return extra_columns(self.extras)

    def claim(self, *, adopt: bool = False) -> None:
        """Makes sure that this home keeps the dataset's output; `adopt` takes it over from another one.

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
        """Publishes everything that has a position in `layout`; does nothing if it is in the output already.

        Published files that are missing or cut are rebuilt from the database, as a new snapshot; `thorough` finds
        changed ones too. Raises `StoreBusy` if a load changed what was being published, `LeaseLost` if another index
        took over, `DiskFailed` if files can't be written or read.
        """
        with _file_errors(self.fence, self.output):
            return _publish(self, layout, dim, progress, thorough=thorough)

    def finish(self, *, thorough: bool = False) -> None:
        """Updates the files to the state in the database, and removes those that are no longer needed; see `publish`.

        What people decided about topics is published with them.
        """
        newest = self.store.publications.newest(self.dataset_id)
        if newest is None:
            return
        layout = self.store.layouts.current(self.dataset_id)
        assert layout is not None
        topics = open_topics(self.store, self.dataset_id, layout.id, newest)
        with _file_errors(self.fence, self.output):
            is_damaged = _lost_parts(self, thorough=thorough) or _is_damaged(self, newest, thorough=thorough)
            if not is_damaged and not topics.have_changed:
                _install(self, newest)
                return
            _publish(self, layout, newest.manifest["manifest"]["dim"], None, thorough=thorough)

    def parts(self) -> list[PartInfo]:
        """The parts of the newest snapshot, logs first."""
        return [part for kind in KINDS for part in self.store.publications.parts(self.dataset_id, kind)]


@contextmanager
def _file_errors(fence: Fence, output: Path) -> Iterator[None]:
    """Raises `DiskFailed` for files that can't be written or are damaged; `LeaseLost` if another index removed them."""
    with disk_errors(output):
        try:
            yield
        except (OSError, pa.ArrowException, DiskFailed) as error:
            fence.check()
            if not isinstance(error, pa.ArrowException):
                raise
            raise DiskFailed(
                f"A published file below {output} is damaged: {error}. Run `runatlas publish` to rebuild it."
            ) from error


def _publish(
    publishing: Publishing, layout: LayoutInfo, dim: int, progress: Progress | None, *, thorough: bool
) -> Published:
    publications = publishing.store.publications
    newest = publications.newest(publishing.dataset_id)
    topics = open_topics(publishing.store, publishing.dataset_id, layout.id, newest)
    changes = _changes(publishing, newest, layout, topics, thorough=thorough)
    writer = BatchWriter(
        store=publishing.store,
        dataset_id=publishing.dataset_id,
        layout_id=layout.id,
        dim=dim,
        folder=publishing.parts_folder,
        extras=publishing.columns,
        topics=topics.names,
        progress=progress,
    )
    new = writer.write_new(publishing.settings.part_rows)
    kept = writer.rewrite(changes) if changes else publishing.parts()
    if newest is not None and not (new.parts or changes or _is_damaged(publishing, newest, thorough=thorough)):
        _install(publishing, newest)
        return Published(snapshot=newest.no, rows=newest.rows, is_new=False)
    parts = compacted([*kept, *new.parts], publishing.parts_folder, part_rows=publishing.settings.part_rows)
    manifest = _next_manifest(publishing, newest, layout, dim, parts)
    _commit(publishing, newest, layout, new, changes, manifest, parts, topics)
    done = publications.newest(publishing.dataset_id)
    assert done is not None
    _install(publishing, done)
    return Published(snapshot=done.no, rows=done.rows, is_new=True)


# --- what changed since the newest snapshot was published


def _changes(
    publishing: Publishing, newest: SnapshotInfo | None, layout: LayoutInfo, topics: TopicPublication, *, thorough: bool
) -> Changes:
    return Changes(
        layout=newest is not None and newest.layout_id != layout.id,
        columns=newest is not None and newest.manifest["extras"] != _extras_spec(publishing.columns),
        topics=newest is not None and topics.have_changed,
        model=newest is not None and newest.manifest["model_id"] != layout.model_id,
        lost=_lost_parts(publishing, thorough=thorough),
        leaving=publishing.store.publications.superseded(publishing.dataset_id),
    )


def _lost_parts(publishing: Publishing, *, thorough: bool) -> set[str]:
    """Names of the parts whose file is missing or cut; if `thorough`, or changed."""
    parts = [part_of(info) for info in publishing.parts()]
    return {
        part.name for part in parts if not part.is_intact(publishing.parts_folder / part.file_name, thorough=thorough)
    }


def _is_damaged(publishing: Publishing, newest: SnapshotInfo, *, thorough: bool) -> bool:
    """Was the snapshot damaged, or did another database publish beyond it? Numbers are used only once."""
    published = current_number(publishing.output) or 0
    folder = publishing.output / "snapshots" / snapshot_name(newest.no)
    if published < newest.no and not folder.exists():
        return False  # it is still to be built
    return published > newest.no or not install.is_complete(folder, _manifest(newest), thorough=thorough)


# --- the commit


def _next_manifest(
    publishing: Publishing, newest: SnapshotInfo | None, layout: LayoutInfo, dim: int, parts: Sequence[PartInfo]
) -> Manifest:
    return Manifest(
        snapshot=max(newest.no if newest else 0, install.highest_number(publishing.output)) + 1,
        dataset=publishing.dataset,
        layout=layout.version,
        model=publishing.store.vectors.model(layout.model_id)[0],
        text_settings=layout.text_hash,
        dim=dim,
        rows=sum(part.rows for part in parts if part.kind == "logs"),
        parts=[part_of(info) for info in parts],
        created=datetime.now(UTC),
    )


def _commit(
    publishing: Publishing,
    newest: SnapshotInfo | None,
    layout: LayoutInfo,
    new: NewBatches,
    changes: Changes,
    manifest: Manifest,
    parts: Sequence[PartInfo],
    topics: TopicPublication,
) -> None:
    """The one transaction that says which records and parts the next snapshot consists of."""
    body = {
        "manifest": orjson.loads(manifest.to_json()),
        "extras": _extras_spec(publishing.columns),
        "model_id": layout.model_id,
    }
    publications, dataset_id = publishing.store.publications, publishing.dataset_id
    with publishing.fence.write() as connection:
        sizes: RawSizes | None = None
        if newest is not None and not changes:  # before the new records are published ones
            known = publishing.store.topics.published_vectors(connection, layout.id, new.topics_by_vector)
            sizes = topics.grown(new.sizes(known))
        for batch, ranges in new.ranges.items():
            publications.commit_batch(connection, dataset_id, no=batch, ranges=ranges, layout_id=layout.id)
        publications.leave(connection, changes.leaving)
        if changes.layout:
            publications.remove_unplaced(connection, dataset_id, layout.id)
        if newest is None or changes:
            publications.expect_rows(connection, dataset_id, manifest.rows)
        if sizes is None:
            sizes = publishing.store.topics.sizes(connection, layout.id, dataset_id)
        body |= topics.body(sizes, manifest.snapshot)
        publications.replace_parts(connection, dataset_id, parts)
        publications.commit_snapshot(
            connection, dataset_id, no=manifest.snapshot, layout_id=layout.id, rows=manifest.rows, manifest=body
        )
        publishing.store.layouts.make_current(connection, dataset_id, layout.id)


# --- the files


def _install(publishing: Publishing, newest: SnapshotInfo) -> None:
    """Updates the files to the state in the database; then removes those that are no longer needed."""
    labels = [Label(**label) for label in newest.manifest["labels"]]
    topics = [topic_from_json(raw) for raw in newest.manifest.get("topics", [])]
    install.install_snapshot(
        publishing.output, _manifest(newest), publishing.parts_folder, labels, topics, publishing.fence
    )
    now = time.time() - clock_step_s
    publishing.fence.check()  # files of a successor are younger than `now`, and stay
    install.collect_garbage(
        publishing.output,
        keep=publishing.settings.keep_snapshots,
        keep_s=publishing.settings.keep_s,
        live_parts=[part_of(info) for info in publishing.parts()],
        now=now,
    )


def _manifest(snapshot: SnapshotInfo) -> Manifest:
    return manifest_from_json(orjson.dumps(snapshot.manifest["manifest"]))


def _extras_spec(columns: Sequence[ExtraColumn]) -> Json:
    """The columns behind those of every output, as the database keeps them: name, key of `extra`, type."""
    declared = [[column.name, column.name, column.type] for column in columns]
    return [*declared, *([name, "", str(type)] for name, type in TOPIC_COLUMNS)]
