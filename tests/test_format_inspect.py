"""Inspect logs: every message of every sample once, with its attachments and its time."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from reading import DATA, as_json, check_positions, corpus, defects, events, reads, row_of, rules, taker

from components.sources.formats import FORMATS
from components.sources.formats.contract import Head, Options, Read
from components.sources.formats.inspect import ROWS

ARCHIVE, DOCUMENT = row_of(ROWS, "archive"), row_of(ROWS, "document")


def members(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return {name: orjson.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}


def reads_archive(found: dict[str, Any]) -> list[Read]:
    assert ARCHIVE.takes is not None
    assert ARCHIVE.read_member is not None
    taken = [name for name in found if ARCHIVE.takes(name)]
    return [read for name in taken for read in ARCHIVE.read_member(name, found[name], Options())]


def test_a_sample_reads_the_same_from_an_archive_and_from_a_document() -> None:
    log = orjson.loads((DATA / "inspect" / "log.json").read_bytes())
    samples = {f"samples/{s['id']}_epoch_1.json": s for s in log["samples"] if isinstance(s, dict)}
    archived = events(reads_archive({"_journal/start.json": {}, **samples}))
    whole = events(reads(DOCUMENT, log))
    assert [(e.run, e.iteration, e.type, e.text, e.timestamp) for e in archived] == [
        (e.run, e.iteration, e.type, e.text, e.timestamp) for e in whole
    ]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("_journal/start.json", "samples/1_epoch_1.json"), True),
        (("_journal/start.json",), True),
        (("header.json", "samples/a_epoch_2.json"), True),
        (("header.json", "other.txt"), False),
        (("word/document.xml",), False),
    ],
)
def test_an_archive_is_known_by_its_members(names: tuple[str, ...], taken: bool) -> None:
    assert ARCHIVE.recognises(Head(name="x.eval", shape="archive", members=names)).accepted is taken


def test_a_log_that_has_started_is_not_over() -> None:
    assert [ARCHIVE.end({"status": status}).mark for status in ("started", "success", "error", "cancelled")] == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.corpus
def test_every_message_of_the_real_logs_is_accounted_for() -> None:
    for path in corpus("agent-logs/inspect"):
        if path.suffix == ".eval":
            whole = members(path)
            assert ARCHIVE.recognises(Head(name=path.name, shape="archive", members=tuple(whole))).accepted
            samples = [s for name, s in whole.items() if name.startswith("samples/")]
            found = reads_archive(whole)
        else:
            row = taker(FORMATS, path)
            assert row is not None, path.name
            assert row.name == "inspect", path.name
            document = orjson.loads(path.read_bytes())
            samples, found = document["samples"], reads(DOCUMENT, document)
        check_positions(found)
        assert not defects(found)
        assert len({e.run for e in events(found)}) == len(samples), path.name
        account(samples, found)


def account(samples: list[dict[str, Any]], found: list[Read]) -> None:
    messages = [m for s in samples for m in s["messages"]]
    made = Counter(e.type for e in events(found))
    texts = [text_of_message(m) for m in messages]
    assert rules(found)["empty message"] == sum(
        not t.strip() and not m.get("tool_calls") and not m.get("error") for t, m in zip(texts, messages, strict=True)
    )
    assert made["tool_call"] == sum(len(m.get("tool_calls") or []) for m in messages)
    for role, kind in (("system", "system"), ("user", "user"), ("assistant", "assistant")):
        said = sum(m["role"] == role and bool(t.strip()) for t, m in zip(texts, messages, strict=True))
        assert made[kind] == said, role
    assert made["error"] == sum(bool(m.get("error")) for m in messages) + sum(bool(s.get("error")) for s in samples)
    assert rules(found)["transcript event beside the messages"] == sum(
        len(s.get("events") or s.get("transcript", {}).get("events") or []) for s in samples
    )


def text_of_message(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@pytest.mark.corpus
def test_a_running_log_gives_the_samples_it_has() -> None:
    running = {p.name: members(p) for p in corpus("agent-logs/partial") if p.name == "inspect__no_header.eval"}
    for whole in running.values():
        assert ARCHIVE.recognises(Head(name="x.eval", shape="archive", members=tuple(whole))).accepted
        assert len(events(reads_archive(whole))) == 30
        done = next(p for p in corpus("agent-logs/inspect") if "popularity" in p.name)
        later = as_json(reads_archive(members(done)))
        assert all(record in later for record in as_json(reads_archive(whole)))
