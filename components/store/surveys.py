"""Surveys of uploaded tables: their state, terrain and weights, what all of them took, and uploads per address."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from components.contracts import Json
from components.errors import NotFound
from components.store.engine import Database
from components.store.survey_tables import attempt_t, survey_t
from components.store.survey_tables import survey_tally_t as tally_t
from components.store.tables import dataset_t
from components.store.values import storable, to_json

minute_s = 60.0
row_type = np.dtype("<i2")
_uploads_lock = 7_262_784  # of PostgreSQL: uploads are counted one after the other

SurveyStatus = Literal["processing", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyInfo:
    """A survey, without its terrain. `uploaded` is what is known of the file."""

    dataset: str
    dataset_id: int
    file_name: str
    size_bytes: int
    uploaded: Json
    status: SurveyStatus
    stage: str
    error: str
    attempts: int
    weights: Mapping[int, float]
    created_at: datetime
    accessed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """How often something happened, and the seconds that it took in all."""

    n: int
    seconds: float


class Surveys:
    """All surveys."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def add(self, dataset: str, *, file_name: str, size_bytes: int, uploaded: Json) -> int:
        """A new survey and its dataset; returns the dataset's number."""
        now = datetime.now(UTC)
        with self.db.write() as connection:
            row = {"name": dataset, "sources": "[]", "settings": "{}", "created_at": now}
            number = int(connection.execute(insert(dataset_t).returning(dataset_t.c.id), row).scalar_one())
            connection.execute(
                insert(survey_t).values(
                    dataset_id=number,
                    file_name=storable(file_name),
                    size_bytes=size_bytes,
                    uploaded=_json(uploaded),
                    status="processing",
                    stage="",
                    error="",
                    attempts=0,
                    weights="{}",
                    created_at=now,
                    accessed_at=now,
                )
            )
        return number

    def get(self, dataset: str) -> SurveyInfo:
        """The survey of an uploaded dataset. Raises `NotFound`."""
        with self.db.read() as connection:
            row = connection.execute(_select().where(dataset_t.c.name == dataset)).mappings().first()
        if row is None:
            raise NotFound(f"There is no uploaded dataset {dataset!r}: it was deleted, or never uploaded here.")
        return _info(row)

    def all(self) -> list[SurveyInfo]:
        """All surveys, the least recently used first."""
        with self.db.read() as connection:
            rows = connection.execute(_select().order_by(survey_t.c.accessed_at, survey_t.c.dataset_id)).mappings()
            return [_info(row) for row in rows]

    def count(self) -> int:
        """How many surveys there are."""
        with self.db.read() as connection:
            return int(connection.execute(select(func.count()).select_from(survey_t)).scalar_one())

    def touch(self, dataset_id: int) -> None:
        """Remember that somebody used it now."""
        self._update(dataset_id, accessed_at=datetime.now(UTC))

    def start(self, dataset_id: int) -> None:
        """Note that a run of it begins."""
        self._update(dataset_id, status="processing", error="", attempts=survey_t.c.attempts + 1)

    def enter(self, dataset_id: int, stage: str) -> None:
        """Note the stage of the run."""
        self._update(dataset_id, stage=stage)

    def fail(self, dataset_id: int, error: str) -> None:
        """Note why the run failed; a terrain that was finished before stays."""
        self._update(dataset_id, status="failed", error=storable(error))

    def complete(self, dataset_id: int, *, terrain: Json, hill_of_row: NDArray[np.int64]) -> None:
        """Store the terrain. Weights of hills that it has not are dropped."""
        packed = zlib.compress(hill_of_row.astype(row_type).tobytes(), 6)
        hills = {hill["id"] for hill in terrain["hills"]}
        with self.db.write() as connection:
            weights = {hill: weight for hill, weight in self._weights(connection, dataset_id).items() if hill in hills}
            values = {"status": "completed", "error": "", "terrain": _json(terrain), "hill_of_row": packed}
            mine = survey_t.c.dataset_id == dataset_id
            connection.execute(update(survey_t).where(mine).values(values | {"weights": to_json(weights)}))

    def terrain(self, dataset_id: int) -> Json:
        """The terrain that was stored; None before."""
        query = select(survey_t.c.terrain).where(survey_t.c.dataset_id == dataset_id)
        with self.db.read() as connection:
            raw = connection.execute(query).scalar()
        return None if raw is None else orjson.loads(raw)

    def hill_of_row(self, dataset_id: int) -> NDArray[np.int64]:
        """The hill of each row of the file, (rows,), -1 for none."""
        query = select(survey_t.c.hill_of_row).where(survey_t.c.dataset_id == dataset_id)
        with self.db.read() as connection:
            packed = connection.execute(query).scalar()
        return np.frombuffer(zlib.decompress(packed or zlib.compress(b"")), row_type).astype(np.int64)

    def adjust(self, dataset_id: int, weights: Mapping[int, float]) -> dict[int, float]:
        """Change weights of hills; those that are not named stay. Returns all that are not 1. Raises `NotFound`."""
        with self.db.write() as connection:
            merged = {**self._weights(connection, dataset_id), **weights}
            kept = {hill: weight for hill, weight in merged.items() if weight != 1.0}
            mine = survey_t.c.dataset_id == dataset_id
            values = {"weights": to_json(kept), "accessed_at": datetime.now(UTC)}
            connection.execute(update(survey_t).where(mine).values(values))
        return kept

    def _weights(self, connection: Connection, dataset_id: int) -> dict[int, float]:
        query = select(survey_t.c.weights).where(survey_t.c.dataset_id == dataset_id)
        if self.db.dialect != "sqlite":
            query = query.with_for_update()
        raw = connection.execute(query).scalar()
        if raw is None:
            raise NotFound("The uploaded dataset was deleted.")
        return _weights(raw)

    def _update(self, dataset_id: int, **values: Any) -> None:
        with self.db.write() as connection:
            connection.execute(update(survey_t).where(survey_t.c.dataset_id == dataset_id).values(values))

    # --- uploads per address

    def admit(self, address: str, *, per_minute: int) -> float:
        """0, and the upload counts; or, after `per_minute` of them within a minute, seconds to wait until the next may begin."""
        with self.db.write() as connection:
            if self.db.dialect == "postgresql":
                connection.exec_driver_sql(f"select pg_advisory_xact_lock({_uploads_lock})")
            now = self.db.now(connection)
            # what is ahead of the clock was written before it was set back
            old = (attempt_t.c.at <= now - minute_s) | (attempt_t.c.at > now + minute_s)
            connection.execute(delete(attempt_t).where(old))
            mine = select(attempt_t.c.at).where(attempt_t.c.address == address).order_by(attempt_t.c.at)
            recent = list(connection.execute(mine).scalars())
            if len(recent) >= per_minute:
                return max(0.1, float(recent[-per_minute]) + minute_s - now)
            connection.execute(insert(attempt_t).values(address=address, at=now))
            return 0.0

    # --- what surveys took

    def tally(self, kind: str, name: str, *, n: int = 1, seconds: float = 0.0) -> None:
        """Add to what all surveys took."""
        row = self.db.insert(tally_t).values(kind=kind, name=name, n=n, seconds=seconds)
        sums = {"n": tally_t.c.n + n, "seconds": tally_t.c.seconds + seconds}
        with self.db.write() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["kind", "name"], set_=sums))

    def tallies(self) -> dict[tuple[str, str], Tallied]:
        """(kind, name) -> what it took."""
        with self.db.read() as connection:
            rows = connection.execute(select(tally_t)).mappings().all()
        return {(row["kind"], row["name"]): Tallied(n=row["n"], seconds=row["seconds"]) for row in rows}


def _json(value: Json) -> str:
    """JSON as text that every database stores, lone surrogates replaced."""
    return storable(orjson.dumps(_storable(value)).decode())


def _storable(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {key: _storable(one) for key, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list | tuple) else value


def _select() -> Any:
    plain = [column for column in survey_t.c if column.name not in {"terrain", "hill_of_row"}]
    return select(dataset_t.c.name.label("dataset"), *plain).join(dataset_t, dataset_t.c.id == survey_t.c.dataset_id)


def _info(row: RowMapping) -> SurveyInfo:
    return SurveyInfo(**{**row, "uploaded": orjson.loads(row["uploaded"]), "weights": _weights(row["weights"])})


def _weights(raw: str) -> dict[int, float]:
    return {int(hill): float(weight) for hill, weight in orjson.loads(raw).items()}
