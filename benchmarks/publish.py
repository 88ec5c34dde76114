"""What a publication costs: new records on small and large datasets, bytes a vector, peak memory. Prints JSON lines.

    python -m benchmarks.publish [--large 1000000] [--dim 384]

Vectors are random, which compresses worst; texts are words drawn at random. CPU seconds are this process's own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measure import peak_mb, print_figure
from components.publish.compaction import tiers
from components.publish.install import collect_garbage, install_snapshot
from components.publish.parts import merge_parts, write_embeddings_part, write_logs_part
from components.publish.tables import embeddings_table
from components.snapshot.manifest import Manifest
from components.snapshot.parts import Part, logs_schema, read_row_groups
from components.snapshot.read import open_snapshot

PART_ROWS = 250_000
BATCH = 10_000
WORDS = np.array([f"word{i}" for i in range(5_000)])


def ids_of(start: int, n: int) -> list[str]:
    return [f"{i:032x}" for i in range(start, start + n)]


def logs_tables(start: int, n: int) -> Iterator[pa.Table]:
    for at in range(start, start + n, BATCH):
        size = min(BATCH, start + n - at)
        rng = np.random.default_rng(at)
        positions = rng.normal(size=(2, size)).astype(np.float32)
        yield pa.table(
            {
                "id": ids_of(at, size),
                "timestamp": pa.array(np.arange(at, at + size), pa.int64()).cast(pa.timestamp("us", "UTC")),
                "filename": [f"run-{i // 200}.jsonl" for i in range(at, at + size)],
                "text": [" ".join(words) for words in WORDS[rng.integers(0, 5_000, (size, 60))]],
                "iteration": pa.array(np.arange(size) % 200, pa.int32()),
                "idx_in_iteration": pa.array(np.zeros(size), pa.int32()),
                "type": ["user" if i % 2 else "assistant" for i in range(size)],
                "projection_x": positions[0],
                "projection_y": positions[1],
            },
            schema=logs_schema(),
        )


def vector_tables(start: int, n: int, dim: int) -> Iterator[pa.Table]:
    for at in range(start, start + n, BATCH):
        size = min(BATCH, start + n - at)
        vectors = np.random.default_rng(at).normal(size=(size, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield embeddings_table(ids_of(at, size), vectors.astype(np.float16))


def write_pair(folder: Path, start: int, n: int, dim: int) -> list[Part]:
    name = f"{start:09d}"
    logs = list(logs_tables(start, n)) if n <= BATCH else logs_tables(start, n)
    vectors = list(vector_tables(start, n, dim)) if n <= BATCH else vector_tables(start, n, dim)
    return [write_logs_part(folder, name, logs), write_embeddings_part(folder, name, vectors)]


def compacted(folder: Path, parts: list[Part], step: int) -> tuple[list[Part], int]:
    """The parts after the merges that are due, and how many rows those rewrote."""
    logs = [part for part in parts if part.kind == "logs"]
    rewritten = 0
    for group in tiers([(part.name, part.rows) for part in logs], part_rows=PART_ROWS):
        for kind in ("logs", "embeddings"):
            paths = [folder / f"{kind}-{name}.parquet" for name in group]
            merged = merge_parts(kind, paths, folder, f"{group[0]}-m{step}")
            at = next(i for i, part in enumerate(parts) if part.kind == kind and part.name == group[0])
            parts = [part for part in parts if part.kind != kind or part.name not in group]
            parts.insert(at, merged)
            rewritten += merged.rows if kind == "logs" else 0
    return parts, rewritten


def publish(output: Path, number: int, parts: list[Part], dim: int) -> None:
    manifest = Manifest(
        snapshot=number,
        dataset="bench",
        layout=1,
        model=f"hash://{dim}",
        text_settings="",
        dim=dim,
        rows=sum(part.rows for part in parts if part.kind == "logs"),
        parts=parts,
        created=datetime.now(UTC),
    )
    install_snapshot(output, manifest, output / "parts", [])
    collect_garbage(output, keep=2, keep_s=0, live_parts=parts, now=time.time())


def measure(output: Path, base: int, new: int, rounds: int, dim: int) -> float:
    """Median CPU seconds of `rounds` publications of `new` records each, onto `base`; making the data not counted."""
    folder = output / "parts"
    parts = [
        part
        for start in range(0, base, PART_ROWS)
        for part in write_pair(folder, start, min(PART_ROWS, base - start), dim)
    ]
    publish(output, 1, parts, dim)
    vector_bytes = sum(part.size_bytes for part in parts if part.kind == "embeddings") / base
    cpu, wall, rewritten = [], [], []
    for step in range(rounds):
        start = base + step * new
        logs, vectors = list(logs_tables(start, new)), list(vector_tables(start, new, dim))
        began_cpu, began = time.process_time(), time.perf_counter()
        parts = [
            *parts,
            write_logs_part(folder, f"{start:09d}", logs),
            write_embeddings_part(folder, f"{start:09d}", vectors),
        ]
        parts, moved = compacted(folder, parts, step)
        publish(output, step + 2, parts, dim)
        cpu.append(time.process_time() - began_cpu)
        wall.append(time.perf_counter() - began)
        rewritten.append(moved)
    shape = {"rows": base, "new": new, "rounds": rounds}
    print_figure(
        f"publish_{new}_on_{base}",
        round(float(np.median(cpu)), 4),
        "s CPU",
        **shape,
        mean=round(float(np.mean(cpu)), 4),
        most=round(max(cpu), 4),
        wall_s_median=round(float(np.median(wall)), 4),
        rows_rewritten_a_round=round(float(np.mean(rewritten)), 1),
        parts=len(parts) // 2,
    )
    print_figure(
        f"vector_bytes_{new}_on_{base}", round(vector_bytes, 1), "bytes a vector in the output", goal="<= 800", **shape
    )
    print_figure(f"publish_{new}_on_{base}_peak", round(peak_mb()), "MB resident so far, at most", **shape)
    return float(np.median(cpu))


def moved(path: Path) -> Iterator[pa.Table]:
    for table in read_row_groups(path):
        zeros = pa.array(np.zeros(table.num_rows, np.float32))
        for name in ("projection_x", "projection_y"):
            table = table.set_column(table.column_names.index(name), name, zeros)  # noqa: PLW2901
        yield table


def measure_refit(output: Path, dim: int) -> None:
    """What new positions for every record cost; the vectors' parts are only linked again."""
    snapshot = open_snapshot(output)
    folder = output / "parts"
    began = time.process_time()
    parts = [
        write_logs_part(folder, f"{part.name}-r", moved(folder / part.file_name)) if part.kind == "logs" else part
        for part in snapshot.manifest.parts
    ]
    publish(output, snapshot.number + 1, parts, dim)
    rows = snapshot.manifest.rows
    print_figure(f"publish_refit_{rows}", round(time.process_time() - began, 3), "s CPU", rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    spent: dict[tuple[int, int], float] = {}
    for base in (options.small, options.large):
        for new in (100, 1_000):
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "bench"
                spent[base, new] = measure(output, base, new, options.rounds, options.dim)
                if new == 1_000:
                    measure_refit(output, options.dim)
    for new in (100, 1_000):
        ratio = round(spent[options.large, new] / spent[options.small, new], 3)
        shape = {"rows": options.large, "small_rows": options.small}
        print_figure(f"publish_{new}_large_over_small", ratio, "x the CPU", goal="<= 2", **shape)


if __name__ == "__main__":
    main()
