"""Topics of real maps: found by an index, published, kept over loads, refits and edits, on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from browser import free_port
from logs import write
from served import served
from sqlalchemy import text as sql
from typer.testing import CliRunner

from api.app import create_app
from api.cli.main import app
from api.map_data import topic_legend
from components.contracts import NO_TOPIC, NO_TOPIC_LABEL, TOPIC_LEVEL
from components.errors import BadQuery, NotFound
from components.pipeline import Pipeline
from components.search.filters import Filters
from components.settings import LoadSettings, PrefectSettings, PublishSettings, Settings
from components.snapshot.manifest import topics_schema
from components.snapshot.read import read_topics

themes = {
    "refund": ("please refund my order of", "the refund for", "when is the refund paid for", "refund policy of"),
    "weather": ("will it rain tomorrow in", "weather forecast for", "sunny days in", "how cold is the weather in"),
    "parser": (
        "fix the parser of the",
        "syntax error in the parser of the",
        "the parser fails on the",
        "parser tests of the",
    ),
    "flights": ("book a flight to", "cancel my flight to", "is the flight delayed to", "flight tickets to"),
    "music": ("play a song by", "concert of the band", "new album by", "guitar solo by"),
}
objects = ("paris", "london", "tokyo", "berlin", "madrid", "oslo", "rome", "lima", "cairo", "delhi", "boston", "quito")


def said(names: list[str], each: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Distinct texts about some themes, in mixed order."""
    chosen = random.Random(seed)
    texts: list[str] = []
    for name in names:
        every = [f"{start} {a} and {b}" for start in themes[name] for a in objects for b in objects if a != b]
        texts += chosen.sample(every, each)
    chosen.shuffle(texts)
    return [{"iteration": n, "idx": 0, "type": "user", "text": text} for n, text in enumerate(texts)]


def opened(home: Path, **changes: Any) -> Pipeline:
    settings = Settings(home=home, load=LoadSettings(quiet_s=0), publish=PublishSettings(keep_s=0), **changes)
    return Pipeline(settings)


def rows(pipeline: Pipeline, columns: tuple[str, ...] = ("id", "text", "topic", "topic_label")) -> list[dict[str, Any]]:
    tables = [pq.read_table(file, columns=list(columns)) for file in pipeline.snapshot().logs_files]
    return [row for table in tables for row in table.to_pylist()]


