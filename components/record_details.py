"""One record as people look it up: by id or key, with what its vector comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from components.store import Store

METADATA_HASH = "metadata_hash"  # key of `extra`: SHA-256 of the fields that were requested of a document


def record_details(store: Store, dataset_id: int, name: str) -> dict[str, Any] | None:
    """The record of this id or key as JSON; None if there is none.

    `vector` says which model made its vector on the map from which text (SHA-256 of the prepared text, 32 hex digits);
    None if it is not on the map. `versions` are those of its key, newest first, `tags` what people put on it.
    """
    found = store.records.by_id(dataset_id, name) or store.records.by_key(dataset_id, name.strip())
    if found is None:
        return None
    record = found.record
    versions = store.records.versions(dataset_id, record.key) if record.key else []
    tags = store.tags.of_records(dataset_id, [record.id]).get(record.id, ())
    origin = store.keyed_vectors.origin(dataset_id, found.seq)
    return {
        "id": record.id,
        "key": record.key or None,
        "timestamp": record.timestamp,
        "filename": record.filename,
        "text": record.text,
        "iteration": record.iteration,
        "idx_in_iteration": record.idx_in_iteration,
        "type": record.type,
        "extra": record.extra,
        "tags": [asdict(tag) for tag in tags],
        "metadata_hash": record.extra.get(METADATA_HASH),
        "vector": origin and {"model": origin.model, "dim": origin.dim, "text_hash": origin.digest.hex()},
        "versions": [{"version": one.version, "id": one.id, "is_current": one.is_current} for one in versions],
    }
