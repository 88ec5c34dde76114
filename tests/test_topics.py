"""Topics as pure functions: found in clusters, kept while a map grows, grouped, named, edited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.contracts import Topic, TopicEvent, TopicSize
from components.neighbors.knn import Neighbors, around, index_of, nearest_of_many, unit
from components.topics.catalog import MapRows, make_catalog, next_id_of, returned_ids
from components.topics.clusters import NEW, NOISE, by_size, coarse_clusters, fine_clusters
from components.topics.edits import merged_sizes, numbered, sized, totals, with_edits, with_published
from components.topics.identity import (
    Maintained,
    far_limit,
    first_topics,
    link_share,
    maintain,
    renewed_topics,
    vote,
)
from components.topics.names import Sample, keyword_names
from components.topics.space import topic_space
from components.topics.tree import NONE, groups_of, needed_levels
from components.topics.trends import trends
from components.topics.words import phrases_of

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]


def themes(n: int, sizes: list[int], *, seed: int = 0, spread: float = 0.25) -> tuple[Vectors, Labels]:
    """Unit vectors around n directions that are always the same ones, and the theme of each."""
    directions = np.random.default_rng(7).normal(size=(n, 24))
    random = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    vectors = (
        directions[which]
        + spread * random.normal(size=(len(which), 24)) * np.linalg.norm(directions[which], axis=1)[:, None] / 5
    )
    return unit((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)), which


def near_of(vectors: Vectors, k: int = 14) -> Neighbors:
    found = around(index_of(vectors, seed=0), vectors, k + 1)
    return Neighbors(rows=found.rows[:, 1:], distances=found.distances[:, 1:])


def grown(vectors: Vectors, before: Labels, *, advisers: list[Labels], next_id: int, **options: Any) -> Maintained:
    """Topics after rows were added behind those of which `before` has topics."""
    m = len(before)
    all_before = np.concatenate([before, np.full(len(vectors) - m, NEW)])
    near_known = nearest_of_many(index_of(vectors[:m], seed=0), vectors[m:], 5)
    return maintain(
        all_before,
        next_id,
        near_of(vectors),
        near_known,
        before,
        advisers,
        **options,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("cache")


# --- clusters


def test_clusters_in_five_dimensions_are_the_themes_and_the_same_in_every_run(cache: Path) -> None:
    vectors, theme = themes(8, [60, 50, 40, 40, 30, 30, 20, 20])
    near: Neighbors = around(index_of(vectors, seed=0), vectors, 15)
    spaces = [topic_space(vectors, near, seed=1, cache=cache) for _ in range(2)]
    assert spaces[0].shape == (290, 5)
    assert (spaces[0] == spaces[1]).all()
    for clusters in (coarse_clusters(spaces[0]), fine_clusters(spaces[0])):
        inside = clusters >= 0
        assert inside.mean() > 0.9
        for cluster in range(clusters.max() + 1):  # none holds records of two themes
            assert len(np.unique(theme[clusters == cluster])) == 1


@pytest.mark.parametrize("n", [1, 3, 5, 6, 10, 11])
def test_few_or_equal_points_have_clusters_too(n: int) -> None:
    for points in (np.zeros((n, 5), np.float32), np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)):
        for found in (coarse_clusters(points), fine_clusters(points)):
            assert found.shape == (n,)
            assert found.min() >= NOISE


def test_clusters_are_numbered_by_size() -> None:
    assert by_size(np.array([5, 2, 2, -1, 2, 5, 9])).tolist() == [1, 0, 0, -1, 0, 1, 2]


# --- identity


def test_a_new_row_joins_the_topic_of_its_neighbours_or_none() -> None:
    topics = np.array([0, 0, 0, 1, 1, 1, NOISE])
    near = Neighbors(
        rows=np.array([[0, 1, 2, 3, 4], [3, 4, 5, 0, 1], [6, 6, 6, 6, 6], [0, 1, 2, 3, 4]]),
        distances=np.array([[0.1] * 5, [0.1, 0.1, 0.1, 0.3, 0.3], [0.1] * 5, [0.1, 0.1, 0.1, 0.1, 0.9]]),
    )
    assert vote(topics, near, far=0.5).tolist() == [0, 1, NOISE, NOISE]


def test_random_growth_changes_no_old_topic_and_adds_none() -> None:
    old, theme = themes(6, [60] * 6)
    more, more_theme = themes(6, [40] * 6, seed=1)
    vectors, truth = np.concatenate([old, more]), np.concatenate([theme, more_theme])
    found = grown(vectors, theme, advisers=[truth], next_id=6)
    assert (found.topics[:360] == theme).all()
    assert (found.topics == truth).mean() > 0.97
    assert not [change for change in found.changes if change.kind in {"new", "split", "merged"}]
    assert found.next_id == 6


def test_a_theme_that_arrives_becomes_a_topic_and_nothing_else_changes() -> None:
    old, theme = themes(6, [60] * 5)
    more, more_theme = themes(6, [10] * 5 + [40], seed=1)
    vectors, truth = np.concatenate([old, more]), np.concatenate([theme, more_theme])
    found = grown(vectors, theme, advisers=[truth], next_id=5)
    assert [(change.kind, change.topic) for change in found.changes if change.kind == "new"] == [("new", 5)]
    assert (found.topics[truth == 5] == 5).mean() > 0.9
    assert (found.topics[:300] == theme).all()


def test_parts_without_links_are_split_and_topics_without_a_border_are_merged_unless_a_person_fixed_them() -> None:
    vectors, truth = themes(4, [60] * 4)
    joined, halves = truth.copy(), truth.copy()
    joined[truth == 1] = 0  # two themes in one topic
    at = np.flatnonzero(truth == 3)
    halves[at[np.random.default_rng(0).permutation(len(at))[:30]]] = 4  # one theme in two topics
    split = grown(vectors, joined, advisers=[truth], next_id=4)
    assert [(change.kind, change.other) for change in split.changes] == [("split", 0)]
    assert len(np.unique(split.topics)) == 4
    assert (grown(vectors, joined, advisers=[truth], next_id=4, fixed={0}).topics == joined).all()
    merged = grown(vectors, halves, advisers=[truth], next_id=5)
    assert [(change.kind, {change.topic, change.other}) for change in merged.changes] == [("merged", {3, 4})]
    assert len(np.unique(merged.topics)) == 4
    assert grown(vectors, halves, advisers=[truth], next_id=5, fixed={4}).changes[0].topic == 4
    assert (grown(vectors, halves, advisers=[truth], next_id=5, fixed={3, 4}).topics == halves).all()


def test_links_are_a_half_without_a_border_and_none_between_themes() -> None:
    vectors, theme = themes(2, [80, 80])
    near = near_of(vectors).rows
    half = np.random.default_rng(0).random(160) < 0.5
    assert 0.35 < link_share(near, half & (theme == 0), ~half & (theme == 0)) < 0.65
    assert link_share(near, theme == 0, theme == 1) < 0.02


def test_renewed_topics_keep_the_ids_of_those_that_stay_together() -> None:
    before = np.array([4] * 10 + [7] * 10 + [NEW] * 5)
    clusters = np.array([1] * 9 + [0] * 11 + [2] * 5)
    assert renewed_topics(clusters, before, 9, fixed={4}).topics.tolist() == [4] * 10 + [7] * 10 + [9] * 5
    found = renewed_topics(clusters, before, 9)
    assert found.topics.tolist() == [4] * 9 + [7] * 11 + [9] * 5
    assert (found.next_id, [change.topic for change in found.changes]) == (10, [9])


def test_nothing_known_is_far_from_nothing() -> None:
    assert far_limit(np.empty((0, 5))) == np.inf
    assert first_topics(np.array([0, NOISE, 1]), next_id=5).topics.tolist() == [5, NOISE, 6]


# --- the catalog


def rows_of(vectors: Vectors) -> MapRows:
    return MapRows(vector_ids=np.arange(len(vectors)), vectors=vectors, positions=vectors[:, :2].copy())


def test_topics_have_a_history(cache: Path) -> None:
    vectors, theme = themes(3, [20, 20, 20])
    first = make_catalog(first_topics(theme), rows_of(vectors), [])
    assert [(topic.id, topic.state, [e.event for e in topic.lineage]) for topic in first.topics] == [
        (n, "active", ["new"]) for n in range(3)
    ]
    gone = theme.copy()
    gone[theme == 2] = NOISE  # all of its records have left
    second = make_catalog(Maintained(topics=gone, next_id=3, changes=[]), rows_of(vectors), first.topics)
    assert [topic.state for topic in second.topics] == ["active", "active", "ended"]
    assert len(second.topics[2].members) == 20
    back = theme.copy()
    back[theme == 2] = 3
    found = Maintained(topics=back, next_id=4, changes=[*first_topics(back).changes[3:]])
    again = returned_ids(found, rows_of(vectors), second.topics)
    third = make_catalog(again, rows_of(vectors), second.topics)
    assert (again.topics == theme).all()
    assert [event.event for event in third.topics[2].lineage] == ["new", "ended", "returned"]
    assert third.topics[2].state == "active"
    assert next_id_of(third.topics) == 3


def test_groups_are_nested_and_stay_while_topics_come() -> None:
    random = np.random.default_rng(3)
    centroids = unit_rows(random.normal(size=(60, 16)))
    groups, next_id = groups_of(centroids, np.full((60, 3), NONE), 60)
    assert needed_levels(60) == [0, 1]
    assert (groups[:, 2] == NONE).all()
    assert len(np.unique(groups[:, 0])) == 10
    assert len(np.unique(groups[:, 1])) == 30
    for fine in np.unique(groups[:, 1]):
        assert len(np.unique(groups[groups[:, 1] == fine, 0])) == 1
    assert next_id == 100
    more = np.concatenate([centroids, unit_rows(centroids[:5] + 0.01)])
    later, same_next = groups_of(more, np.concatenate([groups, np.full((5, 3), NONE)]), next_id)
    assert (later[:60] == groups).all()
    assert (later[60:] == groups[:5]).all()
    assert same_next == next_id
    assert groups_of(centroids[:8], np.full((8, 3), NONE), 8)[1] == 8  # eight topics need no groups


def unit_rows(vectors: Any) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


# --- what people and snapshots add


def test_names_and_merges_of_people_are_laid_over_and_numbered() -> None:
    topics = [Topic(id=n, name=f"n{n}", lineage=[TopicEvent(event="new")], parent=9) for n in range(3)]
    topics.append(Topic(id=9, level=0, name="group"))
    edited = with_edits(topics, {1: "mine"}, {2: 1})
    assert [(topic.name, topic.name_source, topic.state) for topic in edited] == [
        ("n0", "fallback", "active"),
        ("mine", "person", "active"),
        ("n2", "fallback", "merged"),
        ("group", "fallback", "active"),
    ]
    raw = {0: TopicSize(5, 3), 1: TopicSize(2, 2), 2: TopicSize(4, 1), -1: TopicSize(3, 3), None: TopicSize(1, 1)}
    sizes = merged_sizes(raw, {2: 1})
    assert sizes == {0: TopicSize(5, 3), 1: TopicSize(6, 3)}
    shown = sized(numbered(edited, 4), sizes, [], 4)
    assert [(topic.size, topic.texts, topic.born, topic.last_seen) for topic in shown] == [
        (5, 3, 4, 4),
        (6, 3, 4, 4),
        (0, 0, 4, 4),
        (11, 6, 4, 4),
    ]
    assert shown[2].lineage[-1] == TopicEvent(event="merged into", snapshot=4, other=1)
    later = sized(numbered(with_published(topics, shown), 5), {0: TopicSize(5, 3), 1: TopicSize(8, 4)}, shown, 5)
    assert [(topic.size, topic.born, topic.last_seen) for topic in later[:2]] == [(5, 4, 4), (8, 4, 5)]
    found = totals(raw)
    assert (found.assigned, found.noise, found.waiting) == (11, 3, 1)


def test_trends_are_new_returned_growing_fading_or_steady() -> None:
    before = [Topic(id=n, born=1, size=size) for n, size in enumerate([100, 100, 100])]
    back = Topic(id=4, born=1, size=9, lineage=[TopicEvent(event="returned", snapshot=7)])
    now = [Topic(id=n, born=1, size=size) for n, size in enumerate([200, 103, 140])]
    found = trends([*now, Topic(id=3, born=6, size=9), back], before, since=5, rows_now=461, rows_before=300)
    assert found == ["growing", "fading", "steady", "new", "returned"]
    assert trends(now, now, since=5, rows_now=300, rows_before=300) == ["steady"] * 3


# --- names


def sample(*texts: str, type: str = "assistant", tool: str = "", runs: list[str] | None = None) -> Sample:
    n = len(texts)
    return Sample(texts=texts, types=[type] * n, tools=[tool] * n, runs=runs or [f"r{i}" for i in range(n)])


def test_names_are_phrases_that_set_a_topic_apart_and_no_words_of_the_format() -> None:
    refund = sample(*(f'{{"status": "ok", "id": "{n}"}} the refund policy of order {n} was applied' for n in range(6)))
    tests = sample(*(f"Chunk ID: a{n} Wall time: 0.1 seconds Output: running unit tests again" for n in range(6)))
    grep = sample(
        *(f'Grep {{"pattern": "x{n}", "path": "/home/ann/work/parser/lexer.py"}}' for n in range(6)),
        type="tool_call",
        tool="Grep",
    )
    names = [one.name for one in keyword_names([refund, tests, grep])]
    assert names[0].startswith("refund policy")
    assert "unit tests" in names[1]
    assert names[2].startswith("Grep calls: ")
    assert "lexer.py" in names[2] or "parser" in names[2]
    joined = " ".join(names)
    for word in ("chunk", "wall", "seconds", "status", "pattern", "ann"):
        assert word not in joined.split()


def test_a_name_that_occurs_in_one_run_names_no_topic() -> None:
    texts = [
        "mia kovacs wants the refund",
        "mia kovacs asks for the refund",
        "mia kovacs again, the refund",
        "the refund please",
        "my refund",
    ]
    found = keyword_names([sample(*texts, runs=["a", "a", "a", "b", "c"])])[0]
    assert "mia" not in found.name
    assert "refund" in found.name


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["我想取消航班", "请帮我取消航班吧", "取消航班需要多久", "为什么不能取消航班"], "取消航班"),
        (["会議室を予約したい", "会議室を予約できますか", "明日の会議室を予約して"], "会議室を予約"),
        (["хочу отменить заказ", "как отменить заказ", "можно отменить заказ?"], "отменить заказ"),
    ],
)
def test_words_of_every_script_are_kept_whole(texts: list[str], word: str) -> None:
    assert word in keyword_names([sample(*texts)])[0].name


def test_topics_without_common_words_are_named_by_an_excerpt_and_no_two_are_called_the_same() -> None:
    sums = [sample(f"({n} + 1) * {n} = 24", f"({n} - 1) * 3 = 24", "8 * 3 = 24") for n in (7, 7, 8)]
    found = keyword_names(sums)
    assert [one.source for one in found] == ["fallback"] * 3
    assert found[0].name == "“(7 + 1) * 7 = 24”"
    assert found[1].name == "“(7 + 1) * 7 = 24” (2)"
    assert len({one.name for one in found}) == 3
    assert keyword_names([sample()])[0].name
    assert keyword_names([]) == []


def test_names_hold_nothing_that_could_harm_a_page_or_a_table() -> None:
    for text in ("<script>alert(1)</script> refund", "\x1b[31m refund\n\n| x |", "refund " * 4_000, "\u202e refund"):
        name = keyword_names([sample(text, text, text)])[0].name
        assert name.isprintable()
        assert len(name) <= 60


def test_phrases_neither_begin_nor_end_with_stop_words() -> None:
    assert "of the refund" not in phrases_of("the status of the refund is open")
    assert "refund is open" in phrases_of("the status of the refund is open")
