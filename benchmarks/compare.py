"""How surely a comparison of runs finds planted behaviours, how seldom it finds what is not there, and what it costs.

    python -m benchmarks.compare [--runs 600] [--trials 100] [--logs FOLDER…] [--half held-out] [--peer-trials 6]
        [--cost 10000] [--large 1000000]

Runs are made from a seed, or read from a folder of logs. Random halves differ in nothing; behaviours (benchmarks/behaviours.py,
21 with eight forms each) are planted into some runs of one half, a record each, in words that vary. `rank` is the place of the
first planted record in the list of that half, 999 if it is not among the first 20 items. Beside it, on the same vectors: records in random
order, by their words (c-TF-IDF), by the frequency of their cluster (k-means), by a classifier that never saw their run, by
the count of runs alone (scan statistic), all in the same trials, and, if the package hodoscope is installed, its own ranking, with a t-SNE for each trial.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.behaviours import behaviours, said
from benchmarks.compare_cost import measure_cost, measure_large
from benchmarks.measure import print_figure
from benchmarks.sample_logs import write_logs
from components.compare import graph as graphs
from components.compare.chance import COUNT_POINTS, COUNT_STEP, Chance
from components.compare.evidence import Speakers, reach_of, speakers_of
from components.compare.material import LEFT_OUT
from components.compare.permute import SIGNIFICANT, Null, chance_of, lists_of, null_of
from components.embedders.model_uri import default_model, open_embedder
from components.pipeline import Pipeline
from components.search.vectors import RowVectors, digests_of
from components.settings import EmbedSettings, LoadSettings, Settings
from components.store.tables import RecordState

ITEMS, MISSED = 20, 999
SIZES = {"15-24": range(15, 25), "9-14": range(9, 15), "5-8": range(5, 9), "2-4": range(2, 5)}
GOALS = {"15-24": (1, 1.0), "9-14": (3, 0.9), "5-8": (10, 0.75)}


@dataclass(frozen=True)
class Texts:
    """Distinct texts by digest with their vectors, and which runs say them (pairs of node and run)."""

    texts: list[str]
    vectors: np.ndarray
    digests: np.ndarray
    node: np.ndarray
    run: np.ndarray
    task: np.ndarray

    @property
    def n_runs(self) -> int:
        return len(self.task)

    def where(self) -> graphs.NodeVectors:
        rows = RowVectors(parts=[self.vectors], dim=self.vectors.shape[1])
        return graphs.NodeVectors(vectors=rows, rows=np.arange(len(self.texts)))

    def speakers(self) -> Speakers:
        return speakers_of(self.node, self.run, n_nodes=len(self.texts), n_runs=self.n_runs)


class Embed:
    """Texts to float16 vectors, each embedded once."""

    def __init__(self) -> None:
        self._model = open_embedder(default_model, EmbedSettings(), Path(tempfile.gettempdir()) / "runatlas-benchmark")
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for at in range(0, len(new), 256):
            some = new[at : at + 256]
            for text, vector in zip(some, self._model.embed(some).vectors, strict=True):
                self._known[text] = vector.astype(np.float16)
        return np.stack([self._known[text] for text in texts])


# --- runs


def records_of(sources: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Run, task and text of each record that an agent wrote."""
    with (
        tempfile.TemporaryDirectory() as home,
        Pipeline(Settings(home=Path(home), load=LoadSettings(quiet_s=0))) as pipeline,
    ):
        pipeline.load(sources)
        for batch in pipeline.store.records.stream(pipeline.dataset_id("default"), RecordState.WAITING):
            for stored in batch:
                record = stored.record
                if record.type not in LEFT_OUT:
                    yield record.filename, str(record.extra.get("task", record.filename)), record.text


def texts_of(records: Sequence[tuple[str, str, str]], embed: Embed, most_a_run: int = 60) -> Texts:
    runs: dict[str, int] = {}
    tasks: dict[str, int] = {}
    task_of_run: dict[int, int] = {}
    texts: dict[str, int] = {}
    pairs: dict[tuple[int, int], None] = {}
    n_of_run: dict[int, int] = {}
    for filename, task, text in records:
        run = runs.setdefault(filename, len(runs))
        task_of_run.setdefault(run, tasks.setdefault(task, len(tasks)))
        n_of_run[run] = n_of_run.get(run, 0) + 1
        if n_of_run[run] <= most_a_run:
            pairs[texts.setdefault(text[:2_000], len(texts)), run] = None
    node, run_of = np.array(list(pairs)).T
    return sorted_texts(
        list(texts), embed(list(texts)), node, run_of, np.array([task_of_run[run] for run in range(len(runs))])
    )


