"""SWE-agent trajectories: each step once, the history's opening once, nothing that is retold."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from reading import corpus, events, read_whole, row_of, rules

from components.sources.formats.swe_agent import ROWS

DOCUMENT = row_of(ROWS, "document")


def test_the_exit_status_is_the_end_mark() -> None:
    assert DOCUMENT.end({"info": {"exit_status": "submitted"}}).mark
    assert not DOCUMENT.end({"info": {}}).mark


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
