"""What topics cost and how good they are. Prints JSON lines.

    python -m benchmarks.topics [--csv FILE --text COLUMN --label COLUMN]

Without a table: the share of topics in the CPU of a first index of the sample logs, with the default model. With a table of
labelled texts, for instance banking77: how well topics agree with the labels (normalised mutual information, as in
Strehl and Ghosh 2002; records without a topic count to the nearest), the share of noise, and how many topics keep their
id when a fifth, or as many rows again, are added and the map is fitted anew, or when it grows by a fifth five times. The
peer is clustering from scratch.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.measure import print_figure
from components.embedders.model_uri import default_model, open_embedder
from components.index import run as index_run
from components.index import topics as index_topics
from components.neighbors.knn import Neighbors, around, index_of, nearest_of_many, unit
from components.pipeline import Pipeline
from components.settings import EmbedSettings, Settings
from components.topics.clusters import NEW, Labels, coarse_clusters, fine_clusters
from components.topics.identity import Maintained, first_topics, maintain, renewed_topics
from components.topics.space import topic_space

STEPS = 5
samples = Path(__file__).parents[1] / "components" / "samples" / "logs"


# --- their share of an index


def measure_share() -> None:
    spent = {"find": 0.0, "name": 0.0}

    def timed(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            began = time.process_time()
            try:
                return call(*arguments)
            finally:
                spent[name] += time.process_time() - began

        return run

    from components.index import place

    place.find_topics = timed("find", index_topics.find_topics)  # type: ignore[assignment]
    index_run.name_topics = timed("name", index_run.name_topics)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, Pipeline(Settings(home=Path(folder))) as pipeline:
        pipeline.load([samples])
        began = time.process_time()
        report = pipeline.index()
        total = time.process_time() - began
    shape = {"rows": report.rows, "topics": report.topics.active if report.topics else 0}
    print_figure("topics_share_of_a_first_index", sum(spent.values()) / total, "of its CPU", goal="<= 0.15", **shape)
    print_figure("topics_cpu", sum(spent.values()), "s", of=total, **spent, **shape)


# --- how good they are


def read_table(path: Path, text: str, label: str) -> tuple[list[str], np.ndarray]:
    """The distinct texts of a table and their labels."""
    with path.open(encoding="utf-8", newline="") as file:
        labels: dict[str, str] = {}
        for row in csv.DictReader(file):
            labels.setdefault(row[text], row[label])
    return list(labels), np.array(list(labels.values()))


def clusters_of(vectors: np.ndarray, cache: Path) -> tuple[Neighbors, list[Labels]]:
    near = around(index_of(vectors, seed=42), vectors, 15)
    space = topic_space(vectors, near, seed=42, cache=cache)
    others = Neighbors(rows=near.rows[:, 1:], distances=near.distances[:, 1:])
    return others, [fine_clusters(space), coarse_clusters(space)]


def agreement(labels: np.ndarray, vectors: np.ndarray, topics: Labels) -> float:
    ids = np.unique(topics[topics >= 0])
    centroids = unit_rows(np.stack([vectors[topics == topic].mean(axis=0) for topic in ids]))
    nearest = ids[np.argmax(vectors @ centroids.T, axis=1)]
    return float(normalized_mutual_info_score(labels, np.where(topics >= 0, topics, nearest)))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def kept(before: Labels, after: Labels) -> float:
    """The share of topics whose id still has its rows, at a Jaccard index of a half or more."""
    ids = np.unique(before[before >= 0])
    overlap = [((before == id) & (after == id)).sum() / max(1, ((before == id) | (after == id)).sum()) for id in ids]
    return float(np.mean([share >= 0.5 for share in overlap]))


def refitted(vectors: np.ndarray, before: Maintained, cache: Path) -> Maintained:
    m = len(before.topics)
    near, advisers = clusters_of(vectors, cache)
    known = nearest_of_many(index_of(vectors[:m], seed=42), vectors[m:], 5)
    rows = np.concatenate([before.topics, np.full(len(vectors) - m, NEW)])
    return maintain(rows, before.next_id, near, known, before.topics, advisers)


def measure_quality(path: Path, text: str, label: str) -> None:
    texts, labels = read_table(path, text, label)
    with tempfile.TemporaryDirectory() as folder:
        embedder = open_embedder(default_model, EmbedSettings(), Path(folder))
        vectors = unit(
            np.concatenate([embedder.embed(texts[at : at + 512]).vectors for at in range(0, len(texts), 512)])
        )
        order = np.random.default_rng(0).permutation(len(vectors))
        vectors, labels = vectors[order], labels[order]
        shape = {"table": path.stem, "rows": len(vectors), "labels": len(set(labels.tolist()))}
        _, (_, coarse) = clusters_of(vectors, Path(folder))
        again = clusters_of(vectors, Path(folder))[1][1]
        print_figure(
            "topics_agreement", agreement(labels, vectors, coarse), "NMI", topics=int(coarse.max()) + 1, **shape
        )
        print_figure("topics_are_the_same_twice", bool((coarse == again).all()), "true", goal="true", **shape)
        print_figure("topics_noise", float((coarse < 0).mean()), "of the rows", **shape)
        for share, growth in ((1 / 1.2, "+20 %"), (0.5, "+100 %")):
            m = int(len(vectors) * share)
            first = first_topics(clusters_of(vectors[:m], Path(folder))[1][1])
            later = refitted(vectors, first, Path(folder))
            anew = renewed_topics(coarse, np.concatenate([first.topics, np.full(len(vectors) - m, NEW)]), first.next_id)
            more = {"growth": growth, **shape}
            print_figure(
                "topics_kept_at_a_refit", kept(first.topics, later.topics[:m]), "of the ids", goal=">= 0.95", **more
            )
            print_figure("topics_kept_from_scratch", kept(first.topics, anew.topics[:m]), "of the ids", **more)
            difference = agreement(labels, vectors, later.topics) - agreement(labels, vectors, coarse)
            print_figure("agreement_against_clustering_from_scratch", difference, "NMI more", **more)


def measure_growth(path: Path, text: str, label: str) -> None:
    """A map that starts with a third of the rows and grows by a fifth five times, through the whole pipeline."""
    texts, labels = read_table(path, text, label)
    order = np.random.default_rng(1).permutation(len(texts))
    ends = [round(len(texts) / 1.2 ** (STEPS - step)) for step in range(STEPS + 1)]
    shape = {"table": path.stem, "rows": ends[-1], "first": ends[0], "labels": len(set(labels.tolist()))}
    with tempfile.TemporaryDirectory() as folder, Pipeline(Settings(home=Path(folder) / "home")) as pipeline:
        maps: list[dict[str, int]] = []
        for start, end in pairwise([0, *ends]):
            rows = [
                {"text": texts[at], "type": "user", "iteration": 0, "idx": n} for n, at in enumerate(order[start:end])
            ]
            log = Path(folder) / "logs" / f"{start}.jsonl"
            log.parent.mkdir(exist_ok=True)
            log.write_text("".join(json.dumps(row) + "\n" for row in rows))
            pipeline.load([log.parent])
            pipeline.index(recompute=bool(start))
            tables = [pq.read_table(file, columns=["id", "topic"]) for file in pipeline.snapshot().logs_files]
            maps.append({row["id"]: row["topic"] for table in tables for row in table.to_pylist()})
    steps = [_kept_ids(before, after) for before, after in pairwise(maps)]
    least = [round(step, 3) for step in steps]
    print_figure("topics_kept_a_step", min(steps), "of the ids", goal=">= 0.95", steps=least, **shape)
    print_figure("topics_kept_over_five_steps", _kept_ids(maps[0], maps[-1]), "of the ids", goal=">= 0.9", **shape)


def _kept_ids(before: dict[str, int], after: dict[str, int]) -> float:
    ids = sorted(before)
    return kept(np.array([before[id] for id in ids]), np.array([after[id] for id in ids]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="category")
    options = parser.parse_args()
    if options.csv:
        measure_quality(options.csv, options.text, options.label)
        measure_growth(options.csv, options.text, options.label)
    else:
        measure_share()


if __name__ == "__main__":
    main()
