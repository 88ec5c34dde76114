"""Search: by words on both databases, by meaning, both fused, filters, folding, and queries that can't be answered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logs import write

from components.cached_folder import atomic_folder
from components.errors import BadQuery, ModelChanged, NotFound, RunAtlasError
from components.pipeline import Pipeline
from components.search import lists
from components.search.filters import Filters
from components.search.lists import open_vectors
from components.search.vectors import RowVectors, open_rows
from components.settings import DatasetSettings, LoadSettings, PublishSettings, Settings
from components.snapshot.parts import read_row_groups, vectors_of
from components.store.words import phrases_of

Item = dict[str, Any]
texts = [
    "ticket TCK-4071 is open again",
    "we can't and won't retry",
    "C++ and c++ differ from C",
    "snake_case_name in src/app/main.py",
    "Überraschung beim Öffnen",
    "the search was retried, the file was not",
    "retry the search",
    "search the retry",
    "ordinary text",
]


def items(*said: str, **more: Any) -> list[Item]:
    return [{"iteration": n, "idx": 0, "type": "user", "text": text, **more} for n, text in enumerate(said)]


def opened(home: Path, **changes: Any) -> Pipeline:
    defaults: dict[str, Any] = {"model": "hash://32", "load": LoadSettings(quiet_s=0)}
    return Pipeline(Settings(home=home, **(defaults | changes)))


def indexed(pipeline: Pipeline, file: Path, said: list[Item]) -> None:
    write(file, said)
    pipeline.load([file])
    pipeline.index()


def found(pipeline: Pipeline, *arguments: Any, **options: Any) -> list[str]:
    return [hit.record.text for hit in pipeline.search(*arguments, **options)]


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ("TCK-4071", [["TCK", "4071"]]),
        ('how to "retry the  search"', [["how"], ["to"], ["retry", "the", "search"]]),
        ('* ( - " ""', []),
        ("a:b NEAR(x) AND NOT", [["a", "b"], ["NEAR", "x"], ["AND"], ["NOT"]]),
        ('an "open quote', [["an"], ["open"], ["quote"]]),
        ("snake_case", [["snake", "case"]]),
    ],
)
def test_what_is_typed_is_no_syntax_but_for_quotes(query: str, phrases: list[list[str]]) -> None:
    assert phrases_of(query) == phrases


def test_words_are_found_as_they_are_typed_on_both_databases(tmp_path: Path, database: str | None) -> None:
    with opened(tmp_path / "home", database_url=database) as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        expected = {
            "tck-4071": texts[:1],
            "4071": texts[:1],
            "can't": texts[1:2],
            "c++": texts[2:3],
            "case name": texts[3:4],
            "snake_case": texts[3:4],
            "src/app": texts[3:4],
            "ÖFFNEN": texts[4:5],
            '"retry the search"': texts[6:7],
            "nothing of this kind": [],
            "* ( -": [],
            "open' OR 1=1 --": [],
        }
        assert {query: found(pipeline, query, mode="words") for query in expected} == expected
        assert set(found(pipeline, "retry search", mode="words")) == {texts[6], texts[7]}
        write(tmp_path / "b.jsonl", items("late arrival"))
        pipeline.load([tmp_path / "b.jsonl"])
        assert found(pipeline, "arrival", mode="words") == [], "it is not on the map yet"
        pipeline.index()
        assert found(pipeline, "arrival", mode="words") == ["late arrival"]


def test_more_records_than_are_added_at_once_are_all_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.store import words

    monkeypatch.setattr(words, "_sqlite_add", words._sqlite_add.replace(f"limit {words.added_rows}", "limit 3"))
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*(f"word{n} here" for n in range(20))))
        assert all(found(pipeline, f"word{n}", mode="words") == [f"word{n} here"] for n in range(20))


def test_records_of_an_older_database_are_found_at_once(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from components.store.migrate import migrations

    config = Config()
    config.set_main_option("script_location", str(migrations))
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        with pipeline.store.db.write() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0008")
    with opened(tmp_path / "home") as pipeline:
        assert found(pipeline, "tck-4071", mode="words") == texts[:1]


def test_equal_texts_are_one_hit_with_their_number(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as pipeline:
        said = ["how can I help you"] * 5_000 + [f"another text {n}" for n in range(30)]
        indexed(pipeline, tmp_path / "a.jsonl", items(*said))
        for mode in ("meaning", "words", "both"):
            hits = pipeline.search("how can I help you", mode=mode, k=20)  # type: ignore[arg-type]
            assert (hits[0].record.text, hits[0].count) == ("how can I help you", 5_000), mode
            assert len({hit.record.text for hit in hits}) == len(hits)
        id = hits[0].record.id
        first = pipeline.search(like=[id])[0]
        assert (first.record.text, first.count, first.score) == (
            "how can I help you",
            4_999,
            pytest.approx(1, abs=1e-3),
        )
        assert first.record.id != id


def test_a_record_a_vector_likes_and_dislikes_find_what_is_near(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        vectors = {text: pipeline.search(text, mode="meaning", k=1)[0] for text in texts}
        assert all(hit.record.text == text and hit.score > 0.999 for text, hit in vectors.items())
        a, b = vectors[texts[0]].record.id, vectors[texts[1]].record.id
        assert found(pipeline, like=[a])[0] != texts[0]
        assert found(pipeline, texts[0], like=[b], unlike=[b], mode="meaning", k=1) == texts[:1]
        snapshot = pipeline.snapshot()
        (table,) = read_row_groups(snapshot.embeddings_files[0])
        row = int(np.flatnonzero(np.array(table["id"].to_pylist()) == a)[0])
        assert found(pipeline, vector=vectors_of(table)[row].tolist(), k=1) == texts[:1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "a0 a1 a2 b0 b1"),
        (Filters(type=("tool",)), "a1"),
        (Filters(type=("tool", "error")), "a1 a2"),
        (Filters(filename=("a*",)), "a0 a1 a2"),
        (Filters(filename=("[!a]*", "nothing")), "b0 b1"),
        (Filters(run=("b.jsonl",)), "b0 b1"),
        (Filters(since=datetime(2026, 1, 2, tzinfo=UTC)), "a1 a2"),
        (Filters(until=datetime(2026, 1, 2, tzinfo=UTC)), "a0"),
        (Filters(since=datetime(2026, 1, 2)), "a1 a2"),  # noqa: DTZ001 - as a shell gives it
        (Filters(since=datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=1)))), "a1 a2"),
        (Filters(until=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))), ""),
        (Filters(since=datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))), ""),
        (Filters(extra={"tool": ("bash",)}), "a1"),
        (Filters(extra={"tool": ("bash", "edit"), "ok": ("true",)}), "a1"),
        (Filters(extra={"ok": ("false",)}), "a2"),
        (Filters(extra={"steps": ("7",)}), "b1"),
        (Filters(new_since=1), "b0 b1"),
        (Filters(new_since=1, run=("b.jsonl",), extra={"steps": ("7",)}), "b1"),
        (Filters(type=("none",)), ""),
    ],
)
@pytest.mark.parametrize("mode", ["meaning", "words", "both"])
def test_filters_are_combined_freely(filtered: Pipeline, filters: Filters, expected: str, mode: Any) -> None:
    hits = filtered.search("common", mode=mode, filters=filters)
    assert {hit.record.text.split()[0] for hit in hits} == set(expected.split())


@pytest.mark.parametrize("extra", [{"tool": "bash"}, {"ok": "true"}, {"steps": "7"}, {"share": "0.5"}], ids=str)
def test_extra_fields_are_compared_as_text_on_both_databases(
    tmp_path: Path, database: str | None, extra: dict[str, str]
) -> None:
    item = {"iteration": 0, "idx": 0, "type": "user", "text": "a", "tool": "bash", "ok": True, "steps": 7, "share": 0.5}
    with opened(tmp_path / "home", database_url=database) as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", [item, *items("another", ok=False)])
        wanted = Filters(extra={name: (value,) for name, value in extra.items()})
        assert found(pipeline, "anything", mode="meaning", filters=wanted) == ["a"]


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("filtered")
    a: list[Item] = [
        {"timestamp": "2026-01-01T00:00:00Z", "type": "user"},
        {"timestamp": "2026-01-02T00:00:00Z", "type": "tool", "tool": "bash", "ok": True},
        {"timestamp": "2026-01-03T00:00:00Z", "type": "error", "tool": "edit", "ok": False},
    ]
    b: list[Item] = [{"type": "user"}, {"type": "user", "steps": 7}]
    with opened(folder / "home") as pipeline:
        for name, said in (("a", a), ("b", b)):
            numbered = [{"iteration": n, "idx": 0, "text": f"{name}{n} common", **one} for n, one in enumerate(said)]
            indexed(pipeline, folder / f"{name}.jsonl", numbered)
        yield pipeline


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "empty"),
        ({"text": "  \t"}, "empty"),
        ({"text": "x" * 100_000}, "100,000 characters"),
        ({"text": "x", "k": 0}, "k is 0"),
        ({"text": "x", "k": 10**9}, "k is 1000000000"),
        ({"vector": [1.0, 0.0]}, "2 dimensions, the map has 32"),
        ({"vector": [0.0] * 32}, "no direction"),
        ({"vector": [float("nan")] * 32}, "no direction"),
        ({"text": "x", "filters": Filters(extra={'a"b': ("1",)})}, "quotes"),
    ],
)
def test_what_can_not_be_answered_is_refused(filtered: Pipeline, query: dict[str, Any], message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        filtered.search(**query)


def test_what_is_unknown_is_named(filtered: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="0123"):
        filtered.search(like=["0123"])
    with pytest.raises(NotFound, match="Snapshot 77"):
        filtered.search("common", filters=Filters(new_since=77))
    with pytest.raises(NotFound, match="runz"):
        filtered.search("common", "runz")
    with opened(tmp_path / "home") as empty, pytest.raises(NotFound, match="runatlas index"):
        empty.search("common")
    assert len(filtered.search("common", k=1_000)) == 5, "more were wanted than there are"


def test_another_model_than_the_maps_is_named_and_words_still_work(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
    with opened(tmp_path / "home", model="hash://16") as pipeline:
        with pytest.raises(ModelChanged, match="search by words"):
            pipeline.search("retry")
        assert len(pipeline.search("retry the search", mode="words")) == 2


@pytest.mark.parametrize("said", [[], ["one"], ["same"] * 3, ["a", "b", "c"]], ids=len)
def test_tiny_datasets_are_searched(tmp_path: Path, said: list[str]) -> None:
    with opened(tmp_path / "home", datasets={"default": DatasetSettings()}) as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*said, "another"))
        for mode in ("meaning", "words", "both"):
            hits = pipeline.search("same", mode=mode)  # type: ignore[arg-type]
            assert sum(hit.count for hit in hits) == (len(said) + 1 if mode != "words" else said.count("same"))


def test_unpacked_vectors_are_rebuilt_when_they_are_damaged_and_removed_with_their_part(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        cache = pipeline.settings.cache / "search" / "default"
        before = found(pipeline, "retry", mode="meaning")
        (file,) = cache.glob("*.f16")
        file.write_bytes(file.read_bytes()[:-5])
        assert found(pipeline, "retry", mode="meaning") == before
        snapshot = pipeline.snapshot()
        unpacked = open_vectors(snapshot, cache)
        published = np.concatenate(
            [vectors_of(table) for path in snapshot.embeddings_files for table in read_row_groups(path)]
        )
        assert np.array_equal(unpacked.at(np.arange(len(unpacked))).astype(np.float32), published)
        pipeline.index(recompute=True)
        pipeline.search("retry", mode="meaning")
        assert len(list(cache.glob("*.f16"))) == len(pipeline.snapshot().embeddings_files)


@pytest.mark.slow
def test_the_bundled_model_finds_what_is_meant(tmp_path: Path) -> None:
    said = ["the plane was late and I missed my connection", "my card was charged twice", "how do I reset my password"]
    with opened(tmp_path / "home", model="all-MiniLM-L6-v2") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*said))
        assert found(pipeline, "delayed flight", k=1) == said[:1]
        assert found(pipeline, "double payment", k=1) == said[1:2]
        assert found(pipeline, "forgot my login", k=1) == said[2:]


# --- inverted lists


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A map whose searches read lists: 1,200 records with 800 texts, in three parts."""
    monkeypatch.setattr(lists, "LISTS_FROM", 300)
    monkeypatch.setattr(lists, "ROWS_A_LIST", 40)
    monkeypatch.setattr(lists, "EXACT_ROWS", 20)
    with opened(tmp_path / "home", model="hash://48", publish=PublishSettings(part_rows=5_000, keep_s=0)) as pipeline:
        for start in (0, 400, 800):
            said = [f"{['even', 'odd'][n % 2]} record {n % 800} about {n % 7}" for n in range(start, start + 400)]
            indexed(pipeline, tmp_path / f"{start}.jsonl", items(*said))
        yield pipeline


