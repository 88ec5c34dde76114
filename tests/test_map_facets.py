"""What the map page filters by, and the lists of runs: values with counts, a code a row, totals of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from api_world import settings_at
from databases import fresh_database
from httpx import Client
from served import served

from api.app import create_app
from api.routes.dataset_runs import MAX_TEXT_CHARS
from components.pipeline import Pipeline
from components.settings import Settings
from components.snapshot.row_index import row_index
from components.views.facets import MAX_DISTINCT, MISSING, OTHERS, FacetReader, read_facets


def item(run: int, n: int, **more: Any) -> dict[str, Any]:
    return {
        "type": ("user", "tool_call", "error")[n % 3],
        "text": f"step {n} of run {run} " + ("went wrong" if n % 3 == 2 else "goes on"),
        "timestamp": f"2026-02-0{1 + run}T10:00:{n:02d}Z",
        "iteration": n,
        "tool": ("bash", "edit")[run % 2] if n % 3 else None,
        "model": "m-large",
        "outcome": "fail" if run == 1 else "pass",
        "output_tokens": 10,
        "cost_usd": 0.5 * (run + 1),
        "shift": n % 2,
        "nested": {"is": "no facet"},
        **more,
    }


def write(folder: Path, run: int, lengths: int, **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({key: value for key, value in item(run, n, **more).items() if value is not None})
        for n in range(lengths)
    ]
    (folder / f"run {run}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    root = tmp_path_factory.mktemp("facets")
    if request.param == "sqlite":
        yield made(settings_at(root / "home"), root)
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield made(settings_at(root / "home", database_url=url), root)


def made(settings: Settings, root: Path) -> Settings:
    with Pipeline(settings) as pipeline:
        write(root / "logs", 0, 6)
        pipeline.load([str(root / "logs")])
        pipeline.index()
        write(root / "logs", 1, 9)
        write(root / "logs", 2, 3)
        pipeline.load()
        pipeline.index()
        write(root / "logs", 3, 4)
        pipeline.load()  # waits for an index
    return settings


@pytest.fixture(scope="module")
def client(world: Settings) -> Iterator[Client]:
    with served(create_app(world)) as opened:
        yield opened


def columns(client: Client) -> dict[str, Any]:
    answer = client.get("/map/default/facets.json")
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["columns"]}


def codes(client: Client, name: str) -> Any:
    url = columns(client)[name]["url"]
    return np.frombuffer(client.get(f"/map/default/{url}?snapshot=2").content, "<u2")


def counts(column: dict[str, Any]) -> dict[str, int]:
    return {one["value"]: one["count"] for one in column["values"]}


def test_each_field_has_its_values_with_counts_and_a_code_a_row(client: Client) -> None:
    found = columns(client)
    assert list(found)[:6] == ["run", "tool", "model", "project", "outcome", "topic"]
    assert counts(found["outcome"]) == {"fail": 9, "pass": 9}
    assert counts(found["tool"]) == {"edit": 6, "bash": 6}
    assert found["tool"]["missing"] == 6
    assert counts(found["run"]) == {"run 1.jsonl": 9, "run 0.jsonl": 6, "run 2.jsonl": 3}
    assert counts(found["shift"]) == {"0": 10, "1": 8}
    assert [found[name]["extra"] for name in ("shift", "tool")] == [True, False]
    assert not {"nested", "tokens"} & set(found)
    assert sum(counts(found["topic"]).values()) == 18
    for name in found:
        got = codes(client, name)
        assert len(got) == 18
        listed = [one["count"] for one in found[name]["values"]]
        assert np.bincount(got[got < OTHERS], minlength=len(listed)).tolist() == listed


def test_a_code_names_the_value_that_the_filter_accepts(client: Client) -> None:
    for name, value, query in (
        ("tool", "bash", {"tool": "bash"}),
        ("shift", "1", {"extra": "shift=1"}),
        ("run", "run 1.jsonl", {"run": "run 1.jsonl"}),
    ):
        values = [one["value"] for one in columns(client)[name]["values"]]
        rows = np.flatnonzero(codes(client, name) == values.index(value)).tolist()
        ids = {one["id"] for one in client.get(f"/map/default/records?rows={','.join(map(str, rows))}").json()}
        found = client.get("/datasets/default/search", params={"q": "step", "mode": "words", "k": 100, **query}).json()
        assert ids == {one["id"] for one in found["hits"]}


def test_unknown_datasets_fields_and_snapshots_are_named(client: Client) -> None:
    for path, part in (
        ("/map/nothing/facets.json", "nothing"),
        ("/map/default/facets/x%2Fy.bin", "x/y"),
        ("/map/default/facets.json?snapshot=99", "Snapshot 99"),
        ("/map/default/fresh.bin?since=99", "Snapshot 99"),
        ("/datasets/nothing/runs", "nothing"),
        ("/datasets/default/runs/no/such/run", "no/such/run"),
        ("/datasets/default/runs?topic=77777", "77777"),
    ):
        answer = client.get(path)
        assert answer.status_code == 404, answer.text
        assert part in answer.json()["detail"]
    assert client.get("/datasets/default/runs?since=yesterday").status_code == 422
    assert client.get("/datasets/default/runs?extra=none").status_code == 422
    assert client.get("/datasets/default/runs?sort=colour").status_code == 422


def test_snapshots_are_listed_and_what_is_new_since_one(client: Client) -> None:
    listed = client.get("/map/default/snapshots.json").json()["snapshots"]
    assert [(one["snapshot"], one["rows"]) for one in listed] == [(1, 6), (2, 18)]
    fresh = np.frombuffer(client.get("/map/default/fresh.bin?since=1").content, np.uint8)
    assert (len(fresh), int(fresh.sum())) == (18, 12)


def test_runs_are_listed_with_their_totals(client: Client) -> None:
    body = client.get("/datasets/default/runs?sort=records&order=desc").json()
    assert [one["run"] for one in body["runs"]] == ["run 1.jsonl", "run 0.jsonl", "run 2.jsonl"]
    first = body["runs"][0]
    assert (first["records"], first["outcome"], first["tool"], first["model"]) == (9, "fail", "edit", "m-large")
    assert (first["start"], first["seconds"]) == ("2026-02-02T10:00:00.000000Z", 8.0)
    assert first["cost"] == 1.0  # every record repeats it
    assert first["errors"] == 3
    assert body["total"] == 3
    assert body["next_offset"] is None


def test_runs_are_sorted_filtered_and_paged(client: Client) -> None:
    def names(query: str) -> list[str]:
        return [one["run"][4] for one in client.get(f"/datasets/default/runs?{query}").json()["runs"]]

    assert names("sort=start&order=asc") == ["0", "1", "2"]
    assert names("sort=cost&order=desc") == ["2", "1", "0"]
    assert names("sort=errors&order=desc")[0] == "1"
    assert names("sort=duration&order=asc")[0] == "2"
    assert names("outcome=fail") == ["1"]
    assert names("q=RUN 2") == ["2"]
    assert names("sort=start&order=asc&limit=1&offset=1") == ["1"]
    filtered = client.get("/datasets/default/runs?tool=bash&sort=records").json()["runs"]
    assert [(one["run"][4], one["matching"]) for one in filtered] == [("0", 4), ("2", 2)]


def test_a_run_is_read_from_start_to_end_in_pages(client: Client) -> None:
    first = client.get("/datasets/default/runs/run%201.jsonl?limit=5").json()
    rest = client.get(f"/datasets/default/runs/run%201.jsonl?offset={first['next_offset']}").json()
    records = [*first["records"], *rest["records"]]
    assert [one["iteration"] for one in records] == list(range(9))
    assert (len(first["records"]), rest["next_offset"], first["records_total"]) == (5, None, 9)
    assert first["run"]["outcome"] == "fail"
    assert [one["failed"] for one in records] == [False, False, True] * 3
    rows = [one["row"] for one in records]
    shown = client.get(f"/map/default/records?rows={','.join(map(str, rows))}").json()
    assert [one["id"] for one in shown] == [one["id"] for one in records]


def test_a_run_that_waits_for_an_index_can_be_read(client: Client) -> None:
    found = client.get("/datasets/default/runs/run%203.jsonl").json()
    assert [one["row"] for one in found["records"]] == [None] * 4
    assert found["run"]["records"] == 4


def test_texts_of_a_run_are_cut(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home", load={"quiet_s": 0, "max_text_chars": 20_000_000})
    with Pipeline(settings) as pipeline:
        write(tmp_path / "logs", 0, 2, text="long " * 2_000_000)
        pipeline.load([str(tmp_path / "logs")])
    with served(create_app(settings)) as client:
        answer = client.get("/datasets/default/runs/run%200.jsonl")
        assert [(len(one["text"]), one["cut"]) for one in answer.json()["records"]] == [(MAX_TEXT_CHARS, True)] * 2
        assert len(answer.content) < 20_000
        assert client.get("/map/default/facets.json").status_code == 404
        assert client.get("/datasets/default/runs").status_code == 404
        assert client.get("/map/default/snapshots.json").json() == {"snapshots": []}


# --- the reader alone


def read(extras: list[dict[str, Any]], filename: list[int] | None = None) -> Any:
    rows = list(range(len(extras)))
    files = np.array(filename or [0] * len(extras), np.int32)
    raws = [orjson.dumps(one).decode() for one in extras]
    return read_facets([(rows, raws)], files, int(files.max()) + 1, np.full(len(extras), np.nan))


def test_values_are_spelled_as_the_filters_compare_them() -> None:
    facets = read([{"a": True}, {"a": 1.0}, {"a": 1}, {"a": "1"}, {"a": None}, {"a": [1]}, {}])
    found = next(one for one in facets.fields if one.name == "a")
    assert dict(zip(found.values, found.counts, strict=True)) == {"1": 2, "1.0": 1, "true": 1}
    assert found.missing == 3


def test_a_field_with_too_many_values_is_no_choice_and_fields_are_bounded() -> None:
    extras = [{"id": n, "kind": n % 3, f"own{n}": 1} for n in range(MAX_DISTINCT + 5)]
    facets = read(extras)
    names = [one.name for one in facets.fields]
    assert "id" not in names
    assert "kind" in names
    assert len(names) <= 44


def test_a_long_value_is_among_the_others() -> None:
    facets = read([{"tool": "x" * 2_000}, {"tool": "bash"}])
    assert facets.fields[0].codes.tolist() == [OTHERS, 0]


def test_a_run_has_the_sum_of_its_tokens_and_a_repeated_cost_once() -> None:
    facets = read([{"tokens": 5, "cost": 2.0}, {"tokens": 7, "cost": 2.0}, {"tokens": 1}, {}], filename=[0, 0, 1, 2])
    assert np.nan_to_num(facets.runs.numbers["tokens"], nan=-1).tolist() == [12, 1, -1]
    assert np.nan_to_num(facets.runs.numbers["cost"], nan=-1).tolist() == [2, -1, -1]
    assert facets.runs.most["tool"].tolist() == [MISSING] * 3


def test_rows_are_found_by_id() -> None:
    ids = [f"{n * 7919:032x}" for n in range(1_000)]
    index = row_index(np.array(ids, "S32"))
    asked = [ids[999], "f" * 32, ids[0], ids[3] + "0", "", "ä" * 32]
    assert index.rows_of(asked).tolist() == [999, -1, 0, -1, -1, -1]
    assert row_index(np.array([], "S32")).rows_of(ids[:2]).tolist() == [-1, -1]


@pytest.mark.slow
def test_a_million_records_are_read_in_seconds_and_bounded_memory() -> None:
    import tracemalloc

    n, batch = 1_000_000, 10_000
    extra = {
        "run": "r",
        "tool": "bash",
        "model": "m",
        "outcome": "pass",
        "tokens": 12,
        "cwd": "/p",
        "uuid": 0,
        "branch": "main",
    }
    tracemalloc.start()
    reader = FacetReader(n)
    begin = time.process_time()
    for start in range(0, n, batch):
        raws = [
            orjson.dumps({**extra, "uuid": at, "tool": f"t{at % 30}"}).decode() for at in range(start, start + batch)
        ]
        reader.add(range(start, start + batch), raws)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    facets = reader.result(np.arange(n, dtype=np.int32) // 50, n // 50, np.zeros(n))
    assert sum(facets.fields[0].counts) == n
    assert peak < 80e6
    assert time.process_time() - begin < 120