def leaves(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [topic for topic in read_topics(pipeline.snapshot()) if topic["level"] == TOPIC_LEVEL]


def assert_valid(pipeline: Pipeline) -> None:
    assert [check for check in pipeline.verify() if not check.ok] == []
    active = {topic["id"]: topic for topic in leaves(pipeline) if topic["state"] == "active"}
    sizes: dict[int, int] = {}
    texts: dict[int, set[str]] = {}
    for row in rows(pipeline):
        sizes[row["topic"]] = sizes.get(row["topic"], 0) + 1
        texts.setdefault(row["topic"], set()).add(row["text"])
        expected = NO_TOPIC_LABEL if row["topic"] == NO_TOPIC else active[row["topic"]]["name"]
        assert row["topic_label"] == expected
    counts = pipeline.topics().counts
    assert counts.noise + counts.waiting == sizes.pop(NO_TOPIC, 0)
    assert sizes == {id: topic["size"] for id, topic in active.items() if topic["size"]}
    assert counts.assigned == sum(sizes.values())
    assert {id: topic["texts"] for id, topic in active.items() if topic["size"]} == {
        id: len(said) for id, said in texts.items() if id != NO_TOPIC
    }


def test_topics_are_the_themes_and_keep_their_ids_while_the_map_grows(tmp_path: Path, database: str | None) -> None:
    log = tmp_path / "a.jsonl"
    items = said(["refund", "weather", "parser"], 60)
    with opened(tmp_path / "home", database_url=database) as pipeline:
        write(log, items)
        pipeline.load([log])
        report = pipeline.index()
        assert report.step == "fit"
        assert report.topics is not None
        assert report.topics.active == len(leaves(pipeline)) >= 3
        assert report.topics.new == {}  # the first topics of a map are not listed as new
        assert_valid(pipeline)
        first = {row["id"]: row["topic"] for row in rows(pipeline)}
        owners = {theme: owner(pipeline, theme) for theme in ("refund", "weather", "parser")}
        assert len({id for ids in owners.values() for id in ids}) == sum(map(len, owners.values()))  # no topic has two
        table = pq.read_table(pipeline.snapshot().topics_file)
        assert table.schema.remove_metadata() == topics_schema()
        shown = leaves(pipeline)[0]
        assert (shown["born"], shown["lineage"]) == (1, [{"event": "new", "snapshot": 1, "other": -1}])
        assert 0 < len(shown["examples"]) <= 5
        assert set(shown["examples"]) <= set(first)

        # between fits: new records join, some with known texts; no old record changes
        items += said(["refund", "weather"], 20, seed=1) + items[:5]
        write(log, items)
        pipeline.load()
        assert pipeline.index().step == "transform"
        assert_valid(pipeline)
        later = {row["id"]: row["topic"] for row in rows(pipeline)}
        assert all(later[id] == topic for id, topic in first.items())

        # a refit with a new theme: the old topics stay, the theme gets an id of its own
        items += said(["music"], 60, seed=2)
        write(log, items)
        pipeline.load()
        report = pipeline.index(recompute=True)
        assert report.step == "refit"
        assert report.topics is not None
        assert_valid(pipeline)
        now = {row["id"]: row["topic"] for row in rows(pipeline)}
        kept = [id for id, topic in later.items() if topic != NO_TOPIC and now[id] == topic]
        assert len(kept) >= 0.95 * sum(topic != NO_TOPIC for topic in later.values())
        assert owner(pipeline, "song")
        assert set(map(str, owner(pipeline, "song"))) <= set(report.topics.new)
        trends = pipeline.topics(since=2).trends
        assert {trends[id] for id in owner(pipeline, "song")} == {"new"}
        with pytest.raises(NotFound, match="Snapshot 99"):
            pipeline.topics(since=99)


def owner(pipeline: Pipeline, word: str) -> set[int]:
    """The topics of the records with this word."""
    return {row["topic"] for row in rows(pipeline) if word in row["text"] and row["topic"] != NO_TOPIC}


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Pipeline]:
    with opened(tmp_path / "home") as pipeline:
        write(tmp_path / "a.jsonl", said(list(themes), 50))
        pipeline.load([tmp_path / "a.jsonl"])
        pipeline.index()
        yield pipeline


def test_what_people_decide_is_published_and_survives_a_refit_and_a_renewal(mapped: Pipeline) -> None:
    refund, weather = min(owner(mapped, "refund")), min(owner(mapped, "weather"))
    before = mapped.snapshot().number
    assert mapped.edit_topic(refund, name="Money  back")
    assert mapped.edit_topic(weather, merge_into=refund)
    assert mapped.snapshot().number == before + 2
    for options in ({}, {"recompute": True}, {"renew_topics": True}):
        mapped.index(**options)
        assert_valid(mapped)
        known = {topic["id"]: topic for topic in leaves(mapped)}
        assert (known[refund]["name"], known[refund]["name_source"]) == ("Money back", "person")
        assert known[weather]["state"] == "merged"
        assert known[weather]["lineage"][-1]["event"] == "merged into"
        assert known[weather]["lineage"][-1]["snapshot"] == before + 2
        assert refund in owner(mapped, "weather")
        assert weather not in owner(mapped, "weather")
    labels = pq.read_table(mapped.snapshot().labels_file).to_pylist()
    assert "Money back" in {label["text"] for label in labels}
    for call, message in (
        (lambda: mapped.edit_topic(refund, name=" \x00 "), "can't be used"),
        (lambda: mapped.edit_topic(refund, name="x" * 101), "1 to 100 characters"),
        (lambda: mapped.edit_topic(refund, merge_into=refund), "into itself"),
    ):
        with pytest.raises(BadQuery, match=message):
            call()
    for call in (
        lambda: mapped.edit_topic(weather, name="rain"),
        lambda: mapped.edit_topic(NO_TOPIC, name="none"),
        lambda: mapped.edit_topic(refund, merge_into=9_999),
    ):
        with pytest.raises(NotFound, match="no active topic"):
            call()


