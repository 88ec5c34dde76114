"""`runatlas ingest`: a corpus by years to a map and to vector files; again, further, after a kill, and with wrong options."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest
from served import served
from typer.testing import CliRunner

from api.app import create_app
from api.cli.ingest import spread
from api.cli.main import app
from components.corpus import IngestReport, ingest_corpus
from components.embedders.bert import open_default
from components.embedders.hashing import hash_vector
from components.embedders.model_uri import open_embedder
from components.errors import BadSetting, ModelChanged, NotFound, SourceError
from components.ingest.config import IngestConfig, read_config
from components.ingest.merge import merge
from components.ingest.years import Years, label_of
from components.pipeline import Pipeline
from components.settings import EmbedSettings, Settings, load_settings
from components.store.catalog import Catalog
from sciembed import Config
from sciembed import Pipeline as SciPipeline

root = Path(__file__).parents[1]


def paper(year: int, n: int, **more: Any) -> dict[str, Any]:
    return {
        "bibcode": f"{year}Made...{n:04}X",
        "title": [f"Paper {n} of {year}"],
        "abstract": f"In {year} we counted {n} things.",
        "author": ["Roe, A.", "Doe, B."],
        **more,
    }


def write_year(folder: Path, year: int, n: int, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{year}.jsonl"
    path.write_text("".join(json.dumps(paper(year, i, **more)) + "\n" for i in range(n)))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", model="hash://32", load={"quiet_s": 0})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for year in (2019, 2020, 2021):
        write_year(tmp_path / "papers", year, 1)  # so few that no map is fitted, which takes longer than all the rest
    (tmp_path / "papers" / "README.md").write_text("about")
    return tmp_path / "papers"


def run(settings: Settings, **options: Any) -> IngestReport:
    with Pipeline(settings) as pipeline:
        return ingest_corpus(pipeline, IngestConfig.of(options))


def rows_of(out: Path, year: str, dim: int = 32) -> dict[str, np.ndarray]:
    (vectors,) = out.glob(f"embeddings_*_{year}.f16")
    keys = (out / f"bibcodes_{year}.txt").read_text().splitlines()
    return dict(zip(keys, np.fromfile(vectors, "<f2").reshape(-1, dim), strict=True))


def test_each_year_has_its_vectors_keys_and_manifest_and_the_catalog_finds_every_key(
    settings: Settings, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = run(
        settings, sources=str(corpus), years="2019:2020", out=out, prefix="Read:", delimiter=" | ", suffix="End"
    )
    assert (report.left_out, report.missing_years) == (["README.md"], [])
    assert [(one.year, one.rows, one.is_written) for one in report.out] == [("2019", 1, True), ("2020", 1, True)]
    rows = rows_of(out, "2020")
    key = "2020Made...0000X"
    text = "Read: | Paper 0 of 2020 | In 2020 we counted 0 things. | End"
    assert list(rows) == [key]
    assert np.array_equal(rows[key], hash_vector(text, 32).astype("<f2"))
    manifest = json.loads((out / "manifest_2020.json").read_text())
    assert [manifest[name] for name in ("rows", "dim", "model", "cursor")] == [1, 32, "hash://32", key]
    found = Catalog(out).find(key)
    assert found is not None
    with Pipeline(settings) as pipeline:
        record = pipeline.record(key)
        assert [check for check in pipeline.verify() if not check.ok] == []
    assert (found.year, found.row, found.metadata_hash) == ("2020", 0, record["metadata_hash"])
    assert found.text_hash == record["vector"]["text_hash"]


def test_a_second_run_embeds_nothing_and_a_further_year_only_its_own(
    settings: Settings, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), years="2019,2020", out=out)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("[bem]*")}
    again = run(settings, sources=str(corpus), years="2019,2020", out=out)
    assert again.load is not None
    assert again.index is not None
    assert (again.load.records.new, again.index.embedded, any(one.is_written for one in again.out)) == (0, 0, False)
    further = run(settings, sources=str(corpus), years="2019:2031", out=out)
    assert further.index is not None
    assert (further.index.embedded, [one.year for one in further.out if one.is_written]) == (1, ["2021"])
    assert further.missing_years == list(range(2022, 2032))
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


def test_a_paper_that_comes_back_with_other_words_moves_to_its_new_year(
    settings: Settings, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), years="2019", out=out)
    path = write_year(corpus, 2020, 1)
    path.write_text(path.read_text() + json.dumps(paper(2019, 0, abstract="Corrected.")) + "\n")
    report = run(settings, sources=str(corpus), years="2019:2020", out=out)
    assert report.index is not None
    assert report.index.embedded == 2
    key = "2019Made...0000X"
    assert not (out / "bibcodes_2019.txt").exists()  # it holds nothing any more
    assert np.array_equal(rows_of(out, "2020")[key], hash_vector("Paper 0 of 2019\n\nCorrected.", 32).astype("<f2"))
    found = Catalog(out).find(key)
    assert found is not None
    assert (found.year, found.row) == ("2020", 1)
    with Pipeline(settings) as pipeline:
        assert [one["version"] for one in pipeline.record(key)["versions"]] == [2, 1]


def test_other_fields_give_other_vectors_under_the_same_keys(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), years="2021", out=out)
    before = rows_of(out, "2021")
    report = run(settings, sources=str(corpus), years="2021", out=out, fields=["title", "author"])
    assert report.load is not None
    assert (report.load.records.new, report.load.records.superseded) == (1, 1)
    after = rows_of(out, "2021")
    assert list(after) == list(before)
    text = "Paper 0 of 2021\n\nRoe, A.; Doe, B."
    assert np.array_equal(after["2021Made...0000X"], hash_vector(text, 32).astype("<f2"))
    kept = run(settings, sources=str(corpus), years="2021", out=out)  # options that are left out stay as they were
    assert kept.load is not None
    assert kept.load.records.new == 0


@pytest.mark.slow
def test_another_prompt_or_model_needs_a_recompute_and_changes_nothing_before(settings: Settings, corpus: Path) -> None:
    run(settings, sources=str(corpus), years="2021")
    for changed in ({"prefix": "Read:"}, {"model": "hash://16"}):
        with pytest.raises(ModelChanged, match="--recompute"):
            run(settings, sources=str(corpus), years="2021", **changed)
    again = run(settings, sources=str(corpus), years="2021")
    assert again.index is not None
    assert again.index.embedded == 0
    rebuilt = run(settings, sources=str(corpus), years="2021", model="hash://16", recompute=True)
    assert rebuilt.index is not None
    assert (rebuilt.index.embedded, rebuilt.index.step) == (1, "refit")


def test_prepared_texts_are_written_without_embedding_or_storing_anything(
    settings: Settings, corpus: Path, tmp_path: Path
) -> None:
    report = run(
        settings, sources=str(corpus), years=[2021], prep=tmp_path / "prep.parquet", lowercase=True, truncate=24
    )
    rows = pq.read_table(tmp_path / "prep.parquet").to_pylist()
    assert (report.prepared, report.load, report.index) == (1, None, None)
    assert rows[0]["text"] == "paper 0 of 2021\n\nin 2021"
    assert (rows[0]["key"], rows[0]["year"]) == ("2021Made...0000X", "2021")
    with Pipeline(settings) as pipeline:
        assert pipeline.status() == {}


@pytest.mark.slow
def test_merged_years_are_the_rows_of_each_one_below_the_other(
    settings: Settings, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), out=out)
    merged = merge(out)
    assert (merged.name, merged.rows, merged.years) == ("2019-2021", 3, ["2019", "2020", "2021"])
    rows = rows_of(out, "2019-2021")
    for year in merged.years:
        for key, vector in rows_of(out, year).items():
            assert np.array_equal(rows[key], vector)
    manifest = json.loads(merged.manifest.read_text())
    assert [one["first_row"] for one in manifest["merged"]] == [0, 1, 2]
    assert merge(out, Years.parsed("2020:2021"), "late").rows == 2
    run(settings, sources=str(corpus), out=out)  # leaves them
    assert merged.manifest.exists()


@pytest.mark.slow
def test_years_that_do_not_fit_together_are_not_merged(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), out=out)
    manifest = out / "manifest_2020.json"
    manifest.write_text(manifest.read_text().replace('"dim": 32', '"dim": 16'))
    with pytest.raises(BadSetting, match="2019 and 2020 don't fit together: dim is 32 and 16"):
        merge(out)
    with pytest.raises(NotFound, match="no vector files of the years 1999"):
        merge(out, Years.parsed(1999))
    (out / "bibcodes_2021.txt").write_text("short")
    with pytest.raises(BadSetting, match="has 5 bytes where its manifest says"):
        merge(out, Years.parsed("2019,2021"))
    with pytest.raises(BadSetting, match="only the year 2019"):
        merge(out, Years.parsed(2019))


@pytest.mark.slow
def test_files_that_were_removed_or_damaged_are_written_again(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(settings, sources=str(corpus), out=out)
    (out / "bibcodes_2019.txt").unlink()
    (out / "manifest_2020.json").write_text("{")
    again = run(settings, sources=str(corpus), out=out)
    assert [one.year for one in again.out if one.is_written] == ["2019", "2020"]
    assert len(rows_of(out, "2019")) == 1


@pytest.mark.slow
def test_a_folder_with_vectors_of_another_dataset_is_refused(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    run(settings, sources=str(corpus), years="2019", out=tmp_path / "out")
    with pytest.raises(BadSetting, match="holds vectors of dataset 'default'"):
        run(settings, sources=str(corpus), years="2019", out=tmp_path / "out", dataset="other")


def test_a_dataset_of_other_records_is_not_made_a_corpus(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"role": "user", "content": "hello"}\n')
    with Pipeline(settings) as pipeline:
        pipeline.load([tmp_path / "log.jsonl"])
    with pytest.raises(BadSetting, match="holds records that were not ingested"):
        run(settings, sources=str(corpus))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"years": "2031"}, "there are 2019 to 2021"),
        ({"sources": "nowhere"}, "no such file or folder"),
        ({"sources": []}, "No source is given"),
    ],
)
def test_an_ingest_without_files_says_what_is_there(
    settings: Settings, corpus: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises((SourceError, BadSetting), match=reason):
        run(settings, **{"sources": str(corpus), **options})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"years": "2031:2020"}, "ends before it begins: write 2020:2031"),
        ({"years": "20150"}, "is no year and no range"),
        ({"feilds": ["title"]}, "did you mean 'fields'"),
        ({"truncate": 0}, "greater than or equal to 1"),
        ({"fields": []}, "at least 1 item"),
    ],
)
def test_an_option_that_can_not_be_is_named_with_the_remedy(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadSetting, match=reason):
        IngestConfig.of(options)


def test_years_and_files_that_are_named_after_none() -> None:
    assert [year in Years.parsed("2015:2017,2020") for year in (2014, 2015, 2017, 2018, 2020)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert [label_of(name) for name in ("2015.json.gz", "a/arxiv cs.jsonl", "plain")] == ["2015", "arxiv-cs", "plain"]


def test_an_open_name_of_the_hub_is_a_model(tmp_path: Path) -> None:
    default = open_embedder("hf://sentence-transformers/all-MiniLM-L6-v2", EmbedSettings(), tmp_path)
    assert default.identity == open_default(EmbedSettings(), tmp_path).identity
    assert open_embedder("hf://hash", EmbedSettings(), tmp_path).name == "hash"  # type: ignore[attr-defined]
    for wrong in ("hf://", "hf://a/b/c"):
        with pytest.raises(BadSetting, match="hf://OWNER/NAME"):
            open_embedder(wrong, EmbedSettings(), tmp_path)


# --- the shell, a file of options, Python, HTTP


def shell(home: Path, *args: str) -> Any:
    environment = {"RUNATLAS_HOME": str(home), "RUNATLAS_LOAD__QUIET_S": "0"}
    return CliRunner().invoke(app, ["ingest", *args], env=environment)


def test_the_line_of_the_documentation_runs_as_it_is_typed(corpus: Path, tmp_path: Path) -> None:
    line = [
        *("--input", str(corpus), "--years", "2019:2021", "--fields", "title", "abstract", "--batch", "512"),
        *("--prefix", "You are an astrophysicist.", "--model", "hash://32", "--out", str(tmp_path / "out"), "--json"),
    ]
    done = shell(tmp_path / "home", *line)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["index"]["embedded"], len(report["out"])) == (3, 3)
    merged = shell(tmp_path / "home", "merge", "--out", str(tmp_path / "out"), "--json")
    assert json.loads(merged.stdout)["rows"] == 3


def test_options_come_from_yaml_or_json_and_the_command_line_wins(corpus: Path, tmp_path: Path) -> None:
    options = {"input_dir": str(corpus), "years": [2019], "fields": ["title"], "model": "hash://16", "lowercase": True}
    (tmp_path / "options.json").write_text(json.dumps(options))
    (tmp_path / "options.yaml").write_text("fields: [title]\ntruncate: 3_000\nyears: 2019:2020\n")
    prep = tmp_path / "prep.parquet"
    done = shell(tmp_path / "home", "--config", str(tmp_path / "options.json"), "--years", "2020", "--prep", str(prep))
    assert done.exit_code == 0, done.output
    assert pq.read_table(prep)["text"][0].as_py() == "paper 0 of 2020"
    assert read_config(tmp_path / "options.yaml")["truncate"] == 3_000
    for content, reason in (("- a\n", "holds no options"), ("a: [", "neither YAML nor JSON")):
        (tmp_path / "wrong.yaml").write_text(content)
        assert reason in shell(tmp_path / "home", "--config", str(tmp_path / "wrong.yaml")).output.replace("\n", " ")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--years", "2031"], 1),
        (["--years", "x"], 2),
        (["--fields", "title", "./papers"], 2),
        (["--field-prefix", "x"], 2),
    ],
)
def test_wrong_usage_and_missing_files_have_codes_of_their_own(
    corpus: Path, tmp_path: Path, args: Sequence[str], code: int
) -> None:
    assert shell(tmp_path / "home", str(corpus), *args).exit_code == code


def test_several_values_in_a_row_belong_to_one_option() -> None:
    assert spread(["a", "--fields", "t", "u", "--id", "k"]) == ["a", "--fields", "t", "--fields", "u", "--id", "k"]
    assert spread(["--fields"]) == ["--fields"]  # which the parser refuses


@pytest.mark.slow
def test_the_names_of_the_document_work_from_python(settings: Settings, corpus: Path, tmp_path: Path) -> None:
    config = Config(
        input_dir=str(corpus),
        years=[2021],
        fields=["title", "abstract"],
        model="hash://32",
        prefix="Summarize:",
        out=tmp_path / "out",
    )
    report = SciPipeline(config, settings).run()
    text = "Summarize:\n\nPaper 0 of 2021\n\nIn 2021 we counted 0 things."
    assert report.out[0].rows == 1
    assert np.array_equal(rows_of(tmp_path / "out", "2021")["2021Made...0000X"], hash_vector(text, 32).astype("<f2"))


odd_keys = ["../../etc/passwd", "1999ApJ...5%2F..1C", "astro-ph/9901004?v=1#top"]


def test_every_key_is_found_over_http_and_no_other_record_answers_for_it(settings: Settings, tmp_path: Path) -> None:
    documents = [{"id": key, "title": f"T{n}"} for n, key in enumerate(odd_keys)]
    path = tmp_path / "1999.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    with Pipeline(settings) as pipeline:
        ingest_corpus(pipeline, IngestConfig.of({"sources": str(path), "id": "id"}))
    with served(create_app(settings)) as client:
        for one in documents:
            answer = client.get(f"/datasets/default/records/{quote(one['id'], safe='')}")
            assert (answer.status_code, answer.json()["key"], answer.json()["text"]) == (200, one["id"], one["title"])
            assert answer.json()["vector"]["model"].startswith("hash dim=32")
        assert client.get("/datasets/default/records/9901004").status_code == 404


# --- killed at any row

killed = """
import os, signal, sys
from components.corpus import ingest_corpus
from components.ingest.config import IngestConfig
from components.pipeline import Pipeline
from components.settings import load_settings
from components.store import keyed
left, write = int(sys.argv[3]), keyed.write_keyed
def write_or_die(*args, **named):
    global left
    left -= 1
    kept = write(*args, **named)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept
