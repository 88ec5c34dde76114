"""What a load leaves out: each item by a named rule that the report counts, and a warning where too little came of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from shelf import jsonl, loaded
from test_cli import Shell, environment, report, shell  # noqa: F401 - fixtures

from components.contracts import LoadReport, RecordCounts, SourceCounts
from components.pipeline import Pipeline
from components.settings import LoadSettings, Settings
from components.sources.read_totals import MOST_RULES, OTHER_RULES, ReadTotals, bounded, shortfall

CLAUDE = [
    {"type": "user", "uuid": "u1", "sessionId": "s1", "message": {"role": "user", "content": "Where is the key?"}},
    {"type": "progress", "uuid": "u2", "sessionId": "s1"},
    {"type": "progress", "uuid": "u3", "sessionId": "s1"},
]
PARTS = [  # the envelope of one tool, the messages of another
    {"type": "user", "uuid": "u1", "sessionId": "s1", "message": {"role": "user", "pieces": [{"text": "Hello"}]}},
    {"type": "assistant", "uuid": "u2", "sessionId": "s1", "message": {"role": "model", "pieces": [{"text": "Hi"}]}},
]
SESSION = {"sessionId": "s1", "projectHash": "ab", "startTime": "2026-01-01T00:00:00Z"}


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    settings = Settings(home=tmp_path / "home", model="hash://32", load=LoadSettings(quiet_s=0))
    with Pipeline(settings) as opened:
        yield opened


def test_the_report_counts_what_each_rule_left_out(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(*CLAUDE))
    (tmp_path / "b.jsonl").write_bytes(jsonl(*CLAUDE[:2]))
    report = pipeline.load([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert (report.records.new, report.skipped_by_rule) == (2, {"progress line": 3})
    assert pipeline.load().skipped_by_rule == {}


def test_a_recognised_source_without_a_record_is_reported(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "parts.jsonl").write_bytes(jsonl(*PARTS))
    report = pipeline.load([tmp_path / "parts.jsonl"])
    assert (report.records.new, report.sources.loaded, report.skipped_by_rule) == (0, 1, {"empty text": 2})
    (problem,) = report.problems
    assert problem.source == "parts.jsonl"
    assert "claude_code, which found no record in its" in problem.reason
    assert '2 by "empty text"' in problem.reason


def test_a_source_whose_items_are_mostly_of_unknown_kinds_is_reported(pipeline: Pipeline, tmp_path: Path) -> None:
    odd = [{"type": f"news-{n}", "uuid": f"x{n}", "sessionId": "s1", "body": "much to read"} for n in range(4)]
    (tmp_path / "odd.jsonl").write_bytes(jsonl(CLAUDE[0], *odd))
    (problem,) = pipeline.load([tmp_path / "odd.jsonl"]).problems
    assert "does not know 4 of its items and made only 1 records" in problem.reason


def test_one_unknown_item_that_holds_most_of_the_bytes_is_reported(pipeline: Pipeline, tmp_path: Path) -> None:
    update = {"$append": {"messages": [{"type": "user", "content": "words " * 400}]}}
    hello = {"id": "u1", "type": "user", "timestamp": "2026-01-01T00:00:01Z", "content": "Hello"}
    (tmp_path / "s.jsonl").write_bytes(jsonl(SESSION, hello, update))
    report = pipeline.load([tmp_path / "s.jsonl"])
    assert report.skipped_by_rule["update that the format does not know"] == 1
    assert "does not know 1 of its items" in report.problems[0].reason


def test_a_growing_log_is_not_suspected_for_a_stretch_of_bookkeeping(pipeline: Pipeline, tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(jsonl(CLAUDE[0]))
    pipeline.load([log])
    log.write_bytes(jsonl(*CLAUDE))
    report = pipeline.load()
    assert (report.sources.resumed, report.skipped_by_rule, report.problems) == (1, {"progress line": 2}, [])


def given_(**counts: Any) -> ReadTotals:
    return ReadTotals(**({"format": "chat", "size_bytes": 1_000} | counts))


@pytest.mark.parametrize(
    ("seen", "from_start", "is_suspicious"),
    [
        (given_(n_records=1), True, False),
        (given_(n_records=0), True, True),
        (given_(n_records=0), False, False),
        (given_(n_records=0, size_bytes=0), True, False),
        (given_(n_records=2, n_unknown=2), True, False),
        (given_(n_records=2, n_unknown=3), True, True),
        (given_(n_records=2, n_unknown=3), False, True),
        (given_(n_records=3, n_unknown=3), True, False),
        (given_(n_records=9, n_unknown=1, unknown_bytes=500), True, False),
        (given_(n_records=9, n_unknown=1, unknown_bytes=501), True, True),
        (given_(n_records=9, n_unknown=1, unknown_bytes=501), False, False),
    ],
)
def test_a_source_is_suspected_exactly_beyond_the_thresholds(
    seen: ReadTotals, *, from_start: bool, is_suspicious: bool
) -> None:
    assert bool(shortfall(seen, from_start=from_start)) is is_suspicious


def test_a_report_names_the_most_frequent_rules_and_sums_up_the_rest() -> None:
    kept = bounded({f"rule {n}": n + 1 for n in range(MOST_RULES + 3)})
    assert len(kept) == MOST_RULES + 1
    assert (kept[OTHER_RULES], kept[f"rule {MOST_RULES + 2}"]) == (1 + 2 + 3, MOST_RULES + 3)


def test_an_item_of_which_a_format_makes_nothing_is_counted(tmp_path: Path) -> None:
    said = {"messages": [{"role": "user", "content": "Hello"}]}
    (tmp_path / "runs.jsonl").write_bytes(jsonl(said, {"messages": []}))
    shelf = loaded(tmp_path / "runs.jsonl")
    assert (shelf.texts, shelf.skipped) == (["Hello"], {"item without anything to read": 1})


def test_members_of_an_archive_that_hold_no_run_are_counted_once(tmp_path: Path) -> None:
    import zipfile

    sample = {"id": "a", "epoch": 1, "messages": [{"role": "user", "content": "Hello"}]}
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("_journal/start.json", "{}")
        archive.writestr("samples/a_epoch_1.json", orjson.dumps(sample))
        archive.writestr("header.json", orjson.dumps({"status": "success"}))
    shelf = loaded(tmp_path / "log.eval")
    assert (shelf.texts, shelf.skipped) == (["Hello"], {"archive member that holds no run": 2})


def test_the_shell_shows_what_was_left_out_and_what_gave_nothing(shell: Shell, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl").write_bytes(jsonl(*CLAUDE))
    (tmp_path / "logs" / "parts.jsonl").write_bytes(jsonl(*PARTS))
    explained = shell("load", tmp_path / "logs", "--explain")
    assert 'Skipped by rule: 2 by "progress line".' in explained.stdout
    assert "gives 0 records" in explained.stdout
    done = shell("load", tmp_path / "logs")
    assert done.returncode == 0
    assert 'Skipped by rule: 2 by "empty text", 2 by "progress line".' in done.stdout
    assert "parts.jsonl: It was read as claude_code, which found no record" in done.stdout
    again = report(shell("load", tmp_path / "logs", "--dataset", "other", "--json"))
    assert again["skipped_by_rule"] == {"empty text": 2, "progress line": 2}
    assert [problem["source"] for problem in again["problems"]] == ["parts.jsonl"]


def test_the_artifact_shows_what_was_left_out() -> None:
    from flows.artifacts import load_rows, total_load

    report = LoadReport(
        dataset="runs",
        sources=SourceCounts(),
        records=RecordCounts(),
        defects=0,
        bytes=0,
        seconds=0.0,
        skipped_by_rule={"progress line": 1_200},
    )
    assert {"Metric": "left out: progress line", "Value": "1,200"} in load_rows(report)
    assert total_load([report, report]).skipped_by_rule == {"progress line": 2_400}


def test_unknown_items_are_counted_whatever_the_size_of_a_batch(tmp_path: Path) -> None:
    odd = [{"type": f"news-{n}", "sessionId": "s1"} for n in range(10)]
    log = tmp_path / "odd.jsonl"
    log.write_bytes(jsonl(CLAUDE[0], *odd))
    counts = set()
    for records in (1, 3, 1_000):
        from components.sources.files import FileSource

        source = FileSource(LoadSettings(quiet_s=0, batch_records=records))
        (locator,) = source.discover([str(log)]).locators
        seen = source.totals(locator)
        counts.add((seen.n_records, seen.n_unknown, seen.unknown_bytes, seen.size_bytes))
    assert len(counts) == 1
    assert counts.pop()[:2] == (1, 10)
