"""A graph on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.contracts import Vectors
from components.embedders.texts import Ids
from components.errors import ServiceUnavailable


def open_onnx(graph: Path, threads: int) -> Callable[[Ids], Vectors]:
    """A function from ids (n, length) to unit vectors (n, dim). Raises `ServiceUnavailable` where it can't be loaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base but Exception
        raise ServiceUnavailable(
            f"The model graph {graph} can't be loaded: {error}; remove its folder to have it built again."
        ) from error

    def run(ids: Ids) -> Vectors:
        return np.asarray(session.run(None, {"ids": ids})[0], np.float32)

    return run
