"""Sabotage of the product, switched on by tests in processes of their own: each has to be caught by the checks.

A mutant breaks one promise the way that a careless change would. They patch few functions, and SQL, so that they outlive
changes elsewhere.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from crashing import Watch
from sqlalchemy import Connection, event

from components import atomic, cached_folder
from components.contracts import Batch
from components.pipeline import Pipeline
from components.publish import install, parts
from components.publish import run as publishing
from components.snapshot import export
from components.snapshot.manifest import Label, manifest_from_json, snapshot_file_name, snapshot_name
from components.snapshot.read import current_number
from components.store.lease import Fence
from components.store.record_writer import RecordWriter
from components.store.topics import topic_from_json

Mutant = Callable[[Pipeline, Watch], None]
everywhere = (atomic, parts, install, export, cached_folder)


def _replace(name: str, value: Any) -> None:
    """The function of `components.atomic` in every module that has imported it."""
    for module in everywhere:
        if hasattr(module, name):
            setattr(module, name, value)


def rename_before_fsync(_: Pipeline, __: Watch) -> None:
    @contextmanager
    def atomic_write(path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.tmp")
        yield aside
        os.replace(aside, path)  # noqa: PTH105
        atomic.fsync_file(path)
        atomic.fsync_folder(path.parent)

    _replace("atomic_write", atomic_write)


def no_fsync_of_files(_: Pipeline, __: Watch) -> None:
    _replace("fsync_file", lambda path: None)
    _replace("fsync_folder", _fsync_folder)


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def no_fsync_of_folders(_: Pipeline, __: Watch) -> None:
    _replace("fsync_folder", lambda path: None)


def manifest_without_fsync(_: Pipeline, __: Watch) -> None:
    real = atomic.atomic_write

    @contextmanager
    def atomic_write(path: Path) -> Iterator[Path]:
        if path.name == "manifest.json":
            yield path
            return
        with real(path) as aside:
            yield aside

    install.atomic_write = atomic_write  # type: ignore[attr-defined]


def cache_without_fsync(_: Pipeline, __: Watch) -> None:
    cached_folder._flush = lambda folder: None


def built_in_place_with_its_manifest_first(_: Pipeline, __: Watch) -> None:
    def build(folder: Path, final: Path, manifest: Any, parts_folder: Path, tables: Any) -> None:
        final.mkdir(parents=True)
        (final / "manifest.json").write_bytes(manifest.to_json())
        for kind in ("logs", "embeddings"):
            (final / kind).mkdir()
            for index, part in enumerate(manifest.of(kind)):
                os.link(parts_folder / part.file_name, final / kind / snapshot_file_name(index))
        for name, table in tables.items():
            pq.write_table(table, final / name)

    install._build = build


def pointer_not_replaced_at_once(_: Pipeline, __: Watch) -> None:
    def swap(output: Path, number: int, claim: Any) -> None:
        (output / "current").unlink(missing_ok=True)
        os.symlink(f"snapshots/{snapshot_name(number)}", output / "current")  # noqa: PTH211

    install._swap_current = swap


def old_snapshot_removed_before_the_swap(_: Pipeline, __: Watch) -> None:
    real = install.install_snapshot

    def publish(output: Path, manifest: Any, *arguments: Any, **options: Any) -> None:
        for old in (output / "snapshots").glob("*"):
            if old.name != snapshot_name(manifest.snapshot):
                shutil.rmtree(old)
        real(output, manifest, *arguments, **options)

    install.install_snapshot = publish


def files_swapped_before_the_commit(_: Pipeline, __: Watch) -> None:
    """`current` names a snapshot that the database does not know yet, and may never."""
    real = publishing._commit

    def commit(publication: Any, *arguments: Any, **options: Any) -> None:
        connection = publication.fence.db.writer.connect()
        transaction = connection.begin()

        @contextmanager
        def write(_: Any) -> Iterator[Connection]:
            yield connection

        fence_write = Fence.write
        Fence.write = write  # type: ignore[assignment,method-assign]
        try:
            real(publication, *arguments, **options)
            query = "select manifest from snapshot where dataset_id = ? order by no desc limit 1"
            raw = connection.exec_driver_sql(query, (publication.dataset_id,)).scalar_one()
        finally:
            Fence.write = fence_write  # type: ignore[method-assign]
        import orjson

        body = orjson.loads(raw)
        manifest = manifest_from_json(orjson.dumps(body["manifest"]))
        labels = [Label(**label) for label in body["labels"]]
        topics = [topic_from_json(topic) for topic in body["topics"]]
        install.install_snapshot(publication.output, manifest, publication.parts_folder, labels, topics)
        transaction.commit()
        connection.close()

    publishing._commit = commit


def _committed_before(prefix: str) -> Mutant:
    """The transaction is cut in two before a statement that begins so."""

    def mutant(pipeline: Pipeline, watch: Watch) -> None:
        @event.listens_for(pipeline.store.db.writer, "before_cursor_execute")
        def cut(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if statement.lower().startswith(prefix):
                connection.dialect.do_commit(cursor.connection)
                cursor.execute("BEGIN IMMEDIATE")
                watch.effect()

    return mutant


def cursor_before_rows(_: Pipeline, __: Watch) -> None:
    def persist(real: Any, *arguments: Any, **options: Any) -> Any:
        batch = next(one for one in arguments if isinstance(one, Batch))
        without = dataclasses.replace(batch, records=[], defects=[])
        moved = real(*[without if one is batch else one for one in arguments], **options)
        return real(*arguments, **options | {"version": moved.version})

    _wrap_persist(persist)


def equal_lines_counted_once(_: Pipeline, __: Watch) -> None:
    def persist(real: Any, *arguments: Any, **options: Any) -> Any:
        batch = next(one for one in arguments if isinstance(one, Batch))
        unique = list({record.id: record for record in batch.records}.values())
        fewer = dataclasses.replace(batch, records=unique)
        return real(*[fewer if one is batch else one for one in arguments], **options)

    _wrap_persist(persist)


def _wrap_persist(persist: Callable[..., Any]) -> None:
    real = RecordWriter.persist
    RecordWriter.persist = lambda *arguments, **options: persist(real, *arguments, **options)  # type: ignore[method-assign]


def lease_without_token(_: Pipeline, __: Watch) -> None:
    @contextmanager
    def write(self: Fence) -> Iterator[Connection]:
        with self.db.write() as connection:
            yield connection

    Fence.write = write  # type: ignore[assignment,method-assign]
    Fence.check = lambda self: None  # type: ignore[method-assign]


def swap_without_fence(_: Pipeline, __: Watch) -> None:
    """The swap ignores leases."""

    def swap(output: Path, number: int, claim: Any) -> None:
        aside = output / f".current-{os.getpid()}"
        os.symlink(f"snapshots/{snapshot_name(number)}", aside)  # noqa: PTH211
        os.replace(aside, output / "current")  # noqa: PTH105
        atomic.fsync_folder(output)

    install._swap_current = swap


def swap_that_does_not_check_its_claim(_: Pipeline, __: Watch) -> None:
    """It prepares its pointer and revokes older ones, but never checks whether its lease was lost."""
    Fence.check = lambda self: None  # type: ignore[method-assign]
    install._expect_not_beyond = lambda output, number: None


def asides_not_revoked(_: Pipeline, __: Watch) -> None:
    """Neither by this one nor, in the test, by the one that takes over."""
    install._revoke_older = lambda output, token: None


def transaction_over_the_swap(_: Pipeline, __: Watch) -> None:
    """The fence's row stays locked while files are written."""
    real = install.install_snapshot

    def publish(*arguments: Any) -> None:
        fence = next(one for one in arguments if isinstance(one, Fence))
        with fence.write():
            real(*arguments[:-1])

    install.install_snapshot = publish


def clean_up_of_what_is_current(_: Pipeline, __: Watch) -> None:
    def collect(output: Path, **_: Any) -> list[str]:
        with suppress(OSError):
            shutil.rmtree(output / "snapshots" / snapshot_name(current_number(output) or 0))
        return []

    install.collect_garbage = collect  # type: ignore[assignment]


rows_and_cursor_in_two_transactions = _committed_before("update source set")
marks_and_snapshot_in_two_transactions = _committed_before("insert into snapshot")
