"""SWE-agent trajectories: each step once, the history's opening once, nothing that is retold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given
from reading import check_golden, corpus, events, json_values, read_whole, reads, row_of, rules, strangers, taker

from components.sources.formats.contract import Head
from components.sources.formats.swe_agent import ROWS

DOCUMENT = row_of(ROWS, "document")
WORDS = (
    *("trajectory", "history", "action", "observation", "thought", "response", "info", "exit_status", "replay_config"),
    *("role", "content", "user", "assistant", "agent", "is_demo", "message_type", "model_stats", "thinking_blocks"),
)


def test_golden_trajectories_become_their_records() -> None:
    check_golden(ROWS, "swe_agent")


def test_the_exit_status_is_the_end_mark() -> None:
    assert DOCUMENT.end({"info": {"exit_status": "submitted"}}).mark
    assert not DOCUMENT.end({"info": {}}).mark


@given(json_values(*WORDS))
def test_no_json_makes_the_reader_raise(item: Any) -> None:
    DOCUMENT.recognises(Head(name="x", shape="document", document=item))
    DOCUMENT.end(item)
    reads(DOCUMENT, item)
    reads(DOCUMENT, {"trajectory": [item], "history": [item, item], "info": item, "replay_config": item})


@pytest.mark.corpus
def test_every_step_and_every_history_item_of_the_real_files_is_accounted_for() -> None:
    for path in corpus("agent-logs/swe_agent_traj"):
        found = read_whole("swe_agent", path)
        document = orjson.loads(path.read_bytes())
        texts = Counter(
            text
            for step in document["trajectory"]
            for text in (
                step["thought"] if step["thought"].strip() else step["response"],
                step["action"],
                step["observation"],
            )
            if text.strip()
        )
        made = events(found)
        assert Counter(e.text for e in made if e.iteration > 0) == texts
        opening = sum(e.iteration == 0 for e in made)
        assert opening + rules(found)["history retells the trajectory"] + rules(found)["demonstration"] == len(
            document["history"]
        )
        assert max(e.iteration for e in made) == len(document["trajectory"])


@pytest.mark.corpus
def test_no_other_real_file_is_taken_for_a_trajectory() -> None:
    for path in strangers("swe_agent_traj"):
        row = taker(ROWS, path)
        assert row is None or row.name != "swe_agent", path
