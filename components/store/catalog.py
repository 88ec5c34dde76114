"""The catalog beside a corpus's vector files: an SQLite database of the manifests, and of where each key's vector is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.errors import DiskFailed

_schema = """
create table if not exists manifest (
  year text primary key, model text not null, rows integer not null, dim integer not null, date text not null,
  fields_hash text not null, prompt_hash text not null, content text not null, json text not null) without rowid;
create table if not exists vector (
  key text primary key, year text not null, row integer not null,
  metadata_hash text not null, text_hash text not null) without rowid;
create index if not exists vector_of_year on vector (year);
"""
_manifest_columns = ("year", "model", "rows", "dim", "date", "fields_hash", "prompt_hash", "content")


class CatalogRow(NamedTuple):
    """Where the vector of a key is: its row in the file of its year, and what it was made from."""

    key: str
    year: str
    row: int
    metadata_hash: str
    text_hash: str


class Catalog:
    """`catalog.sqlite` in a folder of vector files; made when it is first opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "catalog.sqlite"

    @contextmanager
    def writing(self) -> Iterator[CatalogWriter]:
        """One transaction: all that is entered in the block, or nothing."""
        with self._opened() as connection, connection:
            yield CatalogWriter(connection)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Year -> the manifest that was entered."""
        with self._opened() as connection:
            return {year: json.loads(raw) for year, raw in connection.execute("select year, json from manifest")}

    def find(self, key: str) -> CatalogRow | None:
        """Where the vector of this key is; one look-up in an index."""
        query = "select key, year, row, metadata_hash, text_hash from vector where key = ?"
        with self._opened() as connection:
            found = connection.execute(query, (key,)).fetchone()
        return CatalogRow(*found) if found else None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30.0)) as connection:
                connection.executescript(_schema)
                yield connection
        except sqlite3.Error as error:
            raise DiskFailed(
                f"The catalog {self.path} can't be used: {error}. Remove it and ingest again: all of it is made anew."
            ) from error


class CatalogWriter:
    """What can be entered within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def clear(self, year: str) -> None:
        """Forget a year."""
        for table in ("vector", "manifest"):
            self._connection.execute(f"delete from {table} where year = ?", (year,))

    def add(self, rows: Iterable[CatalogRow]) -> None:
        """Enter vectors; a key that stood in another year stands here now."""
        self._connection.executemany("insert or replace into vector values (?, ?, ?, ?, ?)", rows)

    def enter(self, manifest: Mapping[str, Any]) -> None:
        """Enter the manifest of a year."""
        values = (*(manifest[name] for name in _manifest_columns), json.dumps(manifest, sort_keys=True))
        self._connection.execute("insert or replace into manifest values (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