import components.store.record_writer as record_writer
record_writer.write_keyed = write_or_die
settings = load_settings(home=sys.argv[1], model="hash://32", load={"quiet_s": 0, "batch_records": 3})
with Pipeline(settings) as pipeline:
    ingest_corpus(pipeline, IngestConfig.of({"sources": sys.argv[2]}))
"""


@pytest.mark.slow
def test_an_ingest_that_was_killed_goes_on_at_the_first_row_that_is_missing(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    write_year(folder, 2020, 7)
    (folder / "2021.json.gz").write_bytes(gzip.compress(json.dumps([paper(2021, n) for n in range(8)]).encode()))
    for at in (2, 2, 2):  # each run gets one batch further
        args = [sys.executable, "-c", killed, str(settings.home), str(folder), str(at)]
        assert subprocess.run(args, cwd=root, check=False).returncode == -signal.SIGKILL
    report = run(settings, sources=str(folder), out=tmp_path / "out")
    assert report.load is not None
    assert report.index is not None
    assert report.load.records.new == 15 - 7
    assert (report.load.records.existing, report.index.embedded) == (0, 15)
    assert [len(rows_of(tmp_path / "out", year)) for year in ("2020", "2021")] == [7, 8]


@pytest.mark.slow
def test_an_ingest_that_is_killed_at_random_times_ends_as_one_that_never_was(
    settings: Settings, tmp_path: Path
) -> None:
    folder, out = tmp_path / "papers", tmp_path / "out"
    for year in (2019, 2020):
        write_year(folder, year, 800)
    args = [sys.executable, "-m", "api.cli.main", "ingest", str(folder), "--model", "hash://32", "--out", str(out)]
    environment = {**os.environ, "RUNATLAS_HOME": str(settings.home), "RUNATLAS_LOAD__BATCH_RECORDS": "100"}
    for after_s in (1.5, 2.0, 2.5, 4.0):
        child = subprocess.Popen(args, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after_s)
        child.kill()
        child.wait()
    subprocess.run(args, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    run(load_settings(home=tmp_path / "other", model="hash://32"), sources=str(folder), out=tmp_path / "expected")
    for name in (
        "embeddings_hash-32_2019.f16",
        "bibcodes_2019.txt",
        "embeddings_hash-32_2020.f16",
        "bibcodes_2020.txt",
    ):
        assert (out / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
    again = run(settings, sources=str(folder), model="hash://32", out=out)
    assert again.index is not None
    assert (again.index.embedded, any(one.is_written for one in again.out)) == (0, False)
