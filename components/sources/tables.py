"""Database tables as sources: any SQLAlchemy URL with `?table=` and `&cursor=`, read on from the last row seen.

The cursor column must grow: an increasing number, or a time at which rows are written once. Rows that come late with
a value that was read already are still taken; those of a lower value are not, nor those that have no value at all.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from components.contracts import Batch, Cursor, Json, Locator
from components.errors import Unreadable
from components.sources.cursors import as_json
from components.sources.parquet import plain
from components.sources.reading.batches import BatchBuilder, Job
from components.sources.table_urls import parsed_url

if TYPE_CHECKING:
    from sqlalchemy import URL, Column, Engine, Select, Table

ROWS: Final = 1_000
TWINS: Final = 10_000  # rows of one cursor value that are distinguished by their content
OWN_PARAMETERS: Final = ("table", "cursor", "schema")


# --- the database ----------------------------------------------------------------------------------------------


def _engine(url: URL) -> Engine:
    from sqlalchemy import create_engine, event

    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and not posixpath.exists(url.database or ""):
        raise Unreadable(f"There is no file {posixpath.basename(url.database or '')!r}.")  # SQLite would make it
    engine = create_engine(url.difference_update_query(OWN_PARAMETERS))
    if engine.driver == "psycopg":
        event.listen(engine, "connect", _take_any_time)
    return engine


def _take_any_time(connection: Any, _: Any) -> None:
    """Give times that Python can't hold, such as infinity, as text: an error would cost the whole page."""
    from psycopg import DataError
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    def lenient(known: Any) -> type[Loader]:
        class Lenient(Loader):
            def load(self, data: Any) -> Any:
                try:
                    return known(self.oid, connection).load(data)
                except DataError:
                    return bytes(data).decode()

        return Lenient

    adapters = connection.adapters
    for name in ("date", "timestamp", "timestamptz"):
        oid = adapters.types[name].oid
        adapters.register_loader(oid, lenient(adapters.get_loader(oid, Format.TEXT)))


# --- the table -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """How far a table is read: the keys of the last row, and what was seen of the rows that share its cursor value.

    Without `seen` only rows beyond the keys are new.
    """

    last: Sequence[Any] | None = None
    seen: Counter[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The columns that order the rows: the cursor column, then the rest of the primary key."""

    table: Table
    columns: Sequence[Column[Any]]
    unique: bool  # the cursor column alone is the primary key

    def after(self, position: _Position) -> Select[Any]:
        """The query of the next page of rows."""
        from sqlalchemy import and_, or_, select

        cursor, last = self.columns[0], position.last
        query = select(self.table).where(cursor.is_not(None)).order_by(*self.columns)
        if last is None:
            return query.limit(ROWS)
        if position.seen is not None:
            return query.where(cursor >= last[0]).limit(ROWS + position.seen.total())
        beyond = []
        for n, column in enumerate(self.columns):
            same = [one == value for one, value in zip(self.columns[:n], last, strict=False)]
            beyond.append(and_(*same, column > last[n]))
        return query.where(or_(*beyond)).limit(ROWS)

    def of(self, row: Mapping[str, Any]) -> list[Any]:
        """The row's values of these columns."""
        return [row[column.name] for column in self.columns]


def _keys(engine: Engine, wanted: Mapping[str, Any]) -> _Keys:
    table = _reflected(engine, str(wanted["table"]), wanted.get("schema"))
    primary = list(table.primary_key.columns)
    name = wanted.get("cursor")
    if name is None:
        if not primary:
            raise Unreadable(f"Table {table.name!r} has no primary key; name a growing column with &cursor=COLUMN.")
        return _Keys(table=table, columns=primary, unique=True)
    if name not in table.columns:
        raise Unreadable(f"Table {table.name!r} has no column {name!r}; it has: {', '.join(table.columns.keys())}.")
    others = [one for one in primary if one.name != name]
    columns = [table.columns[name], *others]
    return _Keys(table=table, columns=columns, unique=bool(primary) and not others)


def _reflected(engine: Engine, name: str, schema: str | None) -> Table:
    from sqlalchemy import MetaData, Table, inspect
    from sqlalchemy.exc import NoSuchTableError
    from sqlalchemy.types import NullType

    if schema is None and "." in name and not inspect(engine).has_table(name):
        schema, _, name = name.rpartition(".")
    try:
        table = Table(name, MetaData(), schema=schema, autoload_with=engine, resolve_fks=False)
    except NoSuchTableError:
        found = inspect(engine)
        there = ", ".join(sorted([*found.get_table_names(schema), *found.get_view_names(schema)])[:20])
        raise Unreadable(f"There is no table {name!r} there; there is: {there or 'none at all'}.") from None
    if engine.dialect.name == "sqlite":
        for column in table.columns:  # values have the type that they were stored with, and compare by it
            column.type = NullType()
    return table


# --- reading ---------------------------------------------------------------------------------------------------


