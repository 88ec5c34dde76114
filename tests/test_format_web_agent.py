from __future__ import annotations

from itertools import groupby

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file, rules

from components.sources.formats.contract import Options
from components.sources.formats.web_agent import ROWS


@pytest.mark.corpus
def test_every_message_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/web_agent"):
        found = reads_file(ROWS, path)
        steps = orjson.loads(path.read_bytes())
        runs = [list(run) for _, run in groupby(steps, key=lambda step: step["id"])]
        assert not defects(found)
        assert len({event.run for event in events(found)}) == len(runs)
        assert rules(found)["the prompt repeats the messages"] == len(steps)
        assert rules(found)["repeated message"] == len(steps) - len(runs)  # the system message, in all steps but one
        pages = [step["messages"][1]["content"] for step in steps]
        assert [e.text for e in events(found) if e.type in ("user", "tool_result")] == pages
        answers = sum(1 for step in steps if step["messages"][-1]["role"] == "assistant")
        assert answers == len(steps)
        # each answer is what the model said and what it did; the outputs that are not the answer word for word stay
        said = "\n".join(e.text for e in events(found) if e.type in ("assistant", "tool_call"))
        for step in steps:
            words = step["messages"][-1]["content"].replace("`", " ").split()
            assert " ".join(words[:12]) in " ".join(said.replace("`", " ").split())
        assert len([e for e in events(found) if e.type == "system"]) == len(runs)
        check_positions(found)


@pytest.mark.corpus
def test_all_history_is_kept_on_request() -> None:
    path = corpus("agent-logs/web_agent")[0]
    steps = orjson.loads(path.read_bytes())
    found = reads_file(ROWS, path, Options(history="all"))
    assert sum(event.type == "system" for event in events(found)) == len(steps)
