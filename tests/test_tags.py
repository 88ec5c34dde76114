"""Tags on records: kept by record id, whatever happens to the map; a filter everywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_world import settings_at, write_run
from databases import fresh_database
from httpx import Client
from served import served
from typer.testing import CliRunner

from api.app import create_app
from api.cli.main import app
from components.errors import BadQuery, NotFound, RunAtlasError
from components.pipeline import Pipeline
from components.search.filters import Filters
from components.settings import Settings
from components.store.tag_tables import Tagged, Tagging


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield made(settings_at(tmp_path / "home"), tmp_path)
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield made(settings_at(tmp_path / "home", database_url=url), tmp_path)


def made(settings: Settings, folder: Path) -> Settings:
    with Pipeline(settings) as pipeline:
        write_run(folder / "logs", "a", 12)
        write_run(folder / "logs", "b", 8)
        pipeline.load([str(folder / "logs")])
        pipeline.index()
    return settings


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with served(create_app(settings)) as opened:
        yield opened


def ids_of(pipeline: Pipeline, *filters: str) -> list[str]:
    from api.cli.tags import filters_of

    return list(pipeline.select("default", filters_of(filters)).ids())


def test_tags_survive_a_refit_a_second_reading_and_an_index_of_new_records(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        chosen = ids_of(pipeline, "run=a.jsonl")[:3]
        assert pipeline.tag("odd", chosen, note="look again").added == 3
        write_run(tmp_path / "logs", "c", 4)
        pipeline.load()
        pipeline.index(recompute=True)
        text = (tmp_path / "logs" / "a.jsonl").read_text()
        (tmp_path / "logs" / "a.jsonl").write_text(text[: len(text) // 2].rsplit("\n", 1)[0] + "\n")
        pipeline.load()
        (tmp_path / "logs" / "a.jsonl").write_text(text)
        pipeline.load(verify=True)
        pipeline.index()
        assert sorted(ids_of(pipeline, "tag=odd")) == sorted(chosen)
        assert pipeline.record(chosen[0])["tags"][0]["note"] == "look again"
        assert all(check.ok for check in pipeline.verify())


def test_a_new_note_replaces_the_old_one_and_no_note_keeps_it(settings: Settings) -> None:
    with Pipeline(settings) as pipeline:
        a, b, c = ids_of(pipeline)[:3]
        pipeline.tag("x", [a, b], note="first")
        done = pipeline.tag("x", [b, c], note="second")
        assert (done.added, done.changed, done.count) == (1, 1, 3)
        done = pipeline.tag("x", [a, b, c])
        assert (done.added, done.changed, done.count) == (0, 0, 3)
        assert [pipeline.record(one)["tags"][0]["note"] for one in (a, b, c)] == ["first", "second", "second"]
        (tag,) = pipeline.tags()
        assert (tag.tag, tag.count, tag.note) == ("x", 3, "second")
        assert pipeline.untag("x", [a]) == 1
        assert pipeline.untag("x") == 2
        assert pipeline.tags() == []
        with pipeline.store.db.read() as connection:
            for table in (Tagged, Tagging):
                assert not connection.execute(table.__table__.select()).all()  # type: ignore[attr-defined]
        with pytest.raises(NotFound, match="tag 'x'"):
            pipeline.untag("x")


def test_two_that_tag_at_once_lose_nothing(settings: Settings) -> None:
    with Pipeline(settings) as pipeline:
        ids = ids_of(pipeline)
        failures: list[RunAtlasError] = []

        def work(n: int) -> None:
            try:
                with Pipeline(settings) as other:
                    for at in range(5):
                        other.tag("both", ids if n % 2 else ids[::-1], note=f"{n} {at}")
                        other.tag(f"own {n}", ids[at : at + 2])
            except RunAtlasError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures
        counts = {tag.tag: tag.count for tag in pipeline.tags()}
        assert counts == {"both": 20, **{f"own {n}": 6 for n in range(4)}}


def test_a_tag_that_cannot_be_used_is_named(settings: Settings) -> None:
    with Pipeline(settings) as pipeline:
        (id, *_) = ids_of(pipeline)
        for tag in ("", "  ", "x" * 101, "x" * 10_000, "a\u202eb", "a\0b\x1b[2J", "--"):
            with pytest.raises(BadQuery, match="The tag"):
                pipeline.tag(tag, [id])
        with pytest.raises(BadQuery, match="note has 10,001"):
            pipeline.tag("x", [id], note="n" * 10_001)
        with pytest.raises(NotFound, match=r"no record 'f{32}'.*nothing was tagged"):
            pipeline.tag("x", [id, "f" * 32])
        with pytest.raises(BadQuery, match="no record passes"):
            pipeline.tag("x", filters=Filters(type=("none",)))
        with pytest.raises(BadQuery, match="either by their ids or by filters"):
            pipeline.tag("x")
        assert pipeline.tags() == []
        assert pipeline.tag("<b onclick=x>\u00e9</b>  '; drop table tagged; --", [id]).count == 1
        assert ids_of(pipeline, "tag=<b onclick=x>\u00e9</b> '; drop table tagged; --") == [id]


def test_tags_are_a_filter_of_search_and_compare(settings: Settings) -> None:
    with Pipeline(settings) as pipeline:
        of_a = ids_of(pipeline, "run=a.jsonl")
        pipeline.tag("a run", of_a)
        hits = pipeline.search("step", mode="words", k=50, filters=Filters(tag=("a run",)))
        assert {hit.record.id for hit in hits} == set(of_a)
        assert not pipeline.search("step", mode="words", filters=Filters(tag=("unknown",)))
        found = pipeline.compare(a="tag=a run")
        assert (found.a.runs, found.b.runs) == (1, 1)
        pipeline.untag("a run")
        pipeline.tag("a run", ids_of(pipeline, "run=b.jsonl"))
        assert pipeline.compare(a="tag=a run").id != found.id


def test_the_tags_of_a_dropped_dataset_go_with_it(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        write_run(tmp_path / "more", "c", 5)
        pipeline.load([str(tmp_path / "more")], "more")
        pipeline.index("more")
        pipeline.tag("mine", dataset="more", filters=Filters(run=("c.jsonl",)))
        pipeline.tag("kept", ids_of(pipeline)[:1])
        pipeline.drop("more")
        with pipeline.store.db.read() as connection:
            assert [row.tag for row in connection.execute(Tagged.__table__.select())] == ["kept"]  # type: ignore[attr-defined]
            assert [row.tag for row in connection.execute(Tagging.__table__.select())] == ["kept"]  # type: ignore[attr-defined]


# --- over HTTP


def post(client: Client, **body: Any) -> Any:
    return client.post("/datasets/default/tags", json=body)


def test_records_are_tagged_by_ids_rows_and_filters(client: Client) -> None:
    shown = client.get("/map/default/records?rows=0,1,2").json()
    ids = [one["id"] for one in shown]
    assert post(client, tag=" to  read ", note="n", ids=[*ids, ids[0]]).json() == {
        "tag": "to read", "added": 3, "changed": 0, "count": 3,
    }  # fmt: skip
    assert post(client, tag="rows", rows=[0, 2, 2], snapshot=1).json()["added"] == 2
    assert post(client, tag="by filter", filters={"type": ["error", "user"], "run": "a.jsonl"}).json()["added"] == 6
    listed = {one["tag"]: (one["count"], one["note"]) for one in client.get("/datasets/default/tags").json()["tags"]}
    assert listed == {"by filter": (6, ""), "rows": (2, ""), "to read": (3, "n")}
    tags = client.get(f"/datasets/default/records/{ids[2]}").json()["tags"]
    assert {"to read", "rows"} <= {one["tag"] for one in tags}
    assert set(tags[0]) == {"tag", "note", "created_at"}
    bits = np.frombuffer(client.get("/map/default/tagged.bin", params={"tag": "to read"}).content, np.uint8)
    assert np.flatnonzero(bits).tolist() == [0, 1, 2]
    found = client.get("/datasets/default/search", params={"q": "step", "mode": "words", "tag": "rows", "k": 50}).json()
    assert {one["id"] for one in found["hits"]} == {ids[0], ids[2]}
    runs = client.get("/datasets/default/runs", params={"tag": "by filter"}).json()["runs"]
    assert [(one["run"], one["matching"]) for one in runs] == [("a.jsonl", 6)]
    removed = client.request("DELETE", "/datasets/default/tags", json={"tag": "to read", "ids": ids[:1]}).json()
    assert removed == {"tag": "to read", "removed": 1, "count": 2}
    removed = client.request("DELETE", "/datasets/default/tags", json={"tag": "to read"}).json()
    assert removed == {"tag": "to read", "removed": 2, "count": 0}


def test_bodies_that_cannot_be_used_are_problems(client: Client) -> None:
    def refused(status: int, part: str, **body: Any) -> None:
        answer = post(client, **body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert part in answer.text, answer.text

    refused(404, "f" * 32, tag="x", ids=["f" * 32])
    refused(404, "Snapshot 9", tag="x", rows=[0], snapshot=9)
    refused(404, "row 20 was requested", tag="x", rows=[20])
    refused(422, "give ids, rows or filters", tag="x")
    refused(422, "give one of ids", tag="x", ids=[], rows=[])
    refused(422, "nothing to tag", tag="x", ids=[])
    refused(422, "tag", tag="", ids=["a"])
    refused(422, "tag", tag="x" * 10_000, ids=["a"])
    refused(422, "characters that can't be seen", tag="a\u200bb", ids=["a"])
    refused(422, "topic=abc", tag="x", filters={"topic": "abc"})
    refused(422, "since=x", tag="x", filters={"since": "x"})
    refused(422, "filters", tag="x", filters={"type": {"a": 1}})
    refused(422, "colour", tag="x", ids=["a"], colour="red")
    assert client.post("/datasets/nothing/tags", json={"tag": "x", "ids": ["a"]}).status_code == 404
    assert client.get("/datasets/nothing/tags").status_code == 404
    assert client.post("/datasets/default/tags", content=b'{"tag":').status_code == 422


@pytest.mark.slow
def test_a_selection_of_many_rows_fits_into_a_body_and_a_larger_one_is_refused(client: Client) -> None:
    answer = post(client, tag="x", ids=["f" * 32] * 100_000)
    assert answer.status_code == 404
    big = b'{"tag":"x","note":"' + b"n" * (49 << 20) + b'"}'
    answer = client.post("/datasets/default/tags", content=big)
    assert answer.status_code == 413
    assert "by filters instead" in answer.text


# --- in the shell


def test_the_shell_tags_lists_and_untags(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNATLAS_HOME", str(settings.home))
    monkeypatch.setenv("RUNATLAS_MODEL", "hash://384")
    if settings.database_url:
        monkeypatch.setenv("RUNATLAS_DATABASE_URL", settings.database_url)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    done = run("tag", "odd", "--filter", "run=a.jsonl", "--note", "why", "--json")
    assert json.loads(done.stdout) == {"tag": "odd", "added": 12, "changed": 0, "count": 12}
    assert "12  odd  (why)" in run("tags").stdout
    found = run("search", "step", "--mode", "words", "-k", "50", "--tag", "odd", "--json")
    assert len(json.loads(found.stdout)) == 12
    assert run("untag", "odd").exit_code == 2
    assert "12 records lost the tag 'odd'" in run("untag", "odd", "--all").stdout
    assert run("tag", "odd", "f" * 32).exit_code == 1
    assert run("tag", "odd", "--filter", "topic=x").exit_code == 2