def test_a_renewal_keeps_positions_drift_and_the_ids_of_topics_that_stay_together(
    mapped: Pipeline, tmp_path: Path
) -> None:
    columns = ("id", "topic", "projection_x", "projection_y")
    write(tmp_path / "b.jsonl", said(["refund"], 20, seed=3))
    mapped.load([tmp_path / "b.jsonl"])
    placed = mapped.index()
    assert placed.step == "transform"
    before = {row["id"]: row for row in rows(mapped, columns)}
    report = mapped.index(renew_topics=True)
    assert (report.step, report.refit_displacement, report.drift) == ("refit", 0.0, placed.drift)
    after = {row["id"]: row for row in rows(mapped, columns)}
    assert {id: row["projection_x"] for id, row in before.items()} == {
        id: row["projection_x"] for id, row in after.items()
    }
    fitted = [id for id, row in before.items() if row["topic"] == after[id]["topic"]]
    assert len(fitted) >= 0.95 * len(before)
    assert_valid(mapped)


def test_a_map_from_before_there_were_topics_gets_them_with_the_next_index(mapped: Pipeline) -> None:
    before = {row["id"]: row["topic"] for row in rows(mapped)}
    with mapped.store.db.write() as connection:  # as the migration leaves it
        connection.execute(sql("update layout set n_topics = null"))
        connection.execute(sql("update position set topic = null"))
        connection.execute(sql("delete from topic"))
    mapped.index()
    assert_valid(mapped)
    after = {row["id"]: row["topic"] for row in rows(mapped)}
    assert len(set(after.values())) == len(set(before.values()))


@pytest.mark.slow
def test_a_search_can_be_limited_to_topics_and_groups(mapped: Pipeline) -> None:
    music = owner(mapped, "song") | owner(mapped, "guitar")
    hits = mapped.search("paris and london", filters=Filters(topic=tuple(music)), k=20)
    assert hits
    assert all(any(word in hit.record.text for word in ("song", "band", "album", "guitar")) for hit in hits)
    without = {row["id"] for row in rows(mapped) if row["topic"] == NO_TOPIC}
    found = {hit.record.id for hit in mapped.search("paris", filters=Filters(topic=(NO_TOPIC,)), k=1_000)}
    assert found <= without
    with pytest.raises(NotFound, match="no topic 9999"):
        mapped.search("paris", filters=Filters(topic=(9_999,)))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3, 9, 12])
def test_tiny_and_equal_maps_have_valid_topics(tmp_path: Path, n: int) -> None:
    for name, items in (
        ("few", said(["refund"], n)),
        ("equal", [{"iteration": i, "idx": 0, "type": "user", "text": "the same"} for i in range(n)]),
    ):
        with opened(tmp_path / name, model="hash://32") as pipeline:
            write(tmp_path / f"{name}.jsonl", items)
            pipeline.load([tmp_path / f"{name}.jsonl"])
            pipeline.index()
            assert_valid(pipeline)
            pipeline.index(recompute=True)
            assert_valid(pipeline)


@pytest.mark.slow
def test_the_same_records_have_the_same_map_in_every_home_in_whatever_order_texts_were_embedded(tmp_path: Path) -> None:
    found = []
    items = said(["refund", "weather", "flights"], 40)
    for home in ("one", "two"):
        with opened(tmp_path / home) as pipeline:
            if home == "two":  # whose vectors the default dataset shares
                write(tmp_path / home / "b.jsonl", items[:50:-1])
                pipeline.load([tmp_path / home / "b.jsonl"], "before")
                pipeline.index("before")
            write(tmp_path / home / "a.jsonl", items)
            pipeline.load([tmp_path / home / "a.jsonl"])
            pipeline.index()
            found.append(rows(pipeline, ("id", "topic", "topic_label", "projection_x", "projection_y")))
    assert found[0] == found[1]


