"""Loads and indexes that run or ended: progress while they run, their report afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from components.contracts import Json
from components.store.engine import Database
from components.store.tables import Run

run_t = Run.__table__  # type: ignore[attr-defined]
every = "*"  # stands for all datasets; none can have this name
cancelled_by_user = "cancelled in the Prefect UI or through its API"
stopped_by_signal = "stopped by signal"
interrupted = "interrupted from the keyboard"
silent_after = timedelta(minutes=2)  # a run without a heartbeat for so long has crashed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One load or index. `state`: running, done, failed, cancelled; or crashed, if its heartbeats stopped."""

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
    """The run history."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def start(self, id: str, dataset: str, kind: str) -> None:
        """Record that a run started; the same id again (a retry) restarts it. An index also removes old runs."""
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
        """Record the progress of a run, and that it is alive."""
        with self.db.write() as connection:
            values = {"step": step, "done": done, "total": total, "heartbeat_at": datetime.now(UTC)}
            connection.execute(update(run_t).where(run_t.c.id == id).values(values))

    def finish(self, id: str, state: str, *, report: Json = None, error: str | None = None) -> None:
        """Record how a run ended."""
        now = datetime.now(UTC)
        raw = None if report is None else orjson.dumps(report).decode()
        with self.db.write() as connection:
            values = {"state": state, "report": raw, "error": error, "finished_at": now, "heartbeat_at": now}
            connection.execute(update(run_t).where(run_t.c.id == id).values(values))

    def record_cancelled(self, id: str, dataset: str, *, at: datetime) -> None:
        """Record that a user cancelled an index which could not record it itself: it never started, or was killed."""
        row = {"dataset": dataset, "kind": "index", "state": "running", "started_at": at, "heartbeat_at": at}
        its_lines = or_(run_t.c.id == id, run_t.c.id.startswith(f"{id}/", autoescape=True))
        ended = {"state": "cancelled", "error": cancelled_by_user, "finished_at": at}
        with self.db.write() as connection:
            self.db.insert_new(connection, run_t, [{"id": id, "step": "", "done": 0, "total": 0, **row}])
            connection.execute(update(run_t).where(its_lines, run_t.c.state == "running").values(ended))

    def user_cancelled_at(self, dataset: str) -> datetime | None:
        """When a user last cancelled an index of this dataset, or one of all datasets."""
        by_user = run_t.c.error == cancelled_by_user
        query = select(func.max(run_t.c.finished_at)).where(_indexes_of(dataset), by_user)
        with self.db.read() as connection:
            return connection.execute(query).scalar()

    def is_held_back(self, dataset: str) -> bool:
        """Did a user cancel the newest index of this dataset, and has nothing new been loaded since?

        Schedules and triggers do not index it then.
        """
        newest = select(run_t.c.error, run_t.c.finished_at).where(_indexes_of(dataset))
        with self.db.read() as connection:
            last = connection.execute(newest.order_by(run_t.c.started_at.desc()).limit(1)).first()
            if last is None or last.error != cancelled_by_user:
                return False
            loads = select(run_t.c.report).where(
                run_t.c.dataset == dataset,
                run_t.c.kind == "load",
                run_t.c.finished_at > last.finished_at,
                run_t.c.report.is_not(None),
            )
            reports = connection.execute(loads).scalars()
            return not any(orjson.loads(report).get("records", {}).get("new") for report in reports)

    def get(self, id: str) -> RunInfo | None:
        """The run of this id, or None."""
        with self.db.read() as connection:
            row = connection.execute(select(run_t).where(run_t.c.id == id)).mappings().first()
        return _info(row) if row else None

    def last_ended(self, dataset: str, kind: str) -> RunInfo | None:
        """The newest run of a kind that ended, also by a crash; None before the first."""
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
        """(dataset, kind, state) -> number of runs."""
        query = select(run_t.c.dataset, run_t.c.kind, run_t.c.state, func.count()).group_by(
            run_t.c.dataset, run_t.c.kind, run_t.c.state
        )
        with self.db.read() as connection:
            return {(dataset, kind, state): n for dataset, kind, state, n in connection.execute(query)}

    def trim(self, keep: timedelta = timedelta(days=30)) -> None:
        """Remove runs that ended, or crashed, long ago; the newest of each dataset and kind stays."""
        newest = select(func.max(run_t.c.started_at)).group_by(run_t.c.dataset, run_t.c.kind)
        old = run_t.c.heartbeat_at < datetime.now(UTC) - keep
        with self.db.write() as connection:
            connection.execute(delete(run_t).where(old, run_t.c.started_at.not_in(newest)))


def cause_of(error: BaseException) -> str:
    """Why a run ended early, for its record.

    >>> cause_of(ValueError("no such file")), cause_of(KeyboardInterrupt())
    ('no such file', 'interrupted from the keyboard')
    """
    return interrupted if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__


def _indexes_of(dataset: str) -> ColumnElement[bool]:
    """Indexes of this dataset, and cancelled ones of all datasets: of others, each dataset has a record of its own."""
    cancelled = and_(run_t.c.dataset == every, run_t.c.error == cancelled_by_user)
    return and_(run_t.c.kind == "index", or_(run_t.c.dataset == dataset, cancelled))


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
