"""Fitting a map, and refitting it after a fifth more: seconds, memory, stillness and quality, against plain umap-learn.

Every fit is a fresh process on one thread (imports included, kernels on disk); CPU is what the kernel counts for it.
`umap.UMAP` runs with its defaults but for the metric and a seed.

    python -m benchmarks.fit [--rows 5000] [--vectors FILE.npy]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np

from benchmarks.map_quality import Quality, quality_of_map
from benchmarks.measure import Spent, fresh, one_thread, peak_mb, print_figure
from benchmarks.place import clustered
from components.neighbors import knn
from components.projector.geometry import displacement
from components.projector.umap_projector import open_projector, warm_kernels
from components.settings import ProjectSettings

growth = 1.2


def child_fit(folder: Path, rows: int, cache: Path) -> None:
    """A first fit of the first `rows` vectors."""
    layout = open_projector(ProjectSettings(), cache).fit(np.load(folder / "vectors.npy")[:rows])
    np.save(folder / f"fit-{rows}.npy", layout.positions)


def child_refit(folder: Path, rows: int, cache: Path) -> None:
    """A refit of the first `rows` vectors over the newest smaller map."""
    before = np.load(folder / f"fit-{round(rows / growth)}.npy")
    positions = np.vstack([before, np.full((rows - len(before), 2), np.nan, np.float32)])
    layout = open_projector(ProjectSettings(), cache).refit(np.load(folder / "vectors.npy")[:rows], positions)
    np.save(folder / f"refit-{rows}.npy", layout.positions)


def child_umap(folder: Path, rows: int, cache: Path) -> None:  # noqa: ARG001
    """Plain umap-learn on the same vectors, as most would write it."""
    warnings.simplefilter("ignore")
    import umap

    positions = umap.UMAP(metric="cosine", random_state=42).fit_transform(np.load(folder / "vectors.npy")[:rows])
    np.save(folder / f"umap-{rows}.npy", positions)


children = {"fit": child_fit, "refit": child_refit, "umap": child_umap}


def cost(child: str, folder: Path, rows: int, cache: Path) -> Spent:
    """What one child process took from its start to its end."""
    return fresh("benchmarks.fit", ["--child", child, "--folder", folder, "--rows", rows, "--cache", cache], one_thread)


def tell_cost(name: str, spent: Spent, rows: int) -> None:
    print_figure(f"{name}_cpu", spent.cpu_s, "s CPU, fresh process", rows=rows)
    print_figure(f"{name}_peak", spent.peak_mb, "MB resident, at most", rows=rows)


def measure(vectors: np.ndarray, rows: int, folder: Path, cache: Path) -> None:
    more = round(rows * growth)
    np.save(folder / "vectors.npy", vectors[:more])
    warm_kernels(cache)
    tell_cost("fit", cost("fit", folder, rows, cache), rows)
    tell_cost("refit", cost("refit", folder, more, cache), more)
    tell_cost("cold_fit", cost("fit", folder, more, cache), more)
    tell_cost("umap_fit", cost("umap", folder, more, cache), more)
    old, new = np.load(folder / f"fit-{rows}.npy"), np.load(folder / f"refit-{more}.npy")
    unit, moved = "radii of the old map, mean of its rows", {"rows": rows, "then": more}
    print_figure("refit_displacement", displacement(old, new[:rows]), unit, goal="<= 0.10", **moved)
    cold = np.load(folder / f"fit-{more}.npy")
    print_figure("cold_displacement", displacement(old, cold[:rows]), unit, **moved)
    print_quality(vectors[:more], {"refit": new, "cold_fit": cold, "umap_fit": np.load(folder / f"umap-{more}.npy")})
    tell_odd_maps(vectors, cache)


def print_quality(vectors: np.ndarray, maps: dict[str, np.ndarray]) -> None:
    quality: dict[str, Quality] = {name: quality_of_map(vectors, positions) for name, positions in maps.items()}
    for name, one in quality.items():
        print_figure(f"{name}_trustworthiness", one.trustworthiness, "@15, of 1,500 rows", rows=len(vectors))
        print_figure(f"{name}_recall", one.recall, "kNN recall@15, of 1,500 rows", rows=len(vectors))
    lost = quality["cold_fit"].trustworthiness - quality["refit"].trustworthiness
    print_figure("refit_trustworthiness_lost", lost, "against a cold fit", goal="<= 0.005", rows=len(vectors))


def tell_odd_maps(vectors: np.ndarray, cache: Path) -> None:
    """Maps of next to nothing and of one vector alone: finite places, fitted and placed."""
    odd = {f"{n} rows": vectors[:n] for n in range(5)} | {"40 equal rows": np.repeat(vectors[:1], 40, axis=0)}
    valid = []
    for name, some in odd.items():
        layout = open_projector(ProjectSettings(), cache).fit(some)
        positions = np.vstack([layout.positions, layout.transform(vectors[:30]).positions])
        if positions.shape == (len(some) + 30, 2) and np.isfinite(positions).all():
            valid.append(name)
    print_figure("odd_maps_valid", len(valid) == len(odd), "1: all finite, and placed on", goal=">= 1", valid=valid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000, help="vectors of the first map")
    parser.add_argument("--vectors", type=Path, help="real vectors (n, dim) of unit length; made up ones without it")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "runatlas-benchmark")
    parser.add_argument("--child", choices=children, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        children[asked.child](asked.folder, asked.rows, asked.cache)
        print(json.dumps({"peak_mb": peak_mb()}))
        return
    n = round(asked.rows * growth)
    vectors = knn.unit(np.load(asked.vectors)) if asked.vectors else clustered(n)
    if len(vectors) < n:
        raise SystemExit(f"{asked.vectors} holds {len(vectors)} vectors, {n} are needed for --rows {asked.rows}")
    with tempfile.TemporaryDirectory() as folder:
        measure(vectors, asked.rows, Path(folder), asked.cache)


if __name__ == "__main__":
    main()