def test_the_api_lists_and_edits_topics_and_colours_the_map_by_them(mapped: Pipeline) -> None:
    refund, weather = min(owner(mapped, "refund")), min(owner(mapped, "weather"))
    nobody = mapped.settings.model_copy(update={"prefect": PrefectSettings(port=free_port())})
    with served(create_app(nobody)) as client:
        answer = client.get("/datasets/default/topics").json()
        assert answer["snapshot"] == 1
        assert {topic["id"] for topic in answer["topics"]} >= {refund, weather}
        assert "trend" not in answer["topics"][0]
        assert client.get("/datasets/default/topics?since=1").json()["topics"][0]["trend"] == "steady"
        assert client.get("/datasets/default/topics?since=9").status_code == 404
        found = client.get(f"/datasets/default/search?q=paris&topic={refund}").json()["hits"]
        assert {"refund" in hit["text"] for hit in found} == {True}

        address = f"/datasets/default/topics/{refund}"
        edited = client.patch(address, json={"name": "Money back"})  # Prefect is down: it is stored all the same
        assert edited.status_code == 202
        assert "the next index publishes it" in edited.json()["detail"]
        for body, status in (
            ({}, 422),
            ({"name": "x", "merge_into": weather}, 422),
            ({"name": None}, 422),
            ({"name": "x", "merge_into": None}, 422),
            ({"name": ""}, 422),
            ({"merge_into": refund}, 422),
            ({"merge_into": 9_999}, 404),
        ):
            assert client.patch(address, json=body).status_code == status, body
        assert client.patch("/datasets/default/topics/9999", json={"name": "x"}).status_code == 404
        assert client.patch("/datasets/nowhere/topics/1", json={"name": "x"}).status_code == 404
        assert client.patch(f"/datasets/default/topics/{weather}", json={"merge_into": refund}).status_code == 202
        mapped.index()
        shown = {topic["id"]: topic for topic in client.get("/datasets/default/topics?all=true").json()["topics"]}
        assert (shown[refund]["name"], shown[weather]["state"]) == ("Money back", "merged")
        summary = client.get("/map/default/snapshot.json").json()
        assert sum(entry["count"] for entry in summary["topics"]) == summary["rows"]
        assert "topic" in {column["name"] for column in summary["points"]["columns"]}


def test_a_map_is_coloured_by_the_finest_groups_that_colours_can_show() -> None:
    def topic(id: int, level: int, parent: int = NO_TOPIC, state: str = "active") -> dict[str, Any]:
        return {"id": id, "level": level, "parent": parent, "state": state, "name": f"t{id}"}

    few = topic_legend(np.array([0, 1, 1, -1], np.int32), [topic(0, 3), topic(1, 3), topic(2, 3, state="ended")])
    assert (few.names, few.counts, few.codes.tolist()) == (["t1", "t0", "no topic"], [2, 1, 1], [1, 0, 0, 2])
    groups = [topic(100 + n, 0) for n in range(10)]
    many = topic_legend(np.arange(50, dtype=np.int32), [*groups, *(topic(n, 3, 100 + n % 10) for n in range(50))])
    assert many.counts == [5] * 10
    assert set(many.names) == {f"t{100 + n}" for n in range(10)}
    none = topic_legend(np.full(3, NO_TOPIC, np.int32), [])
    assert (none.names, none.counts) == (["no topic"], [3])
    assert topic_legend(np.empty(0, np.int32), []).names == []


@pytest.mark.slow
def test_verify_finds_records_whose_topic_is_not_listed(mapped: Pipeline) -> None:
    file = mapped.snapshot().topics_file
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    wrong = [check for check in mapped.verify() if not check.ok]
    assert [check.name for check in wrong] == ["topics of the records are active ones, under their names"]
    assert "topics.parquet" in wrong[0].detail
    file.write_bytes(b"PAR1")
    mapped.publish()
    assert_valid(mapped)


def test_the_shell_lists_renames_and_merges_topics(
    mapped: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "home"))
    shell = CliRunner()
    refund, weather = min(owner(mapped, "refund")), min(owner(mapped, "weather"))
    listed = shell.invoke(app, ["topics"])
    assert listed.exit_code == 0
    assert "Snapshot 1: " in listed.stdout
    assert shell.invoke(app, ["topics", "rename", str(refund), "money"]).stdout.endswith("It is published.\n")
    assert "money" in shell.invoke(app, ["topics", "--limit", "500"]).stdout
    assert shell.invoke(app, ["topics", "merge", str(weather), str(refund)]).exit_code == 0
    json = shell.invoke(app, ["topics", "--json", "--since", "1"])
    assert json.exit_code == 0
    assert '"trend": "steady"' in json.stdout
    unknown = shell.invoke(app, ["topics", "rename", "9999", "x"])
    assert unknown.exit_code == 1
    assert "no active topic 9999" in unknown.stderr
    assert shell.invoke(app, ["search", "paris", "--topic", str(refund)]).exit_code == 0
