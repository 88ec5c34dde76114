"""What embedding costs here and what it costs others, in one run on the same corpus; one JSON line a figure.

    python -m benchmarks.embed --rounds 5 --texts 600          # of the agent logs beside the project, else its sample
    python -m benchmarks.embed --corpus FOLDER --texts 0       # every batch of a folder of logs: hours
    python -m benchmarks.embed --only papers,threads

Peers: `SentenceTransformer.encode` with its defaults (batches of 32, sorted by characters), Embedding Atlas' own
embedding step (batches of 32 in the order given), and txtai, where it is installed (`pip install txtai`). All run in one process on one thread, take turns, and are compared by
CPU seconds, so that neighbours on the machine and a moving clock touch all of them alike; each figure is the median of
the rounds.

What a way costs is the sum over its batches, and how it cuts the *whole* corpus into batches decides how much of that is
padding. So each way's batches of the whole corpus are laid out first; a round runs every kth of them, ordered by work,
and is scaled up by work (a systematic sample with a ratio estimator). A plain sample of texts would not do: it cuts
into other batches and repeats itself less often.
Useful work is counted from the texts' tokens, padding excluded: 21,233,664 FLOP a token for the matrix products with
weights and 9,216 x length for attention (MiniLM: 6 layers, 384 wide, 1,536 inside), truncated at 256 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # txtai's import would ask the net

import numpy as np
from numpy.typing import NDArray

from benchmarks.fma_peak import open_fma_peak
from benchmarks.measure import print_figure
from components.contracts import Vectors
from components.embedders.bert import BertEmbedder, default_folder, embed_tokens
from components.embedders.model_uri import open_embedder
from components.embedders.texts import batches_of_equal_length
from components.settings import EmbedSettings, LoadSettings
from components.sources.files import FileSource

ROOT = Path(__file__).parents[1]
AGENT_LOGS = ROOT.parent / "shared" / "data" / "agent-logs"
PAPERS = ROOT.parent / "shared" / "data" / "papers"
SAMPLE = ROOT / "components" / "samples" / "logs"

goals = {  # without repeats left out, and with
    "sentence_transformers": ({"goal": ">= 1.45"}, {"goal": ">= 1.9"}),
    "embedding_atlas": ({"goal": ">= 3.4"}, {"goal": ">= 4.5"}),
}

Encode = Callable[[list[str]], Vectors]
Lengths = NDArray[np.int64]  # (n,) tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to embed the corpus: the batches that it cuts the whole of it into, by falling work (FLOP, padded)."""

    encode: Encode
    batches: list[list[int]]
    work: NDArray[np.float64]

    def part(self, turn: int, of: int) -> tuple[list[int], float]:
        """Texts of every `of`th batch from the `turn`th on, and their share of the work of all batches."""
        chosen = range(turn, len(self.batches), of)
        return [i for n in chosen for i in self.batches[n]], float(self.work[chosen].sum() / self.work.sum())


