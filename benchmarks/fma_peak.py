"""The measured fp32 peak of one core, GFLOP/s, as one JSON line: what every fraction of peak is a fraction of.

python -m benchmarks.fma_peak
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import print_figure

ROUNDS = 5_000_000  # about 20 ms


def open_fma_peak() -> Callable[[], float] | None:
    """A function that measures for some 20 ms and gives GFLOP/s, or None where it can't be compiled for this CPU."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="fma-peak-"))
    library = folder / "fma_peak.so"
    source = Path(__file__).with_name("fma_peak.c")
    command = [compiler, "-O2", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)]
    try:
        built = subprocess.run(command, capture_output=True, check=False)
        if built.returncode:
            return None
        function = ctypes.CDLL(str(library)).fma_gflops
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_long]
    return lambda: float(function(ROUNDS))


def main() -> None:
    measure = open_fma_peak()
    if measure is None:
        print_figure("fma_peak", None, "GFLOP/s, one core", why="no C compiler for this CPU")
        return
    found = sorted(measure() for _ in range(15))
    print_figure("fma_peak", round(found[7], 1), "GFLOP/s, one core", range=[round(found[0], 1), round(found[-1], 1)])


if __name__ == "__main__":
    main()
