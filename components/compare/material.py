"""What a comparison is made of: the runs of a snapshot, what they are about, and which rows agents wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.compare.graph import NodeVectors
from components.search.vectors import Digests, Rows, SearchVectors, digests_of
from components.snapshot.read import Snapshot
from components.store import Store

LEFT_OUT = ("user", "system")  # types of records that carry the task, not what the agent does
OLDER_TASK_KEYS = ("task_id", "instance_id")  # of records that were loaded before their formats knew `task`
DEFAULT_TASK = "task"
chunk_rows = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The rows of a snapshot by run. `task` and `model` (runs,) are codes; a run without one has a code of its own.

    `run` (rows,) is each row's run, `is_agent` (rows,) whether an agent wrote it or its tools; `started` (runs,) is the time of
    the first record in seconds since 1970, NaN where none has a time.
    """

    names: Sequence[str]
    run: NDArray[np.int32]
    is_agent: NDArray[np.bool_]
    started: NDArray[np.float64]
    task: NDArray[np.int64]
    has_task: NDArray[np.bool_]
    model: NDArray[np.int64]
    has_model: NDArray[np.bool_]

    @property
    def n_runs(self) -> int:
        return len(self.names)


def read_material(store: Store, dataset_id: int, snapshot: Snapshot, task_key: str) -> Material:
    """The runs of a snapshot. A run is a filename (with the `#run` of files that hold several), or `extra.run` where there is one."""
    import polars as pl

    frame = pl.scan_parquet(snapshot.logs_files).select("type", "filename", "timestamp").collect()
    files = frame["filename"].unique(maintain_order=True)
    of_file = frame.select(pl.col("filename").replace_strict(files, np.arange(len(files)), return_dtype=pl.Int32))
    task_keys = (task_key, *(OLDER_TASK_KEYS if task_key == DEFAULT_TASK else ()))
    extras = store.records.extras_of_files(dataset_id, ["run", "model", *task_keys])
    names, run_of_file = _runs(files.to_list(), extras)
    run = run_of_file[of_file["filename"].to_numpy()]
    task, has_task = _codes(files.to_list(), run_of_file, len(names), extras, task_keys)
    model, has_model = _codes(files.to_list(), run_of_file, len(names), extras, ["model"])
    return Material(
        names=names,
        run=run,
        is_agent=(~frame["type"].is_in(list(LEFT_OUT))).to_numpy(),
        started=_started(
            run, len(names), frame["timestamp"].dt.epoch("us").cast(pl.Float64).fill_null(np.nan).to_numpy() / 1e6
        ),
        task=task,
        has_task=has_task,
        model=model,
        has_model=has_model,
    )


def _runs(files: Sequence[str], extras: Mapping[str, Mapping[str, str]]) -> tuple[list[str], NDArray[np.int32]]:
    """The names of the runs, and the run of each file."""
    names: dict[str, int] = {}
    of_file = [names.setdefault(extras.get(file, {}).get("run") or file, len(names)) for file in files]
    return list(names), np.array(of_file, np.int32)


def _codes(
    files: Sequence[str],
    run: NDArray[np.int32],
    n_runs: int,
    extras: Mapping[str, Mapping[str, str]],
    keys: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A code for each run by the first of these extra fields that it has, and whether it has one."""
    values: dict[str, int] = {}
    codes, has = np.arange(n_runs) + n_runs, np.zeros(n_runs, np.bool_)
    for file, at in zip(files, run.tolist(), strict=True):
        found = extras.get(file, {})
        value = next((found[key] for key in keys if key in found), None)
        if value is not None and not has[at]:
            codes[at], has[at] = values.setdefault(value, len(values)), True
    return codes, has


def _started(run: NDArray[np.int32], n_runs: int, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    first = np.full(n_runs, np.inf)
    known = ~np.isnan(seconds)
    np.minimum.at(first, run[known], seconds[known])
    return np.where(np.isinf(first), np.nan, first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The distinct texts of some rows: node i is at row `first[i]` of the snapshot; `node` (rows given,) is each row's."""

    digests: Digests
    first: Rows
    node: NDArray[np.int64]

    def where(self, vectors: SearchVectors) -> NodeVectors:
        """Their vectors."""
        return NodeVectors(vectors=vectors, rows=self.first)


def texts_of(vectors: SearchVectors, rows: Rows) -> Texts:
    """The distinct texts of these rows of a snapshot, ascending by digest: equal vectors are one text."""
    parts = [digests_of(vectors.at(rows[at : at + chunk_rows])) for at in range(0, len(rows), chunk_rows)]
    digests, first, node = np.unique(
        np.concatenate([np.empty(0, np.uint64), *parts]), return_index=True, return_inverse=True
    )
    return Texts(digests=digests, first=rows[first], node=node)
