"""Snapshots made of a few records, published without a database."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from components.publish.install import install_snapshot
from components.publish.parts import write_embeddings_part, write_logs_part
from components.publish.tables import embeddings_table
from components.snapshot.manifest import Label, Manifest
from components.snapshot.parts import logs_schema

DIM = 8
LABELS = [Label(x=0.0, y=1.0, text="tests, failing", level=0, priority=3.0)]


def ids_of(start, n):
    return [f"{i:032x}" for i in range(start, start + n)]


def logs_table(start, n, extras=()):
    rows = [
        {
            "id": id,
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC) if i % 2 else None,
            "filename": f"run-{i % 3}.jsonl",
            "text": f"text {i} <b>\u00e9\u4e2d",
            "iteration": i,
            "idx_in_iteration": 0,
            "type": ("user", "assistant")[i % 2],
            "projection_x": float(i),
            "projection_y": -float(i),
        }
        | {name: f"{name} {i}" for name, _ in extras}
        for i, id in enumerate(ids_of(start, n), start)
    ]
    return pa.Table.from_pylist(rows, schema=logs_schema(extras))


def unit_vectors(start, n, dim=DIM):
    vectors = np.random.default_rng(start).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def write_pair(parts_folder, name, start, n):
    return [
        write_logs_part(parts_folder, name, [logs_table(start, n)]),
        write_embeddings_part(parts_folder, name, [embeddings_table(ids_of(start, n), unit_vectors(start, n))]),
    ]


def manifest_of(number, parts):
    return Manifest(
        snapshot=number,
        dataset="default",
        layout=1,
        model="hash://8",
        text_settings="0" * 64,
        dim=DIM,
        rows=sum(part.rows for part in parts if part.kind == "logs"),
        parts=parts,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )


def publish(output, number, parts):
    install_snapshot(output, manifest_of(number, parts), output / "parts", LABELS)


def failing(checks):
    return {check.name: check.detail for check in checks if not check.ok}
