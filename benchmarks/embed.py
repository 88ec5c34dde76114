"""What embedding costs here and what it costs others, in one run on the same texts; one JSON line a figure.

    python -m benchmarks.embed --rounds 5 --texts 600          # of the agent logs beside the project, else its sample
    python -m benchmarks.embed --corpus FOLDER --texts 0       # all of a folder of logs
    python -m benchmarks.embed --only papers,threads

Peers: `SentenceTransformer.encode` with its defaults, and Embedding Atlas' own embedding step (batches of 32 in the
order given). All run in one process on one thread, take turns, and are compared by CPU seconds, so that neighbours on
the machine and a moving clock touch all of them alike; each figure is the median of the rounds. With `--texts N` a
sample of N distinct texts is taken with all their repeats, so that duplicates stay as frequent as they are.
Useful work is counted from the texts' tokens, padding excluded: 21,233,664 FLOP a token for the matrix products with
weights and 9,216 x length for attention (MiniLM: 6 layers, 384 wide, 1,536 inside), truncated at 256 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

import numpy as np

from benchmarks.fma_peak import open_fma_peak
from benchmarks.measure import tell
from components.contracts import Vectors
from components.embedders import open_embedder
from components.embedders.bert import BertEmbedder, default_folder, embed_tokens
from components.settings import EmbedSettings, LoadSettings
from components.sources.files import FileSource

ROOT = Path(__file__).parents[1]
AGENT_LOGS = ROOT.parent / "shared" / "data" / "agent-logs"
PAPERS = ROOT.parent / "shared" / "data" / "papers"
SAMPLE = ROOT / "components" / "samples" / "logs"

Encode = Callable[[list[str]], Vectors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """CPU seconds, wall seconds and the FMA peak just before (GFLOP/s) of every round of one way to embed."""

    cpu_s: list[float]
    wall_s: list[float]
    peak_gflops: list[float]
    vectors: Vectors


def read_texts(folder: Path) -> list[str]:
    """The texts of all records that `load` finds in a folder of logs."""
    source = FileSource(LoadSettings(quiet_s=0))
    found: list[str] = []
    for locator in source.discover([str(folder)]).locators:
        try:
            for batch in source.read(locator, None):
                found += [record.text for record in batch.records]
        except Exception as error:  # noqa: BLE001 (whatever can't be read is no text of the corpus)
            print(f"left out {locator.key}: {error}"[:150], file=sys.stderr)
    return found


def sample(texts: Sequence[str], n_distinct: int) -> list[str]:
    """All copies of `n_distinct` texts, in their order; everything where it is 0."""
    distinct = list(dict.fromkeys(texts))
    if not 0 < n_distinct < len(distinct):
        return list(texts)
    chosen = set(random.Random(4).sample(distinct, n_distinct))
    return [text for text in texts if text in chosen]


def read_papers(n: int) -> list[str]:
    """Titles and abstracts."""
    rows = (json.loads(line) for file in sorted(PAPERS.glob("*.jsonl")) for line in file.open())
    texts = [f"{row.get('title', '')}\n{row.get('abstract', '')}" for row in rows if row.get("abstract")]
    return random.Random(4).sample(texts, min(n or len(texts), len(texts)))


def open_ours(threads: int, cache: Path, batch_tokens: int | None = None) -> BertEmbedder:
    options = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    embedder = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=threads, **options), cache)
    assert isinstance(embedder, BertEmbedder)
    embedder.embed(["warm"])
    return embedder


def without_dedup(embedder: BertEmbedder) -> Encode:
    """Every text given is embedded, repeats too; all else is the product's own path."""
    tokeniser, engine = embedder.load()

    def encode(texts: list[str]) -> Vectors:
        tokens = list(tokeniser.each(texts, all_windows=False))
        return embed_tokens(engine, tokens, embedder.dim, embedder.settings.batch_tokens)

    return encode


def open_peers() -> dict[str, Encode]:
    import torch
    from embedding_atlas.embedding import create_embedder
    from embedding_atlas.projection import _run_embedding
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    folder = str(default_folder())
    model = SentenceTransformer(folder, device="cpu")
    atlas = create_embedder("sentence-transformers", modality="text", model=folder, embedder_args={"device": "cpu"})

    def by_atlas(texts: list[str]) -> Vectors:
        ran = _run_embedding(atlas, texts, model=folder, embedder_args={}, batch_size=None, max_concurrency=None)
        return np.asarray(asyncio.run(ran), np.float32)

    peers: dict[str, Encode] = {
        "sentence_transformers": lambda texts: np.asarray(model.encode(texts, show_progress_bar=False), np.float32),
        "embedding_atlas": by_atlas,
    }
    for encode in peers.values():
        encode(["warm"])
    return peers


def take_turns(
    ways: dict[str, Encode], texts: list[str], rounds: int, peak: Callable[[], float] | None
) -> dict[str, Timing]:
    """Each way once a round, in rotating order."""
    timings = {name: Timing(cpu_s=[], wall_s=[], peak_gflops=[], vectors=np.empty((0, 0), np.float32)) for name in ways}
    names = list(ways)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gflops = statistics.median(peak() for _ in range(5)) if peak else float("nan")
            cpu, wall = time.process_time(), time.perf_counter()
            vectors = ways[name](texts)
            old = timings[name]
            timings[name] = Timing(
                cpu_s=[*old.cpu_s, time.process_time() - cpu],
                wall_s=[*old.wall_s, time.perf_counter() - wall],
                peak_gflops=[*old.peak_gflops, gflops],
                vectors=vectors,
            )
    return timings