@dataclass(slots=True, kw_only=True)
class Timing:
    """Of every round: CPU and wall seconds that the whole corpus takes; useful FLOP a second over the peak's."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    of_peak: list[float] = field(default_factory=list)
    peak_gflops: list[float] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), np.float32))  # of the last round


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


def sample(texts: Sequence[str], n: int) -> list[str]:
    """`n` of the texts, in their order; all where it is 0."""
    rows = range(len(texts)) if not 0 < n < len(texts) else sorted(random.Random(4).sample(range(len(texts)), n))
    return [texts[row] for row in rows]


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
    if importlib.util.find_spec("txtai"):
        from txtai.vectors import VectorsFactory

        vectors = VectorsFactory.create({"path": folder, "method": "sentence-transformers", "gpu": False})
        peers["txtai"] = lambda texts: np.asarray(vectors.encode(texts), np.float32)
    for encode in peers.values():
        encode(["warm"])
    return peers


def lay_out(texts: list[str], lengths: Lengths, peers: dict[str, Encode], ours: BertEmbedder) -> dict[str, Way]:
    """Every way with its batches of the corpus."""
    by_characters = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    first = list({text: i for i, text in reversed(list(enumerate(texts)))}.values())
    cut = {
        "sentence_transformers": in_rows_of_32(by_characters),
        "txtai": in_rows_of_32(by_characters),  # it hands them to sentence-transformers
        "embedding_atlas": in_rows_of_32(list(range(len(texts)))),
        "ours_all": equal_lengths(range(len(texts)), lengths, ours.settings.batch_tokens),
        "ours": equal_lengths(sorted(first), lengths, ours.settings.batch_tokens),
    }
    encode = peers | {"ours_all": without_dedup(ours), "ours": lambda given: ours.embed(given).vectors}
    ways = {}
    for name, batches in ((name, cut[name]) for name in encode):
        work = np.array([len(batch) * flop(lengths[batch].max()) for batch in batches])
        order = np.argsort(-work, kind="stable")
        ways[name] = Way(encode=encode[name], batches=[batches[n] for n in order], work=work[order])
    return ways


def in_rows_of_32(order: list[int]) -> list[list[int]]:
    return [order[start : start + 32] for start in range(0, len(order), 32)]


def equal_lengths(texts: Sequence[int], lengths: Lengths, batch_tokens: int) -> list[list[int]]:
    """As `BertEmbedder` cuts them."""
    rows = np.array(texts)
    return [rows[batch].tolist() for batch in batches_of_equal_length(lengths[rows], batch_tokens)]


def take_turns(
    ways: dict[str, Way], texts: list[str], lengths: Lengths, rounds: int, every: int, peak: Callable[[], float] | None
) -> dict[str, Timing]:
    """Each way once a round, in rotating order, on every `every`th of its batches."""
    timings = {name: Timing() for name in ways}
    names = list(ways)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gflops = statistics.median(peak() for _ in range(5)) if peak else float("nan")
            rows, share = ways[name].part(turn * every // rounds, every)
            given = [texts[i] for i in rows]
            cpu, wall = time.process_time(), time.perf_counter()
            timings[name].vectors = ways[name].encode(given)
            took = time.process_time() - cpu
            timings[name].cpu_s.append(took / share)
            timings[name].wall_s.append((time.perf_counter() - wall) / share)
            timings[name].of_peak.append(float(flop(lengths[rows]).sum()) / took / 1e9 / gflops)
            timings[name].peak_gflops.append(gflops)
    return timings


def token_counts(embedder: BertEmbedder, texts: list[str]) -> Lengths:
    """(n,) tokens of each text as the model takes it, special ones counted."""
    tokeniser, _ = embedder.load()
    return np.array([len(one.windows[0]) for one in tokeniser.each(texts, all_windows=False)], np.int64)


def flop(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Floating-point operations of texts with so many tokens."""
    wide = np.asarray(lengths, np.float64)
    return 21_233_664 * wide + 9_216 * wide**2


def of_rounds(each: Sequence[float]) -> dict[str, object]:
    """Median and range."""
    return {"value": round(statistics.median(each), 3), "range": [round(min(each), 3), round(max(each), 3)]}


def times(of: Timing, to: Timing) -> list[float]:
    """How many times the CPU of `to` is that of `of`, in each round."""
    return [b / a for a, b in zip(of.cpu_s, to.cpu_s, strict=True)]