def read(locator: Locator, cursor: Cursor | None, job: Job) -> Iterator[Batch]:
    """Batches of the rows after the cursor. Raises `Unreadable` with the reason, never with the URL's secrets."""
    from sqlalchemy.exc import SQLAlchemyError

    url = parsed_url(locator.url or locator.location)
    try:
        engine = _engine(url)
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise Unreadable(f"{locator.key} can't be opened: {_driver_message(error, url)}") from error
    try:
        yield from _read(_keys(engine, url.query), engine, cursor, job)
    except SQLAlchemyError as error:
        raise Unreadable(f"{locator.key} can't be read: {_driver_message(error, url)}") from error
    finally:
        engine.dispose()


def _driver_message(error: Exception, url: URL) -> str:
    """The first line of the driver's message, without the password; with what to do where signing in failed."""
    message = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
    if any(words in message.lower() for words in _NOT_SIGNED_IN):
        message = f"{message.rstrip('.')}. {_WAYS_TO_SIGN_IN}"
    return message.replace(str(url.password), "…") if url.password else message


_NOT_SIGNED_IN = ("no password supplied", "password authentication failed", "access denied", "authentication failed")
_WAYS_TO_SIGN_IN = (
    "Give the password once more in the URL to `runatlas load`, name the URL with it in datasets.NAME.sources of "
    "runatlas.toml, or, for PostgreSQL, put it in ~/.pgpass."
)


def _read(keys: _Keys, engine: Engine, cursor: Cursor | None, job: Job) -> Iterator[Batch]:
    assert job.format.reader is not None
    state = cursor.state if cursor else {}
    reader = job.format.reader(state.get("reader"), job.options)
    batch = BatchBuilder(job=job)
    position, n_rows = _position_in(state), cursor.offset if cursor else 0
    while found := _page(engine, keys, position):
        for row in found:
            item = plain(row)
            batch.add_all(reader.read, item, n_rows)
            n_rows += 1
            batch.size_bytes += sum(len(value) for value in item.values() if isinstance(value, str))
        position = _advanced(position, keys, found)
        if batch.is_full:
            yield batch.take(_cursor(job, reader.state(), position, n_rows))
    yield batch.take(_cursor(job, reader.state(), position, n_rows))


def _page(engine: Engine, keys: _Keys, position: _Position) -> list[Mapping[str, Any]]:
    """The next rows that were not seen yet, in order; none when all are read."""
    with engine.connect() as connection:
        rows: list[Mapping[str, Any]] = [dict(row) for row in connection.execute(keys.after(position)).mappings()]
    if not position.seen or position.last is None:
        return rows
    seen, fresh = position.seen.copy(), []
    for row in rows:
        if seen and keys.of(row)[0] == position.last[0] and seen[digest := _digest(keys, row)]:
            seen[digest] -= 1
        else:
            fresh.append(row)
    return fresh


def _advanced(position: _Position, keys: _Keys, rows: Sequence[Mapping[str, Any]]) -> _Position:
    """The position after these rows. Raises `Unreadable` where too many share a value and have no key of their own."""
    last = keys.of(rows[-1])
    if keys.unique:
        return _Position(last=last)
    goes_on = position.last is not None and position.last[0] == last[0]
    if goes_on and position.seen is None:
        return _Position(last=last)
    seen = position.seen.copy() if goes_on and position.seen else Counter[str]()
    seen.update(_digest(keys, row) for row in rows if keys.of(row)[0] == last[0])
    if seen.total() <= TWINS:
        return _Position(last=last, seen=seen)
    if len(keys.columns) == 1:
        raise Unreadable(
            f"More than {TWINS:,} rows of table {keys.table.name!r} hold {str(last[0])[:40]!r} in {keys.columns[0].name!r}, "
            "and it has no primary key: name a column that grows with every row."
        )
    return _Position(last=last)


def _digest(keys: _Keys, row: Mapping[str, Any]) -> str:
    """What distinguishes a row from others of its cursor value: its primary key, or all that it holds."""
    distinct = keys.of(row)[1:] or list(row.values())
    return blake2b(repr(distinct).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


# --- the cursor ------------------------------------------------------------------------------------------------


def _position_in(state: Mapping[str, Json]) -> _Position:
    if not state.get("last"):
        return _Position()
    seen = state.get("seen")
    last = [_decoded(value) for value in state["last"]]
    return _Position(last=last, seen=None if seen is None else Counter(seen))


def _cursor(job: Job, reader_state: Json, position: _Position, n_rows: int) -> Cursor:
    state = {"kind": "table", "shape": "lines", "reader": as_json(reader_state)}
    if position.last is not None:
        state["last"] = [_encoded(value) for value in position.last]
    if position.seen is not None:
        state["seen"] = dict(position.seen)
    return Cursor(format=job.format.name, offset=n_rows, state=state)


def _encoded(value: Any) -> Json:
    """A key's value as JSON that `_decoded` turns back into the same value."""
    for name, kind in _KINDS.items():
        if type(value) is kind:
            return {name: value.isoformat() if isinstance(value, date | time) else str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return value


def _decoded(value: Json) -> Any:
    if not isinstance(value, dict):
        return value
    name, spelled = next(iter(value.items()))
    if name == "bytes":
        return bytes.fromhex(spelled)
    kind = _KINDS[name]
    return kind.fromisoformat(spelled) if issubclass(kind, date | time) else kind(spelled)


_KINDS: Final[Mapping[str, Any]] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "decimal": Decimal,
    "uuid": UUID,
}