def useful_flop(embedder: BertEmbedder, texts: list[str]) -> float:
    tokeniser, _ = embedder.load()
    lengths = np.array([len(one.windows[0]) for one in tokeniser.each(texts, all_windows=False)], np.float64)
    return float((21_233_664 * lengths + 9_216 * lengths**2).sum())


def of_rounds(each: Sequence[float]) -> dict[str, object]:
    """Median and range."""
    return {"value": round(statistics.median(each), 3), "range": [round(min(each), 3), round(max(each), 3)]}


def times(of: Timing, to: Timing) -> list[float]:
    """How many times the CPU of `to` is that of `of`, in each round."""
    return [b / a for a, b in zip(of.cpu_s, to.cpu_s, strict=True)]


def compare(texts: list[str], rounds: int, cache: Path) -> None:
    """Ratios to both peers, exactness, and the share of the FMA peak."""
    peak = open_fma_peak()
    ours = open_ours(1, cache)
    ways = {**open_peers(), "ours_all": without_dedup(ours), "ours": lambda given: ours.embed(given).vectors}
    took = take_turns(ways, texts, rounds, peak)
    more = {"texts": len(texts), "distinct": len(set(texts)), "rounds": rounds}
    for peer, plain_goal, dedup_goal in (("sentence_transformers", 1.45, 1.9), ("embedding_atlas", 3.4, 4.5)):
        unit = f"x less CPU than {peer.replace('_', ' ')}"
        without = of_rounds(times(took["ours_all"], took[peer]))
        tell(f"against_{peer}", unit=f"{unit}, every text", goal=f">= {plain_goal}", **without, **more)
        deduped = of_rounds(times(took["ours"], took[peer]))
        tell(f"against_{peer}_with_dedup", unit=f"{unit}, repeats once", goal=f">= {dedup_goal}", **deduped, **more)
    truth = took["sentence_transformers"].vectors
    truth = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    cosine = (took["ours"].vectors.astype(np.float64) * truth).sum(axis=1)
    value = round(1 - float(cosine.min()), 8)
    tell(
        "min_cosine",
        1 - value,
        "to torch in fp32, the worst text; 1 - cosine beside",
        one_minus=value,
        goal=">= 0.99999",
    )
    tell_shares(took, useful_flop(ours, texts), has_peak=peak is not None)


def tell_shares(took: dict[str, Timing], flop: float, *, has_peak: bool) -> None:
    """Useful FLOPs a second over the peak measured just before; with dedup the work itself is less, so not there."""
    if not has_peak:
        tell("share_of_fma_peak", None, "of the FMA peak", why="no C compiler for this CPU")
        return
    for name, timing in took.items():
        if name == "ours":
            continue
        each = [flop / s / 1e9 / g for s, g in zip(timing.cpu_s, timing.peak_gflops, strict=True)]
        goal = {"goal": ">= 0.75"} if name == "ours_all" else {}
        peak = round(statistics.median(timing.peak_gflops), 1)
        figure = "share_of_fma_peak" + ("" if goal else f"_{name}")
        tell(figure, unit="of the FMA peak, useful FLOPs", peak_gflops=peak, **of_rounds(each), **goal)


def two_threads(texts: list[str], rounds: int, cache: Path) -> None:
    """Wall time of one thread over that of two, and whether they agree to the bit."""
    one, two = without_dedup(open_ours(1, cache)), without_dedup(open_ours(2, cache))
    took = take_turns({"one": one, "two": two}, texts, rounds, None)
    each = [a / b for a, b in zip(took["one"].wall_s, took["two"].wall_s, strict=True)]
    load = round(os.getloadavg()[0], 1)
    tell("two_threads", unit="x the speed of one, wall", goal=">= 1.75", load=load, **of_rounds(each))
    tell("two_threads_cpu", unit="x the CPU of one", **of_rounds(times(took["one"], took["two"])))
    same = bool(np.array_equal(took["one"].vectors, took["two"].vectors))
    tell("two_threads_same_bits", float(same), "1: bit-identical vectors on one thread and two", goal=">= 1")


def papers(n: int, rounds: int, cache: Path) -> None:
    """Abstracts an hour on all cores, by wall time; and what the CPU time alone would allow on quiet cores."""
    texts = read_papers(n)
    cores = os.cpu_count() or 1
    ours = open_ours(cores, cache)
    took = take_turns({"ours": without_dedup(ours)}, texts, rounds, None)["ours"]
    more = {"papers": len(texts), "cores": cores, "load": round(os.getloadavg()[0], 1)}
    tokens = round(ours.embed(texts).n_tokens / len(texts), 1)
    wall = round(3_600 * len(texts) / statistics.median(took.wall_s))
    tell("papers_per_hour", wall, "papers an hour, wall", goal=">= 75000", tokens_per_paper=tokens, **more)
    by_cpu = round(3_600 * len(texts) * cores / statistics.median(took.cpu_s))
    tell("papers_per_hour_by_cpu", by_cpu, "papers an hour if all cores were ours", **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=600, help="distinct texts; 0: all")
    parser.add_argument("--corpus", type=Path, default=AGENT_LOGS if AGENT_LOGS.is_dir() else SAMPLE)
    parser.add_argument("--only", default="compare,threads,papers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache, only = Path(folder), asked.only.split(",")
        texts = sample(read_texts(asked.corpus), asked.texts) if {"compare", "threads"} & set(only) else []
        if "compare" in only:
            compare(texts, asked.rounds, cache)
        if "threads" in only:
            two_threads(texts, asked.rounds, cache)
        if "papers" in only and PAPERS.is_dir():
            papers(asked.texts, asked.rounds, cache)


if __name__ == "__main__":
    main()
