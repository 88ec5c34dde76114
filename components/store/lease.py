"""Who may index a dataset now: a lease with a fencing token, by the database's clock.

The token grows with each holder, and every writing transaction of an index checks it first. So a holder that was
suspended while another one took over can't write any more.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import orjson
from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from components.errors import LeaseHeld, LeaseLost, RunAtlasError
from components.store.engine import Database
from components.store.tables import Lease

logger = logging.getLogger(__name__)

max_ahead_s = 30.0  # a heartbeat this far ahead of the clock is invalid: a live holder sends one every two seconds
warn_after_checks = 4  # a live holder sends a heartbeat in half of that time
_numbers = ("token", "acquired_at", "expires_at", "heartbeat_at")

lease_t = Lease.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to write: `write()` is a transaction that ends in `LeaseLost` if another holder took over."""

    db: Database
    name: str
    token: int

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.db.write() as connection:
            self._expect_ours(connection, is_locked=self.db.dialect != "sqlite")
            yield connection

    def check(self) -> None:
        """Raises `LeaseLost` if another holder took over; locks nothing, so it is true only of this moment."""
        with self.db.read() as connection:
            self._expect_ours(connection, is_locked=False)

    def _expect_ours(self, connection: Connection, *, is_locked: bool) -> None:
        query = select(lease_t.c.token).where(lease_t.c.name == self.name)
        if connection.execute(query.with_for_update() if is_locked else query).scalar() != self.token:
            raise LeaseLost(
                f"Another index took over {self.name} because this one sent no heartbeat for too long. "
                "Progress is saved; the other one continues from there."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """State of one lease: is it held, how far is the index, and did its holder crash?"""

    is_held: bool
    is_stale: bool  # expired without being released: that index crashed
    owner: str
    held_s: float = 0.0  # since it was acquired
    silent_s: float = 0.0  # since the last heartbeat
    free_in_s: float = 0.0  # without another heartbeat
    step: str = ""
    done: int = 0
    total: int = 0


class Leases:
    """One lease per dataset, named `index:<dataset>`."""

    def __init__(self, db: Database, ttl_s: float) -> None:
        self.db = db
        self.ttl_s = ttl_s

    def acquire(self, name: str, owner: str) -> Fence:
        """The fence of a new holder. Raises `LeaseHeld` while another one holds the lease."""
        with self.db.write() as connection:
            self.db.insert_new(
                connection,
                lease_t,
                [dict.fromkeys(("owner", "progress"), "") | dict.fromkeys(_numbers, 0) | {"name": name}],
            )
            now = self.db.now(connection)
            taken = connection.execute(
                update(lease_t)
                .where(lease_t.c.name == name, _is_free(now))
                .values(
                    owner=owner,
                    token=lease_t.c.token + 1,
                    acquired_at=now,
                    expires_at=now + self.ttl_s,
                    heartbeat_at=now,
                )
                .returning(lease_t.c.token)
            ).first()
            if taken is None:
                row = connection.execute(select(lease_t).where(lease_t.c.name == name)).mappings().one()
                raise LeaseHeld(held_text(name, _holder(row, now, is_held=True)))
        return Fence(db=self.db, name=name, token=taken[0])

    def take_over(self, name: str, owner: str) -> Fence:
        """The fence of a new holder, whoever holds the lease: that one can't write any more."""
        with self.db.write() as connection:
            values = {"owner": owner, "expires_at": 0.0}
            connection.execute(update(lease_t).where(lease_t.c.name == name).values(values))
        return self.acquire(name, owner)

    def renew(self, fence: Fence, progress: str) -> bool:
        """Extends the lease by `ttl_s`; False if another holder took over."""
        with self.db.write() as connection:
            now = self.db.now(connection)
            # an expired lease that nobody acquired meanwhile is still ours: a laptop was closed, a database restarted
            mine = (lease_t.c.name == fence.name) & (lease_t.c.token == fence.token)
            values = {"expires_at": now + self.ttl_s, "heartbeat_at": now, "progress": progress}
            return bool(connection.execute(update(lease_t).where(mine).values(values)).rowcount == 1)

    def release(self, fence: Fence) -> None:
        """Ends the lease; does nothing if it was lost."""
        with self.db.write() as connection:
            mine = (lease_t.c.name == fence.name) & (lease_t.c.token == fence.token)
            connection.execute(update(lease_t).where(mine).values(expires_at=0.0, owner="", progress=""))

    def forget(self, name: str) -> None:
        """Delete a lease of which there will never be another holder."""
        with self.db.write() as connection:
            connection.execute(delete(lease_t).where(lease_t.c.name == name))

    def wait_for_stale_holder(self, name: str, *, check_every_s: float = 1.0) -> None:
        """Returns once the lease is free, or its holder has sent a heartbeat.

        A holder that was killed keeps its lease until it expires; the next index waits for that. A live holder sends a
        heartbeat every two seconds, so this takes little longer then.
        """
        first: float | None = None
        for check in itertools.count():
            with self.db.read() as connection:
                now = self.db.now(connection)
                held = select(lease_t.c.expires_at, lease_t.c.heartbeat_at)
                row = connection.execute(held.where(lease_t.c.name == name, ~_is_free(now))).first()
            if row is None or (first is not None and row.heartbeat_at != first):
                return
            if check == warn_after_checks:
                wait_s = row.expires_at - now
                logger.warning("The holder of %s seems to have crashed; its lease expires in %.0f s.", name, wait_s)
            first = row.heartbeat_at
            time.sleep(check_every_s)

    def holder(self, name: str) -> Holder:
        """The state of a lease now."""
        with self.db.read() as connection:
            now = self.db.now(connection)
            held = select(lease_t, _is_free(now).label("is_free")).where(lease_t.c.name == name)
            row = connection.execute(held).mappings().first()
        if row is None:
            return Holder(is_held=False, is_stale=False, owner="")
        return _holder(row, now, is_held=not row["is_free"])


def _holder(row: Mapping[Any, Any], now: float, *, is_held: bool) -> Holder:
    progress = orjson.loads(row["progress"]) if row["progress"] else {}
    return Holder(
        is_held=is_held,
        is_stale=bool(row["owner"]) and not is_held,
        owner=row["owner"],
        held_s=max(0.0, now - row["acquired_at"]),
        silent_s=max(0.0, now - row["heartbeat_at"]),
        free_in_s=max(0.0, row["expires_at"] - now),
        **progress,
    )


def held_text(name: str, holder: Holder) -> str:
    """Who holds a lease, for how long, when its last heartbeat was, and when the lease expires without another one.

    >>> held_text("index:runs", Holder(is_held=True, is_stale=False, owner="vm:7", held_s=75, silent_s=2, free_in_s=58))
    'Dataset runs is already being indexed (vm:7, for 75 s; last heartbeat 2 s ago, expires in 58 s without another).'
    """
    return (
        f"Dataset {name.removeprefix('index:')} is already being indexed ({holder.owner}, for {holder.held_s:.0f} s; last "
        f"heartbeat {holder.silent_s:.0f} s ago, expires in {holder.free_in_s:.0f} s without another)."
    )


def _is_free(now: float) -> ColumnElement[bool]:
    """Has a lease expired, or is its heartbeat in the future, since the clock was set back after its holder crashed?"""
    return or_(lease_t.c.expires_at < now, lease_t.c.heartbeat_at > now + max_ahead_s)


class Heartbeat:
    """Renews a lease from a thread of its own while work goes on, and stores the progress that is reported to it."""

    def __init__(self, leases: Leases, fence: Fence) -> None:
        self._leases = leases
        self._fence = fence
        self._progress = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self.is_lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(RunAtlasError):
            self._leases.release(self._fence)

    def report(self, step: str, done: int, total: int) -> None:
        """Progress of the work; stored with the next heartbeat."""
        self._progress = orjson.dumps({"step": step, "done": done, "total": total}).decode()

    def _beat(self) -> None:
        interval_s = min(2.0, self._leases.ttl_s / 3)
        while not self._stop.wait(interval_s):
            with suppress(RunAtlasError):  # a busy database: the next heartbeat comes before the lease expires
                if not self._leases.renew(self._fence, self._progress):
                    self.is_lost = True
                    return
