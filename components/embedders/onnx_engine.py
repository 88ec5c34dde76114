"""A graph on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from threading import BoundedSemaphore

import numpy as np

from components.contracts import Vectors
from components.embedders.texts import Engine, Ids
from components.errors import ModelUnloadable
from components.settings import disable_telemetry

MOST_AT_ONCE = 8  # batches: each takes some 20 MB


def open_onnx(graph: Path, threads: int) -> Engine:
    """The model on `threads` threads. Raises `ModelUnloadable` where it can't be loaded.

    Threads work on batches of their own rather than together on one: no thread waits at the end of each operator, so a
    core that a neighbour takes slows one batch and not all. Callers from several threads share these slots.
    """
    disable_telemetry()
    import onnxruntime

    at_once = min(threads, MOST_AT_ONCE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads // at_once
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base but Exception
        raise ModelUnloadable(
            f"The model graph {graph} can't be loaded: {error}; remove its folder to have it built again."
        ) from error
    slots = BoundedSemaphore(at_once)

    def run(ids: Ids) -> Vectors:
        with slots:
            return np.asarray(session.run(None, {"ids": ids})[0], np.float32)

    return Engine(run=run, at_once=at_once)