def sorted_texts(texts: list[str], vectors: np.ndarray, node: np.ndarray, run: np.ndarray, task: np.ndarray) -> Texts:
    """In the order of digests; texts of equal vectors are one."""
    digests, first, inverse = np.unique(digests_of(vectors), return_index=True, return_inverse=True)
    pairs = np.unique(np.stack([inverse[node], run], axis=1), axis=0)
    return Texts(
        [texts[i] for i in first], np.ascontiguousarray(vectors[first]), digests, pairs[:, 0], pairs[:, 1], task
    )


def with_planted(base: Texts, planted: Sequence[tuple[int, str]], embed: Embed) -> tuple[Texts, np.ndarray]:
    """The same runs, some with a record more, and which texts are planted."""
    vectors = embed([text for _, text in planted])
    n = len(base.texts)
    node = np.concatenate([base.node, np.arange(n, n + len(planted))])
    run = np.concatenate([base.run, [run for run, _ in planted]])
    made = sorted_texts(
        [*base.texts, *(text for _, text in planted)], np.concatenate([base.vectors, vectors]), node, run, base.task
    )
    return made, np.isin(made.digests, digests_of(vectors))


def half_of(base: Texts, half: str) -> Texts:
    """A random half of the runs: what was tuned on one says nothing certain about the other."""
    order = np.random.default_rng(5).permutation(base.n_runs)
    first = order[: base.n_runs // 2]
    runs = np.sort(first if half == "tuned" else np.setdiff1d(order, first))
    return part_of(base, np.isin(base.run, runs), runs)


def part_of(base: Texts, kept: np.ndarray, runs: np.ndarray) -> Texts:
    """Some pairs of node and run, of these runs only."""
    used = np.unique(base.node[kept])
    node, run = np.full(len(base.texts), -1), np.full(base.n_runs, -1)
    node[used], run[runs] = np.arange(len(used)), np.arange(len(runs))
    return Texts(
        [base.texts[i] for i in used],
        np.ascontiguousarray(base.vectors[used]),
        base.digests[used],
        node[base.node[kept]],
        run[base.run[kept]],
        base.task[runs],
    )


def names_of(half: str) -> list[str]:
    """The behaviours that are planted: half of them were used to tune."""
    names = list(behaviours)
    random.Random(3).shuffle(names)
    middle = len(names) // 2 + 1
    return {"tuned": names[:middle], "held-out": names[middle:]}.get(half, names)


def halves(n: int, draw: np.random.Generator) -> np.ndarray:
    is_a = np.zeros(n, np.bool_)
    is_a[draw.permutation(n)[: n // 2]] = True
    return is_a


# --- the baselines: texts of A, the most telling first


def by_words(data: Texts, is_a: np.ndarray) -> np.ndarray:
    from sklearn.feature_extraction.text import CountVectorizer

    counts = CountVectorizer(binary=True, token_pattern=r"\w+").fit_transform(data.texts)
    of_a = np.bincount(data.node[is_a[data.run]], minlength=len(data.texts))
    of_b = np.bincount(data.node[~is_a[data.run]], minlength=len(data.texts))
    a, b = (np.asarray(counts.T @ some).ravel() for some in (of_a, of_b))
    weight = (a / a.sum() - b / b.sum()) * np.log(1 + (a.sum() + b.sum()) / 2 / np.maximum(a + b, 1))
    score = (counts @ weight) / np.sqrt(np.maximum(1, np.asarray(counts.sum(axis=1)).ravel()))
    return _said_by_a(data, is_a, np.argsort(-score, kind="stable"))


def by_clusters(data: Texts, is_a: np.ndarray, clusters: np.ndarray, centres: np.ndarray) -> np.ndarray:
    n_a = is_a.sum()
    score = np.zeros(len(centres))
    for one in range(len(centres)):
        runs = np.unique(data.run[clusters[data.node] == one])
        a, b = is_a[runs].sum(), (~is_a[runs]).sum()
        share = (a + b) / data.n_runs
        spread = np.sqrt(share * (1 - share) * (1 / n_a + 1 / (data.n_runs - n_a)))
        score[one] = (a / n_a - b / (data.n_runs - n_a)) / max(spread, 1e-9)
    far = np.linalg.norm(data.vectors.astype(np.float32) - centres[clusters], axis=1)
    place = np.empty(len(far), np.int64)
    for one in range(len(centres)):  # first the most typical text of each cluster, then the next one of each
        mine = np.flatnonzero(clusters == one)
        place[mine[np.argsort(far[mine])]] = np.arange(len(mine))
    return _said_by_a(data, is_a, np.lexsort((-score[clusters], place)))


def by_classifier(data: Texts, is_a: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    fold = draw.integers(0, 4, data.n_runs)[data.run]
    vectors, label, score = data.vectors.astype(np.float32), is_a[data.run], np.zeros(len(data.node))
    for one in range(4):
        model = LogisticRegression(C=1.0, max_iter=60).fit(vectors[data.node[fold != one]], label[fold != one])
        score[fold == one] = model.decision_function(vectors[data.node[fold == one]])
    best = np.full(len(data.texts), -np.inf)
    np.maximum.at(best, data.node[label], score[label])
    return _said_by_a(data, is_a, np.argsort(-best, kind="stable"))


def by_hodoscope(sampling: Any, data: Texts, is_a: np.ndarray) -> np.ndarray:
    groups: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for node, run in zip(data.node.tolist(), data.run.tolist(), strict=True):
        groups["a" if is_a[run] else "b"].append(
            {
                "embedding": data.vectors[node].astype(np.float32),
                "trajectory_id": str(run),
                "turn_id": node,
                "summary": "",
                "action_text": "",
            }
        )
    ranked = sampling.rank_summaries(groups, method="tsne")["a"]
    return np.array([one["turn_id"] for one in ranked])


def _said_by_a(data: Texts, is_a: np.ndarray, order: np.ndarray) -> np.ndarray:
    said_by_a = np.zeros(len(data.texts), np.bool_)
    said_by_a[data.node[is_a[data.run]]] = True
    return order[said_by_a[order]]


def rank_in(order: np.ndarray, planted: np.ndarray) -> int:
    found = np.flatnonzero(planted[order])
    return int(found[0]) + 1 if len(found) else MISSED


def hodoscope() -> Any:
    """The module of hodoscope that ranks, without the rest of the package, which needs a language model's client."""
    found = importlib.util.find_spec("hodoscope")
    if found is None or not found.submodule_search_locations:
        return None
    spec = importlib.util.spec_from_file_location(
        "hodoscope_sampling", Path(found.submodule_search_locations[0]) / "sampling.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# --- trials


@dataclass(frozen=True)
class Trial:
    data: Texts
    is_a: np.ndarray
    planted: np.ndarray
    graph: graphs.Graph


class Plan:
    """Trials on one set of runs; each is made from its own seed."""

    def __init__(self, base: Texts, embed: Embed, names: Sequence[str]) -> None:
        self.base, self.embed, self.names = base, embed, names
        self.graph = graphs.build(base.digests, base.where())
        self._counter = 0

    def trial(self, affected: Sequence[int]) -> Trial:
        """Halves whose first one has a behaviour in so many runs as a draw from `affected` says."""
        self._counter += 1
        words, draw = random.Random(self._counter), np.random.default_rng(self._counter)
        is_a = halves(self.base.n_runs, draw)
        behaviour = self.names[self._counter % len(self.names)]
        runs = draw.permutation(np.flatnonzero(is_a))[: words.choice(list(affected))]
        data, planted = with_planted(self.base, [(run, said(behaviour, words)) for run in runs.tolist()], self.embed)
        return Trial(data, is_a, planted, graphs.merge(self.graph, data.digests, data.where()))


def our_ranks(trial: Trial) -> dict[str, int]:
    """With both evidences, in the list of that half and in both lists as one, and with the count of runs alone."""
    speakers = trial.data.speakers()
    reach = reach_of(trial.graph, speakers, trial.data.task)
    chance = chance_of(reach, speakers, trial.is_a)
    alone = replace(
        chance, count=np.tile(np.arange(COUNT_POINTS) * COUNT_STEP, (2, 1)), ratio=np.ones_like(chance.ratio)
    )

    def ranks(chance: Chance) -> tuple[int, int]:
        lists = lists_of(reach, speakers, trial.is_a, chance, ITEMS)
        of_a = reach.centres[np.array(lists.centres[0], np.int64)]
        both = sorted(
            [(-s, 0, i) for s, i in zip(lists.scores[0], of_a, strict=True)] + [(-s, 1, -1) for s in lists.scores[1]]
        )
        together = [at for at, (_, side, i) in enumerate(both, 1) if side == 0 and trial.planted[i]]
        return rank_in(of_a, trial.planted), together[0] if together else MISSED

    ours, together = ranks(chance)
    return {"ours": ours, "ours_both_lists": together, "count_scan": ranks(alone)[0]}


def baseline_ranks(trial: Trial, draw: np.random.Generator) -> dict[str, int]:
    from sklearn.cluster import MiniBatchKMeans

    data, is_a = trial.data, trial.is_a
    means = MiniBatchKMeans(60, n_init=1, random_state=0, batch_size=1_024).fit(data.vectors.astype(np.float32))
    orders = {
        "random": _said_by_a(data, is_a, draw.permutation(len(data.texts))),
        "words": by_words(data, is_a),
        "clusters": by_clusters(data, is_a, means.labels_, means.cluster_centers_),
        "classifier": by_classifier(data, is_a, draw),
    }
    return {way: rank_in(order, trial.planted) for way, order in orders.items()}


def measure_ranks(about: dict[str, object], plan: Plan, trials: int, baseline_trials: int, peer_trials: int) -> None:
    sampling = hodoscope() if peer_trials else None
    for size, affected in SIZES.items():
        ranks: dict[str, list[int]] = {}
        for n in range(trials):
            trial = plan.trial(affected)
            found = our_ranks(trial)
            if n < baseline_trials:
                found |= baseline_ranks(trial, np.random.default_rng(n))
            if sampling is not None and n < peer_trials:
                found["hodoscope"] = rank_in(by_hodoscope(sampling, trial.data, trial.is_a), trial.planted)
            for way, rank in found.items():
                ranks.setdefault(way, []).append(rank)
        for way, values in ranks.items():
            _print_ranks(way, values, ranks["ours"][: len(values)], {**about, "affected": size, "trials": len(values)})


def reciprocal(ranks: Sequence[int]) -> float:
    return float(np.mean([1 / one if one < MISSED else 0.0 for one in ranks]))


def _print_ranks(way: str, values: Sequence[int], ours: Sequence[int], about: dict[str, object]) -> None:
    """Three figures of the ranks; beside those of a baseline ours in the same trials."""
    goal = GOALS.get(str(about["affected"])) if way == "ours" else None
    figures: list[tuple[str, str, Callable[[Sequence[int]], float], dict[str, str]]] = [
        ("rank", "median rank", lambda ranks: float(np.median(ranks)), _goal("<=", goal and goal[0])),
        (
            "within_20",
            "of the trials",
            lambda ranks: float(np.mean(np.array(ranks) <= ITEMS)),
            _goal(">=", goal and goal[1]),
        ),
        ("reciprocal_rank", "mean, 0 for one that is missing", reciprocal, {}),
    ]
    for figure, unit, value, goals in figures:
        beside = {} if way == "ours" else {"ours": round(value(ours), 3)}
        print_figure(f"{figure}_{way}", value(values), unit, **about, **beside, **goals)


def _goal(sign: str, value: float | None) -> dict[str, str]:
    return {} if value is None else {"goal": f"{sign} {value:g}"}


def measure_power(about: dict[str, object], plan: Plan, trials: int, affected: int) -> None:
    """How often a behaviour of so many runs is significant."""
    ps = []
    for _ in range(trials):
        trial = plan.trial([affected])
        speakers = trial.data.speakers()
        reach = reach_of(trial.graph, speakers, trial.data.task)
        chance = chance_of(reach, speakers, trial.is_a)
        lists = lists_of(reach, speakers, trial.is_a, chance, ITEMS)
        null = null_of(reach, speakers, trial.is_a, np.zeros(trial.data.n_runs, np.int64), chance, most=ITEMS)
        of_a = reach.centres[np.array(lists.centres[0], np.int64)]
        ours = [null.p(float(s)) for s, i in zip(lists.scores[0], of_a, strict=True) if trial.planted[i]]
        ps.append(min(ours, default=1.0))
    share = float(np.mean(np.array(ps) <= SIGNIFICANT))
    print_figure(
        "significant",
        share,
        "of the trials",
        **about,
        affected=affected,
        trials=trials,
        **({"goal": ">= 0.9"} if plan.base.n_runs >= 600 else {}),
    )


def measure_null(about: dict[str, object], plan: Plan, n: int) -> None:
    """How often random halves differ significantly; labels of halves are exchangeable, so all trials share one null."""
    speakers = plan.base.speakers()
    reach = reach_of(plan.graph, speakers, plan.base.task)
    is_a = halves(plan.base.n_runs, np.random.default_rng(7))
    none = np.zeros(plan.base.n_runs, np.int64)
    chance = chance_of(reach, speakers, is_a)
    drawn = null_of(reach, speakers, is_a, none, chance, most=1, rounds=n + 200, seed=1).scores
    null = Null(scores=drawn[n:])
    p = np.array([null.p(float(one.max())) for one in drawn[:n]])
    for level, goal in ((0.01, {"goal": "<= 0.015"}), (0.05, {})):
        print_figure(f"false_at_{level}", float((p <= level).mean()), "of random halves", **about, trials=n, **goal)


def measure_length(about: dict[str, object], plan: Plan, trials: int) -> None:
    """How often halves differ of which one lost half of its records."""
    low = 0
    for n in range(trials):
        draw = np.random.default_rng(100 + n)
        base = plan.base
        is_a = halves(base.n_runs, draw)
        kept = is_a[base.run] | (draw.random(len(base.run)) < 0.5)
        data = part_of(base, kept, np.arange(base.n_runs))
        speakers = data.speakers()
        reach = reach_of(graphs.merge(plan.graph, data.digests, data.where()), speakers, data.task)
        chance = chance_of(reach, speakers, is_a)
        lists = lists_of(reach, speakers, is_a, chance, 1)
        null = null_of(reach, speakers, is_a, np.zeros(data.n_runs, np.int64), chance, most=1)
        low += null.p(max(float(scores.max(initial=0.0)) for scores in lists.scores)) <= 0.05
    print_figure(
        "false_by_length", low, f"of {trials} at p <= 0.05", **about, **({"goal": "<= 2"} if trials >= 40 else {})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=600, help="made from a seed")
    parser.add_argument("--logs", type=Path, nargs="+", help="folders of logs in place of those")
    parser.add_argument("--most-a-run", type=int, default=60, help="records of a run that are looked at")
    parser.add_argument(
        "--half", choices=["all", "tuned", "held-out"], default="all", help="of the runs and of the behaviours"
    )
    parser.add_argument("--trials", type=int, default=100, help="of each size")
    parser.add_argument(
        "--baseline-trials", type=int, default=25, help="of each size, with words, clusters, classifier"
    )
    parser.add_argument("--power-trials", type=int, default=30)
    parser.add_argument(
        "--affected", type=int, default=30, help="runs that show a behaviour that has to be significant"
    )
    parser.add_argument("--peer-trials", type=int, default=0, help="of each size, with hodoscope")
    parser.add_argument("--halves", type=int, default=400)
    parser.add_argument("--length-trials", type=int, default=40)
    parser.add_argument("--cost", type=int, default=10_000, help="texts")
    parser.add_argument("--large", type=int, default=0, help="texts of a snapshot that is searched in lists")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    if options.cost:
        measure_cost(options.cost)
    if options.large:
        measure_large(options.large)
    if not options.runs and not options.logs:
        return
    embed = Embed()
    with tempfile.TemporaryDirectory() as folder:
        if not options.logs:
            write_logs(Path(folder), options.runs, options.seed)
        sources = list(map(str, options.logs or [folder]))
        base = texts_of(list(records_of(sources)), embed, options.most_a_run)
    name = "-".join(path.name for path in options.logs) if options.logs else "made from a seed"
    if options.half != "all":
        base = half_of(base, options.half)
    about: dict[str, object] = {"set": name, "half": options.half, "runs": base.n_runs}
    print_figure("texts", len(base.texts), "distinct", **about, tasks=len(set(base.task.tolist())))
    plan = Plan(base, embed, names_of(options.half))
    steps: list[tuple[int, Callable[[], None]]] = [
        (
            options.trials,
            lambda: measure_ranks(about, plan, options.trials, options.baseline_trials, options.peer_trials),
        ),
        (options.power_trials, lambda: measure_power(about, plan, options.power_trials, options.affected)),
        (options.halves, lambda: measure_null(about, plan, options.halves)),
        (options.length_trials, lambda: measure_length(about, plan, options.length_trials)),
    ]
    for wanted, step in steps:
        if wanted:
            step()
    print_figure("benchmark_cpu", time.process_time(), "s", **about)


if __name__ == "__main__":
    main()
