"""Database tables as sources: any SQLAlchemy URL with `?table=` and `&cursor=`, read on from the last row seen.

The cursor column must grow: an increasing number, or a time at which rows are written once. Rows are read in its order
(and that of the primary key, where several share a value), so only what stands after the last one is asked for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from components.contracts import Batch, Cursor, Json, Locator
from components.errors import BadSetting, SourceError, Unreadable

if TYPE_CHECKING:
    from sqlalchemy import Column, Engine, Select, Table

    from components.sources.reading import Job

ROWS: Final = 1_000
OWN_PARAMETERS: Final = ("table", "cursor", "schema")


def is_url(spec: str) -> bool:
    """Is it a URL rather than a path?"""
    scheme, found, _ = spec.partition("://")
    return bool(found) and scheme.replace("+", "").isalnum()


def without_secrets(spec: str) -> str:
    """The URL without user, password and foreign parameters; a path as it is.

    >>> without_secrets("postgresql://me:pw@db:5432/app?table=logs&cursor=id&sslkey=k")
    'postgresql://db:5432/app?table=logs'
    """
    if not is_url(spec):
        return spec
    parts = urlsplit(spec)
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key in ("schema", "table")]
    host = parts.netloc.rpartition("@")[2]
    path = posixpath.basename(parts.path) if not host else parts.path
    return f"{parts.scheme}://{host}{'/' if not host else ''}{path}?{urlencode(kept)}".rstrip("?")


def locator(spec: str) -> Locator:
    """The locator of a table's URL. Raises `SourceError` where it names no table."""
    if "table" not in _parameters(spec):
        raise SourceError("The URL names no table; write it as postgresql://host/db?table=NAME&cursor=COLUMN.")
    return Locator(location=spec, key=without_secrets(spec), kind="table")


def _parameters(spec: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(spec).query))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The columns that order the rows: the cursor column, then the rest of the primary key."""

    table: Table
    columns: Sequence[Column[Any]]

    def after(self, last: Sequence[Any] | None) -> Select[Any]:
        from sqlalchemy import or_, select

        query = select(self.table).where(self.columns[0].is_not(None)).order_by(*self.columns).limit(ROWS)
        if last is None:
            return query
        beyond = []
        for n, column in enumerate(self.columns):
            same = [one == value for one, value in zip(self.columns[:n], last, strict=False)]
            beyond.append(_all([*same, column > last[n]]))
        return query.where(or_(*beyond))


def _all(conditions: Iterable[Any]) -> Any:
    from sqlalchemy import and_

    return and_(*conditions)


def read(locator: Locator, cursor: Cursor | None, job: Job) -> Iterator[Batch]:
    """Batches of the rows after the cursor. Raises `Unreadable` with the reason, never with the URL's secrets."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = _engine(locator.location)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise Unreadable(f"{locator.key} can't be opened: {_plain(error, locator)}") from error
    try:
        yield from _read(engine, locator, cursor, job)
    except SQLAlchemyError as error:
        raise Unreadable(f"{locator.key} can't be read: {_plain(error, locator)}") from error
    finally:
        engine.dispose()


def _plain(error: Exception, locator: Locator) -> str:
    told = str(getattr(error, "orig", None) or error).splitlines()[0]
    return told.replace(locator.location, locator.key)


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine

    parts = urlsplit(url)
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key not in OWN_PARAMETERS]
    bare = urlunsplit(parts._replace(query=urlencode(kept)))
    if parts.scheme.startswith("sqlite"):  # urlunsplit drops the empty host
        bare = f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(kept)}" if kept else "")
    if parts.scheme in ("postgres", "postgresql"):
        bare = "postgresql+psycopg" + bare[len(parts.scheme) :]
    return create_engine(bare)


def _keys(engine: Engine, url: str) -> _Keys:
    from sqlalchemy import MetaData, Table

    wanted = _parameters(url)
    table = Table(wanted["table"], MetaData(), schema=wanted.get("schema"), autoload_with=engine)
    primary = list(table.primary_key.columns)
    name = wanted.get("cursor")
    if name is None:
        if not primary:
            raise BadSetting(f"Table {table.name!r} has no primary key; name a growing column with &cursor=COLUMN.")
        return _Keys(table=table, columns=primary)
    if name not in table.columns:
        raise BadSetting(f"Table {table.name!r} has no column {name!r}; it has: {', '.join(table.columns.keys())}.")
    return _Keys(table=table, columns=[table.columns[name], *(one for one in primary if one.name != name)])


def _read(engine: Engine, locator: Locator, cursor: Cursor | None, job: Job) -> Iterator[Batch]:
    from components.sources.reading import Gathered

    assert job.format.reader is not None
    keys = _keys(engine, locator.location)
    state = dict(cursor.state) if cursor else {}
    reader = job.format.reader(state.get("reader"), job.options)
    last = [_decoded(value) for value in state["last"]] if state.get("last") else None
    gathered = Gathered(job=job)
    n_rows = cursor.offset if cursor else 0
    while rows := _page(engine, keys, last):
        for row in rows:
            item = _item(row)
            gathered.add_all(reader.read, item, n_rows)
            n_rows += 1
            gathered.size_bytes += sum(len(value) for value in item.values() if isinstance(value, str))
        last = [rows[-1][column.name] for column in keys.columns]
        if gathered.is_full:
            yield gathered.batch(_cursor(job, reader.state(), last, n_rows))
    yield gathered.batch(_cursor(job, reader.state(), last, n_rows))


def _page(engine: Engine, keys: _Keys, last: Sequence[Any] | None) -> list[Mapping[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(keys.after(last)).mappings()]


def _item(row: Mapping[str, Any]) -> Json:
    from components.sources.parquet import plain

    return plain(row)


def _cursor(job: Job, reader_state: Json, last: Sequence[Any] | None, n_rows: int) -> Cursor:
    from components.sources.cursors import as_json

    state = {"kind": "table", "shape": "lines", "reader": as_json(reader_state)}
    if last is not None:
        state["last"] = [_encoded(value) for value in last]
    return Cursor(format=job.format.name, offset=n_rows, state=state)


def _encoded(value: Any) -> Json:
    """A key's value as JSON that `_decoded` turns back into the same value."""
    for name, kind in _KINDS.items():
        if type(value) is kind:
            return {name: value.isoformat() if isinstance(value, date) else str(value)}
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
    return kind.fromisoformat(spelled) if issubclass(kind, date) else kind(spelled)


_KINDS: Final[Mapping[str, Any]] = {"datetime": datetime, "date": date, "decimal": Decimal, "uuid": UUID}
