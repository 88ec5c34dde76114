"""What loads and indexes are doing and did: progress while they run, their report afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update

from components.contracts import Json
from components.store.engine import Database
from components.store.tables import Run

run_t = Run.__table__  # type: ignore[attr-defined]
silent_after = timedelta(minutes=2)  # a run that says nothing for so long is dead


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One load or index. `state`: running, done, failed, cancelled; or crashed, if it fell silent while running."""

    id: str
    dataset: str
    kind: str
    state: str
    step: str
    done: int
    total: int
    report: Json
    error: str | None
    started_at: datetime
    finished_at: datetime | None


class Runs:
    """The run book."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def start(self, id: str, dataset: str, kind: str) -> None:
        """Note that a run began; the same id again (a retry) begins anew. An index also forgets runs of long ago."""
        now = datetime.now(UTC)
        fresh = {
            "dataset": dataset,
            "kind": kind,
            "state": "running",
            "step": "",
            "done": 0,
            "total": 0,
            "report": None,
            "error": None,
            "started_at": now,
            "heartbeat_at": now,
            "finished_at": None,
        }
        with self.db.write() as connection:
            insert = self.db.insert(run_t).values(id=id, **fresh)
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=fresh))
        if kind == "index":
            self.trim()

    def progress(self, id: str, step: str, done: int, total: int) -> None:
        """How far a run is."""
        with self.db.write() as connection:
            values = {"step": step, "done": done, "total": total, "heartbeat_at": datetime.now(UTC)}
            connection.execute(update(run_t).where(run_t.c.id == id).values(values))

    def finish(self, id: str, state: str, *, report: Json = None, error: str | None = None) -> None:
        """How a run ended."""
        now = datetime.now(UTC)
        raw = None if report is None else orjson.dumps(report).decode()
        with self.db.write() as connection:
            values = {"state": state, "report": raw, "error": error, "finished_at": now, "heartbeat_at": now}
            connection.execute(update(run_t).where(run_t.c.id == id).values(values))

    def get(self, id: str) -> RunInfo | None:
        """The run of this id, or None."""
        with self.db.read() as connection:
            row = connection.execute(select(run_t).where(run_t.c.id == id)).mappings().first()
        return _info(row) if row else None

    def last_ended(self, dataset: str, kind: str) -> RunInfo | None:
        """The newest run of a kind that is over, also by a crash; None before the first."""
        newest = self.last(dataset, kind)
        if newest is None or newest.state != "running":
            return newest
        query = select(run_t).where(run_t.c.dataset == dataset, run_t.c.kind == kind, run_t.c.state != "running")
        with self.db.read() as connection:
            row = connection.execute(query.order_by(run_t.c.started_at.desc()).limit(1)).mappings().first()
        return _info(row) if row else None

    def last(self, dataset: str, kind: str, *, state: str | None = None) -> RunInfo | None:
        """The newest run of a kind, or None."""
        query = select(run_t).where(run_t.c.dataset == dataset, run_t.c.kind == kind)
        if state:
            query = query.where(run_t.c.state == state)
        with self.db.read() as connection:
            row = connection.execute(query.order_by(run_t.c.started_at.desc()).limit(1)).mappings().first()
        return _info(row) if row else None

    def active(self, kind: str | None = None) -> list[RunInfo]:
        """The runs that are going on now, oldest first."""
        now = datetime.now(UTC)
        lives = run_t.c.heartbeat_at.between(now - silent_after, now + silent_after)
        query = select(run_t).where(run_t.c.state == "running", lives)
        if kind:
            query = query.where(run_t.c.kind == kind)
        with self.db.read() as connection:
            return [_info(row) for row in connection.execute(query.order_by(run_t.c.started_at)).mappings()]

    def totals(self) -> dict[tuple[str, str, str], int]:
        """(dataset, kind, state) -> how many ended so."""
        query = select(run_t.c.dataset, run_t.c.kind, run_t.c.state, func.count()).group_by(
            run_t.c.dataset, run_t.c.kind, run_t.c.state
        )
        with self.db.read() as connection:
            return {(dataset, kind, state): n for dataset, kind, state, n in connection.execute(query)}

    def trim(self, keep: timedelta = timedelta(days=30)) -> None:
        """Forget runs that ended, or fell silent, long ago; the newest of each dataset and kind stays."""
        newest = select(func.max(run_t.c.started_at)).group_by(run_t.c.dataset, run_t.c.kind)
        old = run_t.c.heartbeat_at < datetime.now(UTC) - keep
        with self.db.write() as connection:
            connection.execute(delete(run_t).where(old, run_t.c.started_at.not_in(newest)))


def _info(row: Any) -> RunInfo:
    state = row["state"]
    if state == "running" and abs(row["heartbeat_at"] - datetime.now(UTC)) > silent_after:  # the clock may be set back
        state = "crashed"
    return RunInfo(
        id=row["id"],
        dataset=row["dataset"],
        kind=row["kind"],
        state=state,
        step=row["step"],
        done=row["done"],
        total=row["total"],
        report=orjson.loads(row["report"]) if row["report"] else None,
        error=row["error"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
