"""Chosen records as files: complete, in order, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from api_world import settings_at, write_run
from fastapi import FastAPI
from fastapi.responses import FileResponse
from httpx import Client
from served import served

from api.app import create_app
from api.responses import ABANDONED_S, attachment, parquet_file
from components.pipeline import Pipeline

formula = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("export")
    settings = settings_at(root / "home")
    write_run(root / "logs", "a", 12)
    line: dict[str, Any] = {
        "type": "user",
        "timestamp": "2026-01-01T00:00:00Z",
        "text": formula,
        "tool": "@SUM(1)",
        "tokens": 7,
        "score": 0.5,
        "nested": {"a": [1]},
        "iteration": 0,
    }
    (root / "logs" / "b.jsonl").write_text(json.dumps(line) + "\n")
    with Pipeline(settings) as pipeline:
        report = pipeline.load([str(root / "logs")])
        assert report.records.new == 13, report
        pipeline.index()
    with served(create_app(settings)) as opened:
        yield opened


def export(client: Client, format: str, **chosen: Any) -> Any:
    answer = client.post("/datasets/default/export", json={"format": format, **chosen})
    assert answer.status_code == 200, answer.text
    return answer


def test_the_four_formats_hold_the_same_records(client: Client, tmp_path: Path) -> None:
    chosen = {"rows": list(range(13))}
    ids = export(client, "ids", **chosen).text.split()
    assert ids == [one["id"] for one in client.get(f"/map/default/records?rows={','.join(map(str, range(13)))}").json()]
    rows = list(csv.DictReader(io.StringIO(export(client, "csv", **chosen).text)))
    lines = [json.loads(line) for line in export(client, "jsonl", **chosen).text.splitlines()]
    (tmp_path / "x.parquet").write_bytes(export(client, "parquet", **chosen).content)
    table = pq.read_table(tmp_path / "x.parquet").to_pylist()
    for found in (rows, lines, table):
        assert [one["id"] for one in found] == ids
    assert [one["text"] for one in lines] == [one["text"] for one in table]
    special = next(one for one in lines if one["text"] == formula)
    assert special["extra"]["nested"] == {"a": [1]}
    assert next(one["tokens"] for one in table if one["text"] == formula) == 7.0


def test_formulas_are_guarded_in_csv_alone(client: Client) -> None:
    chosen = {"filters": {"run": "b.jsonl"}}
    answer = export(client, "csv", **chosen)
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["text"] == "'" + formula
    assert row["tool"] == "'@SUM(1)"
    assert answer.headers["content-disposition"] == 'attachment; filename="default.csv"'
    assert json.loads(export(client, "jsonl", **chosen).text)["text"] == formula


def test_tags_are_exported_and_choose(client: Client) -> None:
    client.post("/datasets/default/tags", json={"tag": "=1+1", "filters": {"run": "b.jsonl"}})
    (row,) = csv.DictReader(io.StringIO(export(client, "csv", filters={"tag": "=1+1"}).text))
    assert row["tags"] == "'=1+1"


def test_a_choice_of_nothing_is_an_empty_file_and_an_unknown_one_a_problem(client: Client) -> None:
    assert export(client, "ids", filters={"type": "none"}).text == ""
    assert export(client, "csv", ids=[]).text.startswith("id,timestamp,")
    for status, body in (
        (404, {"ids": ["f" * 32]}),
        (422, {}),
        (422, {"format": "xlsx", "ids": []}),
        (422, {"filters": {"since": "x"}}),
        (404, {"filters": {"topic": 99_999}}),
    ):
        answer = client.post("/datasets/default/export", json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.post("/datasets/nothing/export", json={"ids": []}).status_code == 404


def test_the_maps_search_takes_filters_and_both_ways(client: Client) -> None:
    def rows(**query: Any) -> list[int]:
        answer = client.get("/map/default/search", params=query)
        assert answer.status_code == 200, answer.text
        found: list[int] = answer.json()["rows"]
        return found

    errors = rows(q="step", type="error")
    assert len(errors) == 3
    assert set(rows(q="step", by="both", type="error")) == set(errors)
    assert set(rows(q="step", by="meaning", run="b.jsonl")) <= {12}


def test_a_file_for_a_download_goes_with_it_and_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name, age_s in ((".export-left", 2 * ABANDONED_S), (".export-being-sent", 60)):
        (folder / name).write_text(name)
        then = time.time() - age_s
        os.utime(folder / name, (then, then))
    app = FastAPI()

    @app.get("/{name}")
    def file(name: str) -> FileResponse:
        def write(path: Path) -> None:
            path.write_text(name)
            if name == "damaged":
                raise ValueError(name)

        return parquet_file(write, folder, attachment(f'"{name}" ä.parquet'))

    with served(app) as client:
        answer = client.get("/whole")
        assert client.get("/damaged").status_code == 500
    assert answer.text == "whole"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"_whole_ _.parquet\"; filename*=UTF-8''%22whole%22%20%C3%A4.parquet"
    )
    assert [one.name for one in folder.iterdir()] == [".export-being-sent"]
