"""Who may index a dataset now: a lease with a fencing token, by the database's clock.

The token grows with each holder, and every writing transaction of an index checks it first. So a holder that was
asleep while another took over can't write any more, whatever it believes.
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
from sqlalchemy import ColumnElement, Connection, or_, select, update

from components.errors import LeaseHeld, LeaseLost, RunAtlasError
from components.store.engine import Database
from components.store.tables import Lease

logger = logging.getLogger(__name__)

future_s = 30.0  # a beat this far ahead of the clock is no beat: a living holder's next one comes in two seconds
said_dead_after_looks = 4  # a living holder beats in half of that
_numbers = ("token", "acquired_at", "expires_at", "heartbeat_at")

lease_t = Lease.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to write: `write()` is a transaction that ends in `LeaseLost` if somebody else took over."""

    db: Database
    name: str
    token: int

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.db.write() as connection:
            self._expect_ours(connection, is_locked=self.db.dialect != "sqlite")
            yield connection

    def check(self) -> None:
        """Raises `LeaseLost` if somebody else took over; locks nothing, so it is true only of this moment."""
        with self.db.read() as connection:
            self._expect_ours(connection, is_locked=False)

    def _expect_ours(self, connection: Connection, *, is_locked: bool) -> None:
        query = select(lease_t.c.token).where(lease_t.c.name == self.name)
        if connection.execute(query.with_for_update() if is_locked else query).scalar() != self.token:
            raise LeaseLost(
                f"Another index took over {self.name} because this one was silent for too long. "
                "What was committed stays; the other one goes on from there."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What the lease table says of one dataset: is somebody indexing, how far, and was a holder left behind?"""

    is_held: bool
    is_stale: bool  # expired, yet never given back: that index crashed
    owner: str
    held_s: float = 0.0  # since it was taken
    silent_s: float = 0.0  # since the last sign of life
    free_in_s: float = 0.0  # unless there is another one
    step: str = ""
    done: int = 0
    total: int = 0


class Leases:
    """One lease a dataset, named `index:<dataset>`."""

    def __init__(self, db: Database, ttl_s: float) -> None:
        self.db = db
        self.ttl_s = ttl_s

    def acquire(self, name: str, owner: str) -> Fence:
        """The fence of a new holder. Raises `LeaseHeld` while another one holds it."""
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

    def renew(self, fence: Fence, progress: str) -> bool:
        """Hold on for another `ttl_s`; False if somebody else took over."""
        with self.db.write() as connection:
            now = self.db.now(connection)
            # an expired lease that nobody took meanwhile is still ours: a laptop was closed, a database restarted
            mine = (lease_t.c.name == fence.name) & (lease_t.c.token == fence.token)
            values = {"expires_at": now + self.ttl_s, "heartbeat_at": now, "progress": progress}
            return bool(connection.execute(update(lease_t).where(mine).values(values)).rowcount == 1)

    def release(self, fence: Fence) -> None:
        """Give it back; nothing happens if it was lost."""
        with self.db.write() as connection:
            mine = (lease_t.c.name == fence.name) & (lease_t.c.token == fence.token)
            connection.execute(update(lease_t).where(mine).values(expires_at=0.0, owner="", progress=""))

    def wait_for_the_dead(self, name: str, *, look_every_s: float = 1.0) -> None:
        """Returns once the lease is free, or its holder has given a sign of life.

        A holder that was killed keeps its lease until it expires; who comes meanwhile should not be turned away for it.
        A living one beats every two seconds, so this takes little longer for it.
        """
        first: float | None = None
        for look in itertools.count():
            with self.db.read() as connection:
                now = self.db.now(connection)
                held = select(lease_t.c.expires_at, lease_t.c.heartbeat_at)
                row = connection.execute(held.where(lease_t.c.name == name, ~_is_free(now))).first()
            if row is None or (first is not None and row.heartbeat_at != first):
                return
            if look == said_dead_after_looks:
                wait_s = row.expires_at - now
                logger.warning("%s is held by somebody who seems to have died; it is free in %.0f s.", name, wait_s)
            first = row.heartbeat_at
            time.sleep(look_every_s)

    def holder(self, name: str) -> Holder:
        """What a person would see of it now."""
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
    """Who holds a lease, since when, when it last gave a sign of life, and when it ends without another one.

    >>> held_text("index:runs", Holder(is_held=True, is_stale=False, owner="a:7", held_s=75, silent_s=21, free_in_s=39))
    'index:runs is held by a:7 since 75 s; its last sign of life is 21 s old. Without another one it is free in 39 s.'
    """
    return (
        f"{name} is held by {holder.owner} since {holder.held_s:.0f} s; its last sign of life is {holder.silent_s:.0f} s "
        f"old. Without another one it is free in {holder.free_in_s:.0f} s."
    )


def _is_free(now: float) -> ColumnElement[bool]:
    """Is a lease over, or from a future that was none: was the clock set back after its holder had died?"""
    return or_(lease_t.c.expires_at < now, lease_t.c.heartbeat_at > now + future_s)


class Heartbeat:
    """Renews a lease from a thread of its own while work goes on; told of progress, it passes it on."""

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

    def tell(self, step: str, done: int, total: int) -> None:
        """How far the work is; written with the next beat."""
        self._progress = orjson.dumps({"step": step, "done": done, "total": total}).decode()

    def _beat(self) -> None:
        interval_s = min(2.0, self._leases.ttl_s / 3)
        while not self._stop.wait(interval_s):
            with suppress(RunAtlasError):  # a busy database: the next beat comes before the lease ends
                if not self._leases.renew(self._fence, self._progress):
                    self.is_lost = True
                    return