def compare(texts: list[str], n_texts: int, rounds: int, cache: Path) -> None:
    """Ratios to both peers, exactness, and the share of the FMA peak."""
    peak = open_fma_peak()
    ours, peers = open_ours(1, cache), open_peers()
    lengths = token_counts(ours, texts)
    ways = lay_out(texts, lengths, peers, ours)
    few = min(len(way.batches) for way in ways.values()) // 8
    every = max(1, min(few, len(texts) // n_texts)) if n_texts else 1
    took = take_turns(ways, texts, lengths, min(rounds, every) if every > 1 else rounds, every, peak)
    useful = flop(lengths).sum()
    more = {"texts": len(texts), "distinct": len(set(texts)), "rounds": len(took["ours"].cpu_s), "every_batch": every}
    for peer in peers:
        plain_goal, dedup_goal = goals.get(peer, ({}, {}))
        unit = f"x less CPU than {peer.replace('_', ' ')}"
        padding = round(float(ways[peer].work.sum() / useful), 3)
        without = of_rounds(times(took["ours_all"], took[peer]))
        print_figure(f"against_{peer}", unit=f"{unit}, every text", **plain_goal, **without, **more, padding=padding)
        repeats = round(float(useful / ways["ours"].work.sum()), 3)
        deduped = of_rounds(times(took["ours"], took[peer]))
        figure = f"against_{peer}_with_dedup"
        print_figure(figure, unit=f"{unit}, repeats once", **dedup_goal, **deduped, **more, work_repeated=repeats)
        limit = statistics.median(1 / share for share in took[peer].of_peak) if peak else None
        print_figure(f"limit_{peer}", limit, f"{unit}, every text, if all of ours ran at the FMA peak itself")
    tell_exactness(ours, peers["sentence_transformers"], random.Random(4).sample(texts, min(300, len(texts))))
    tell_shares(took, has_peak=peak is not None)


def tell_exactness(ours: BertEmbedder, reference: Encode, texts: list[str]) -> None:
    """The worst cosine of our vectors with those of sentence-transformers on torch, in fp32."""
    truth = reference(texts).astype(np.float64)
    cosine = (ours.embed(texts).vectors * truth / np.linalg.norm(truth, axis=1, keepdims=True)).sum(axis=1)
    worst = round(1 - float(cosine.min()), 8)
    unit = "to torch in fp32, the worst text; 1 - cosine beside"
    print_figure("min_cosine", 1 - worst, unit, one_minus=worst, texts=len(texts), goal=">= 0.99999")


def tell_shares(took: dict[str, Timing], *, has_peak: bool) -> None:
    """Useful FLOPs a second over the peak measured just before."""
    if not has_peak:
        print_figure("share_of_fma_peak", None, "of the FMA peak", why="no C compiler for this CPU")
        return
    for name, timing in took.items():
        if name == "ours":  # repeats left out: less work, not more speed
            continue
        is_ours = name == "ours_all"
        goal = {"goal": ">= 0.75"} if is_ours else {}
        peak = round(statistics.median(timing.peak_gflops), 1)
        figure = "share_of_fma_peak" + ("" if is_ours else f"_{name}")
        print_figure(
            figure, unit="of the FMA peak, useful FLOPs", peak_gflops=peak, **of_rounds(timing.of_peak), **goal
        )


def whole(encodes: dict[str, Encode], texts: list[str], embedder: BertEmbedder, rounds: int) -> dict[str, Timing]:
    """Each once a round on all of `texts`."""
    lengths, rows = token_counts(embedder, texts), list(range(len(texts)))
    work = np.array([flop(lengths).sum()])
    ways = {name: Way(encode=encode, batches=[rows], work=work) for name, encode in encodes.items()}
    return take_turns(ways, texts, lengths, rounds, 1, None)


def two_threads(texts: list[str], rounds: int, cache: Path) -> None:
    """Wall time of one thread over that of two, and whether they agree to the bit."""
    one, two = open_ours(1, cache), open_ours(2, cache)
    took = whole({"one": without_dedup(one), "two": without_dedup(two)}, texts, one, rounds)
    each = [a / b for a, b in zip(took["one"].wall_s, took["two"].wall_s, strict=True)]
    load = round(os.getloadavg()[0], 1)
    print_figure("two_threads", unit="x the speed of one, wall", goal=">= 1.75", load=load, **of_rounds(each))
    print_figure("two_threads_cpu", unit="x the CPU of one", **of_rounds(times(took["one"], took["two"])))
    same = bool(np.array_equal(took["one"].vectors, took["two"].vectors))
    print_figure("two_threads_same_bits", float(same), "1: bit-identical vectors on one thread and two", goal=">= 1")


def budgets(texts: list[str], rounds: int, cache: Path) -> None:
    """What other sizes of a batch would cost."""
    sizes = (512, 1_024, 2_048, 4_096)
    embedders = {size: open_ours(1, cache, size) for size in sizes}
    encodes = {str(size): without_dedup(embedder) for size, embedder in embedders.items()}
    took = whole(encodes, texts, embedders[1_024], rounds)
    for size in sizes:
        ratio = of_rounds(times(took["1024"], took[str(size)]))
        print_figure(
            f"batches_of_{size}_tokens", unit="x the CPU of batches of 1,024 tokens", **ratio, texts=len(texts)
        )


def papers(n: int, rounds: int, cache: Path) -> None:
    """Abstracts an hour on all cores, by wall time; and what the CPU time alone would allow on quiet cores."""
    texts = read_papers(n)
    cores = os.cpu_count() or 1
    ours = open_ours(cores, cache)
    took = whole({"ours": without_dedup(ours)}, texts, ours, rounds)["ours"]
    more = {"papers": len(texts), "cores": cores, "load": round(os.getloadavg()[0], 1)}
    tokens = round(ours.embed(texts).n_tokens / len(texts), 1)
    wall = round(3_600 * len(texts) / statistics.median(took.wall_s))
    print_figure("papers_per_hour", wall, "papers an hour, wall", goal=">= 75000", tokens_per_paper=tokens, **more)
    by_cpu = round(3_600 * len(texts) * cores / statistics.median(took.cpu_s))
    print_figure("papers_per_hour_by_cpu", by_cpu, "papers an hour if all cores were ours", **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=600, help="a round, about; 0: all")
    parser.add_argument("--corpus", type=Path, default=AGENT_LOGS if AGENT_LOGS.is_dir() else SAMPLE)
    parser.add_argument("--only", default="compare,threads,budgets,papers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache, only = Path(folder), asked.only.split(",")
        texts = read_texts(asked.corpus) if set(only) - {"papers"} else []
        if "compare" in only:
            compare(texts, asked.texts, asked.rounds, cache)
        if "threads" in only:
            two_threads(sample(texts, asked.texts), asked.rounds, cache)
        if "budgets" in only:
            budgets(sample(texts, asked.texts // 3), asked.rounds, cache)
        if "papers" in only and PAPERS.is_dir():
            papers(asked.texts, asked.rounds, cache)


if __name__ == "__main__":
    main()