def test_lists_find_what_comparing_all_finds(large: Pipeline, tmp_path: Path) -> None:
    snapshot = large.snapshot()
    folder = lists.search_cache(large.settings.cache, large.output())
    assert list(folder.glob("*.lists-*"))  # the index has made them
    found = lists.open_vectors(snapshot, folder)
    exact = open_rows(snapshot, tmp_path / "exact")
    assert isinstance(found, lists.ListedVectors)
    assert not isinstance(lists.open_vectors(snapshot, folder), RowVectors)
    every = np.arange(1_200)
    assert (len(found), found.dim) == (1_200, 48)
    assert np.array_equal(found.at(every), exact.at(every))
    assert not list(folder.glob("*.f16"))  # lists take their place
    whole = lists.ListedVectors(parts=found.parts, centroids=found.centroids, n_probed=len(found.centroids))
    accepted = np.random.default_rng(0).random(1_200) < 0.3
    few = np.zeros(1_200, np.bool_)
    few[5:20] = True
    for vector in exact.at(every[::100]).astype(np.float32):
        direction = vector / np.linalg.norm(vector)
        for rows in (None, accepted, few):
            best, wanted = whole.best(direction, 10, rows), exact.best(direction, 10, rows)
            assert best.scores == pytest.approx(wanted.scores, abs=1e-5)
            vectors = exact.at(wanted.rows).astype(np.float32)
            assert [one.tolist() for one in whole.equal_rows(vectors, rows, None, None)] == [
                one.tolist() for one in exact.equal_rows(vectors, rows, direction, wanted)
            ]
        assert found.best(direction, 10, None).scores[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_large_map_is_searched_as_a_small_one(large: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    hit = large.search("even record 6 about 6", mode="meaning", k=1)[0]
    assert (hit.record.text, hit.count) == ("even record 6 about 6", 2 if 806 % 7 == 6 else 1)
    similar = large.search(like=[hit.record.id], k=5)
    assert hit.record.id not in {one.record.id for one in similar}
    only = large.search("record", filters=Filters(filename=("400.jsonl",)), k=30)
    assert {one.record.filename for one in only} == {"400.jsonl"}
    monkeypatch.setattr(lists, "LISTS_FROM", 10**9)
    exact = large.search("even record 6 about 6", mode="meaning", k=1)[0]
    assert (exact.record.id, exact.score, exact.count) == (hit.record.id, pytest.approx(hit.score, abs=1e-5), hit.count)


@pytest.mark.slow
def test_damaged_lists_are_made_again_and_those_of_old_parts_removed(large: Pipeline) -> None:
    folder = lists.search_cache(large.settings.cache, large.output())
    before = found(large, "odd record 7", mode="meaning")
    damaged = next(folder.glob("*.lists-*")) / "vectors.npy"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    wrong = [check for check in large.verify() if not check.ok]
    assert [check.name for check in wrong] == ["search lists are undamaged"]
    assert damaged.parent.name in wrong[0].detail
    assert found(large, "odd record 7", mode="meaning") == before
    assert all(check.ok for check in large.verify())
    centroids = next(folder.glob("centroids-*")) / "centroids.npy"
    centroids.unlink()
    assert [check.name for check in large.verify() if not check.ok] == ["search lists are undamaged"]
    assert found(large, "odd record 7", mode="meaning") == before
    assert all(check.ok for check in large.verify())
    large.index(recompute=True)
    kept = {path.name.split(".parquet")[0] for path in folder.glob("*.lists-*")}
    assert len(kept) == len(large.snapshot().embeddings_files)


def test_lists_around_other_centroids_are_not_used(large: Pipeline) -> None:
    """The centroids may be made again from a snapshot that has grown; lists made around the old ones would hide vectors."""
    folder = lists.search_cache(large.settings.cache, large.output())
    old = {path.name for path in folder.glob("*.lists-*")}
    centroids = next(folder.glob("centroids-*"))
    others = np.random.default_rng(0).permutation(np.load(centroids / "centroids.npy"))
    n_probed = np.load(centroids / "n_probed.npy")
    with atomic_folder(centroids) as aside:
        np.save(aside / "centroids.npy", others)
        np.save(aside / "n_probed.npy", n_probed)
    hit = large.search("even record 6 about 6", mode="meaning", k=1)[0]
    assert hit.record.text == "even record 6 about 6"
    assert {path.name for path in folder.glob("*.lists-*")}.isdisjoint(old)


def test_an_index_whose_lists_can_not_be_written_is_published(large: Pipeline, tmp_path: Path) -> None:
    folder = lists.search_cache(large.settings.cache, large.output())
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    before = large.snapshot().number
    indexed(large, tmp_path / "more.jsonl", items("one record more"))
    assert large.snapshot().number == before + 1
    folder.unlink()
    assert found(large, "one record more", mode="meaning", k=1) == ["one record more"]


def test_words_and_records_are_found_whatever_the_model_setting(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        id = pipeline.search(texts[0], k=1)[0].record.id
    with opened(tmp_path / "home", model="openai://some-model?base_url=nowhere") as broken:
        assert broken.search(texts[0], mode="words", k=1)[0].record.id == id
        assert broken.search(like=[id])
        with pytest.raises(RunAtlasError):
            broken.search(texts[0], mode="meaning")


def test_the_last_word_that_is_being_typed_may_be_the_beginning_of_one(tmp_path: Path, database: str | None) -> None:
    with opened(tmp_path / "home", database_url=database) as pipeline:
        indexed(pipeline, tmp_path / "a.jsonl", items(*texts))
        number, words = pipeline.dataset_id("default"), pipeline.store.words
        for query, n in (
            ("tck-40", 1),
            ("SEAR", 3),
            ("sear retry", 0),
            ("retry sea", 2),
            ('"the sea', 3),
            ('"the search"', 2),
            ("*", 0),
        ):
            assert len(words.search(number, query, 100, is_typing=True)) == n, query
        assert words.search(number, "tck-40", 100) == []
