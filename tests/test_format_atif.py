"""ATIF: every step once, copied context not at all, sub-agents as runs of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import agentpile
import atif
import orjson
import pytest
from reading import DATA, corpus, defects, events, read_whole, reads, row_of, rules

from components.sources.formats.atif import ROWS
from components.sources.formats.contract import Head, Options

LINES, DOCUMENT = row_of(ROWS, "lines"), row_of(ROWS, "document")


def test_copied_steps_come_along_when_all_history_is_asked_for() -> None:
    document = orjson.loads((DATA / "atif" / "trajectory.json").read_bytes())
    found = reads(DOCUMENT, document, Options(history="all"))
    assert "copied" in [e.text for e in events(found)]


def test_trajectories_on_lines_are_runs_of_their_own() -> None:
    document = orjson.loads((DATA / "atif" / "continued.json").read_bytes())
    assert LINES.recognises(Head(name="x.jsonl", shape="lines", lines=[document, document])).accepted
    assert {e.run for e in events(reads(LINES, [document, document]))} == {"s1", "s1~2"}


def test_sub_agents_nested_without_end_are_a_defect() -> None:
    document: dict[str, Any] = {"schema_version": "ATIF-v1.8", "steps": [{"source": "user", "message": "x"}]}
    for _ in range(60):
        document = {**document, "subagent_trajectories": [document]}
    assert [d.reason for d in defects(reads(DOCUMENT, document))] == ["sub-agents nested too deeply to be read"]


@pytest.mark.corpus
def test_every_part_of_every_step_of_the_real_files_is_accounted_for() -> None:
    """Held against the models of the `atif` package, which read the same files."""
    for path in corpus("agent-logs/atif"):
        found = read_whole("atif", path)
        trajectory = atif.Trajectory.model_validate(orjson.loads(path.read_bytes()))
        steps = [step for step in trajectory.steps if not step.is_copied_context]
        assert rules(found)["step copied from the file before"] == len(trajectory.steps) - len(steps)
        texts = Counter(text for step in steps for text in texts_of(step))
        assert Counter(e.text for e in events(found) if e.type != "tool_call") == texts
        assert sum(e.type == "tool_call" for e in events(found)) == sum(len(s.tool_calls or []) for s in steps)


def texts_of(step: Any) -> list[str]:
    results = step.observation.results if step.observation else []
    texts = [step.reasoning_content, step.message, *(result.content for result in results)]
    texts += [(ref.extra or {}).get("summary") for r in results for ref in r.subagent_trajectory_ref or []]
    return [text for text in texts if isinstance(text, str) and text.strip()]


@pytest.mark.corpus
def test_another_reader_counts_the_same_steps() -> None:
    """agentpile refuses version 1.5 and keeps copied steps; where it reads a file, its messages are ours."""
    n_read = 0
    for path in corpus("agent-logs/atif"):
        try:
            runs = list(agentpile.load(str(path)))
        except agentpile.AgentpileError:
            continue
        n_read += 1
        ours = {e.text for e in events(reads(DOCUMENT, orjson.loads(path.read_bytes()), Options(history="all")))}
        theirs = {s["message"] for run in runs for s in run.record["steps"] if isinstance(s["message"], str)}
        assert not {text for text in theirs if text.strip()} - ours, path.name
    assert n_read >= 8 or not corpus("agent-logs/atif")
