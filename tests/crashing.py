"""A fault layer for processes of their own: kills before the N-th effect, and a simulated page cache.

`watch` wraps the calls by which the product changes anything outside of its process: files (write, fsync, link, rename,
symlink, unlink) and commits of the database. The product is dead before the N-th of them. All of them are counted in
the main thread alone: the heartbeat of a lease comes at any time.

The page cache is pessimistic: what was not flushed may be lost by a power cut, names as well as contents, in any order.
So whatever gets a name that others rely on has to be flushed before, and `problems` collects what was not.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sqlalchemy import event

from components.pipeline import Pipeline
from components.store.engine import Database

Listing = dict[str, str]


def content_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing_of(folder: Path) -> Listing:
    """What a folder holds: names, each with its inode or the target of its link."""
    return {
        path.name: str(path.readlink()) if path.is_symlink() else str(path.lstat().st_ino) for path in folder.iterdir()
    }


class PageCache:
    """The files and names of a tree that would survive a power cut; all that exist at the beginning do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, str] = {}
        self.folders: dict[int, Listing] = {}
        for path in (root, *root.rglob("*")):
            self.flushed(path)

    def flushed(self, path: Path) -> None:
        if path.is_symlink() or not path.exists():
            return
        if path.is_dir():
            self.folders[path.stat().st_ino] = listing_of(path)
        else:
            self.files[path.stat().st_ino] = content_of(path)

    def lost(self, path: Path) -> list[str]:
        """What a power cut could remove of this path and what is below it."""
        if path.is_symlink():
            return []
        if path.is_file():
            return [] if self.files.get(path.stat().st_ino) == content_of(path) else [f"content of {path.name}"]
        durable = self.folders.get(path.stat().st_ino)
        found = [] if durable == listing_of(path) else [f"names in {path.name}/"]
        return found + [one for inner in path.iterdir() for one in self.lost(inner)]

    def forgotten(self, path: Path) -> list[str]:
        """The names on the way to this path that a power cut could remove from their folders."""
        found = []
        while path != self.root:
            durable = self.folders.get(path.parent.stat().st_ino, {})
            if durable.get(path.name) != listing_of(path.parent).get(path.name):
                found.append(f"name of {path.name}")
            path = path.parent
        return found


class Watch:
    """Counts effects below `home`, and kills the process before number `at`."""

    def __init__(self, home: Path, at: int | None) -> None:
        self.home = home
        self.at = at
        self.count = 0
        self.publishes_from = 0  # the first effect on a snapshot
        self.problems: list[str] = []
        self.cache = PageCache(home) if at is None else None
        self.statements: list[str] = []  # of the transaction that is open
        self._main = threading.get_ident()

    def effect(self, path: Any = "") -> None:
        """One more; the process ends here if it is the one."""
        if threading.get_ident() == self._main:
            self.count += 1
            if not self.publishes_from and "/snapshots/" in os.fspath(path):
                self.publishes_from = self.count
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_ours(self, path: Path) -> bool:
        return path.is_relative_to(self.home) and not path.name.startswith("runatlas.db")

    # --- files

    def install(self) -> None:
        for name in ("link", "rename", "replace", "symlink"):
            setattr(os, name, self._naming(name, getattr(os, name)))
        for name in ("unlink", "rmdir", "mkdir"):
            setattr(os, name, self._changing(getattr(os, name)))
        for owner, name in (
            (Path, "write_bytes"),
            (Path, "write_text"),
            (pq, "write_table"),
            (np, "save"),
            (np, "savez"),
        ):
            setattr(owner, name, self._writing(getattr(owner, name)))
        for name in ("write_table", "close"):
            setattr(pq.ParquetWriter, name, self._writing(getattr(pq.ParquetWriter, name)))
        os.fsync = self._flushing(os.fsync)  # type: ignore[assignment]

    def _writing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.effect()
            return real(*arguments, **options)

        return call

    def _changing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            self.effect(path)
            return real(path, *arguments, **options)

        return call

    def _flushing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            self.effect()
            real(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if self.cache and self._is_ours(path):
                self.cache.flushed(path)

        return call

    def _naming(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: Any, target: Any, **options: Any) -> Any:
            self.effect()
            # rmtree and friends name paths relative to an open folder
            if self.cache and Path(target).is_absolute() and self._is_ours(Path(target)):
                self._expect_flushed(name, Path(source), Path(target))
            return real(source, target, **options)

        return call

    def _expect_flushed(self, name: str, source: Path, target: Path) -> None:
        assert self.cache is not None
        if name == "symlink" or target.name.startswith(".del-"):
            return
        self.problems += [f"{name} to {target.name} before a flush: {one}" for one in self.cache.lost(source)]
        if target.name == "current":
            snapshot = target.parent / source.readlink()
            missing = self.cache.lost(snapshot) + self.cache.forgotten(snapshot)
            self.problems += [f"current before a flush: {one}" for one in missing]
            if self._committed() < int(snapshot.name):
                self.problems.append("current names a snapshot that the database has not committed")

    def _committed(self) -> int:
        """The newest snapshot as another process sees it."""
        with closing(sqlite3.connect(self.home / "runatlas.db")) as connection:
            return int(connection.execute("select coalesce(max(no), 0) from snapshot").fetchone()[0])

    # --- the database

    def watch_database(self, db: Database, output: Path) -> None:
        commit = db.writer.dialect.do_commit

        def do_commit(connection: Any) -> None:
            self.effect()
            if threading.get_ident() == self._main:
                self._expect_whole(output)
            commit(connection)

        db.writer.dialect.do_commit = do_commit  # type: ignore[method-assign]

        @event.listens_for(db.writer, "after_cursor_execute")
        def note(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
            if threading.get_ident() == self._main and re.match("insert|update|delete", statement, re.IGNORECASE):
                self.statements.append(" ".join(statement.split()).lower())

        @event.listens_for(db.writer, "begin")
        def begin(_: Any) -> None:
            if threading.get_ident() == self._main:
                self.statements.clear()

    def _expect_whole(self, output: Path) -> None:
        """Checks each transaction: what belongs together is committed together, and the parts it names are on disk."""
        statements, self.statements = self.statements, []
        moves_cursor = any(s.startswith("update source") and "cursor=" in s for s in statements)
        if any(s.startswith("insert into record") for s in statements) and not moves_cursor:
            self.problems.append("records are committed without the cursor that says they were read")
        adds_snapshot = any(s.startswith("insert into snapshot") for s in statements)
        if any(s.startswith("update record set") and "batch=" in s for s in statements) and not adds_snapshot:
            self.problems.append("records are marked as published without the snapshot that holds them")
        if self.cache and adds_snapshot:
            lost = [one for path in (output / "parts").iterdir() for one in self.cache.lost(path)]
            lost += [one for path in (output / "parts").iterdir() for one in self.cache.forgotten(path)]
            self.problems += [f"a snapshot is committed before a flush of its parts: {one}" for one in lost]

    def finish(self, output: Path) -> list[str]:
        """All problems, once the work is done: then its result has to be durable."""
        if self.cache and (output / "current").exists():
            self.problems += [f"done before a flush: {one}" for one in self.cache.forgotten(output / "current")]
        return sorted(set(self.problems))


def watch(pipeline: Pipeline, at: int | None) -> Watch:
    """Watches this process from now on; without `at` it lives and the page cache is simulated."""
    watched = Watch(pipeline.settings.home, at)
    db = pipeline.store.db  # opened, its schema brought up to date
    watched.install()
    watched.watch_database(db, pipeline.output())
    return watched
