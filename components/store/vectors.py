"""Vectors by (model, digest of the prepared text): float16, little endian, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from components.contracts import Vectors, in_batches
from components.store.engine import Database, in_clause
from components.store.lease import Fence
from components.store.tables import BatchSeconds, Model, Vector
from components.store.tables import Tally as TallyRow

model_t = Model.__table__  # type: ignore[attr-defined]
vector_t = Vector.__table__  # type: ignore[attr-defined]
tally_t = TallyRow.__table__  # type: ignore[attr-defined]
batch_seconds_t = BatchSeconds.__table__  # type: ignore[attr-defined]
BATCH_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # bounds of the histogram
f16 = np.dtype("<f2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What batches of a dataset took: texts, tokens as its model counts them, and seconds of embedding."""

    dataset_id: int
    texts: int
    tokens: int
    seconds: float
    batches: int = 1


class VectorStore:
    """Vectors of all models: equal text and equal model give the same vector."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def model_id(self, identity: str, dim: int) -> int:
        """The id of a model, a new one if it is unknown; with another dimension it is another model."""
        for name in (identity, f"{identity} dim={dim}"):
            query = select(model_t.c.id, model_t.c.dim).where(model_t.c.identity == name)
            with self.db.read() as connection:
                found = connection.execute(query).first()
            if found is None:
                with self.db.write() as connection:
                    self.db.insert_new(connection, model_t, [{"identity": name, "dim": dim}])
                    found = connection.execute(query).one()
            if found[1] == dim:
                return int(found[0])
        raise AssertionError

    def model(self, model_id: int) -> tuple[str, int]:
        """identity, dim."""
        with self.db.read() as connection:
            query = select(model_t.c.identity, model_t.c.dim).where(model_t.c.id == model_id)
            identity, dim = connection.execute(query).one()
        return identity, dim

    def known(self, model_id: int, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Digest -> id of the vectors that exist."""
        found: dict[bytes, int] = {}
        with self.db.read() as connection:
            for chunk in in_batches(dict.fromkeys(digests), in_clause):
                query = select(vector_t.c.digest, vector_t.c.id).where(
                    vector_t.c.model_id == model_id, vector_t.c.digest.in_(chunk)
                )
                found.update((bytes(digest), id) for digest, id in connection.execute(query))
        return found

    def put(
        self, fence: Fence, model_id: int, digests: Sequence[bytes], vectors: Vectors, tally: Tally | None = None
    ) -> int:
        """Store these vectors, (n, dim) float32 of unit length, and what they took; returns how many were new."""
        packed = np.ascontiguousarray(vectors, dtype=f16)
        rows = [
            {"model_id": model_id, "digest": digest, "data": packed[i].tobytes()} for i, digest in enumerate(digests)
        ]
        rows.sort(key=lambda row: row["digest"])
        with fence.write() as connection:
            if tally:
                self._add(connection, tally)
            return self.db.insert_new(connection, vector_t, rows)

    def _add(self, connection: Connection, tally: Tally) -> None:
        more = {"texts": tally.texts, "tokens": tally.tokens, "batches": tally.batches, "seconds": tally.seconds}
        insert = self.db.insert(tally_t).values(dataset_id=tally.dataset_id, **more)
        sums = {name: tally_t.c[name] + n for name, n in more.items()}
        connection.execute(insert.on_conflict_do_update(index_elements=["dataset_id"], set_=sums))
        up_to = next((bound for bound in BATCH_SECONDS if tally.seconds <= bound * tally.batches), None)
        if up_to is not None:
            row = {"dataset_id": tally.dataset_id, "up_to": up_to, "batches": tally.batches}
            counted = self.db.insert(batch_seconds_t).values(row)
            more_batches = {"batches": batch_seconds_t.c.batches + tally.batches}
            connection.execute(counted.on_conflict_do_update(index_elements=["dataset_id", "up_to"], set_=more_batches))

    def tallies(self) -> dict[int, Tally]:
        """Dataset id -> what its embedding took in total."""
        with self.db.read() as connection:
            rows = connection.execute(select(tally_t)).mappings().all()
        return {row["dataset_id"]: Tally(**row) for row in rows}

    def batch_seconds(self) -> dict[int, dict[float, int]]:
        """Dataset id -> bound -> how many batches took at most so many seconds; those of earlier versions are in none."""
        found: dict[int, dict[float, int]] = {}
        with self.db.read() as connection:
            for dataset_id, up_to, n in connection.execute(select(batch_seconds_t)):
                found.setdefault(dataset_id, {})[up_to] = n
        return {
            id: {bound: sum(n for up_to, n in counts.items() if up_to <= bound) for bound in BATCH_SECONDS}
            for id, counts in found.items()
        }

    def ranks(self, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
        """A number for each id (n,), from its text's digest: uniform like a random one, and the same in every database."""
        ranks = np.empty(len(ids), np.uint64)
        with self.db.read() as connection:
            for start in range(0, len(ids), in_clause):
                chunk = ids[start : start + in_clause].tolist()
                query = select(vector_t.c.id, vector_t.c.digest).where(vector_t.c.id.in_(chunk))
                found = dict(connection.execute(query).tuples().all())
                ranks[start : start + len(chunk)] = [int.from_bytes(found[id][:8]) for id in chunk]
        return ranks

    def get(self, ids: Sequence[int] | NDArray[np.int64], dim: int) -> Vectors:
        """The vectors of these ids, (n, dim) float32 in their order; ids may repeat."""
        wanted = np.asarray(ids, dtype=np.int64)
        unique, inverse = np.unique(wanted, return_inverse=True)
        out = np.empty((len(unique), dim), np.float32)
        with self.db.read() as connection:
            for start in range(0, len(unique), in_clause):
                chunk = unique[start : start + in_clause]
                query = select(vector_t.c.id, vector_t.c.data).where(vector_t.c.id.in_(chunk.tolist()))
                found = dict(connection.execute(query).tuples().all())
                joined = b"".join(found[id] for id in chunk.tolist())
                out[start : start + len(chunk)] = np.frombuffer(joined, f16).reshape(len(chunk), dim)
        return out if len(unique) == len(wanted) and (inverse == np.arange(len(wanted))).all() else out[inverse]
