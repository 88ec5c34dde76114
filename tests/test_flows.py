"""The flows under Prefect's own harness, on real files, a real database and the hash model."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNATLAS_MODEL", "hash://384")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def write_log(path, n, start=0):
    lines = [
        json.dumps({"role": "user", "content": f"step {i}: what happened in run {i % 7}?"})
        for i in range(start, start + n)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(line + "\n" for line in lines))


def test_a_load_and_an_index_put_every_record_on_the_map(home, tmp_path):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 60)
    loaded = load(sources=[str(tmp_path / "logs")])
    indexed = index()
    assert loaded.records.new == loaded.records.unindexed == 60
    assert (indexed.records, indexed.rows, indexed.step) == (60, 60, "fit")
    again = load()
    assert again.records.new == 0
