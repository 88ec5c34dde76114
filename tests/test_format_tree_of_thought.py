from __future__ import annotations

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file

from components.sources.formats.tree_of_thought import ROWS


@pytest.mark.corpus
def test_every_thought_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/tree_of_thought"):
        found = reads_file(ROWS, path)
        tasks = orjson.loads(path.read_bytes())
        if isinstance(tasks[0], list):
            texts = ["\n".join(step["actions"]) for task in tasks for step in task]
        else:
            assert not any("steps" in task for task in tasks)
            texts = [answer for task in tasks for answer in task["ys"]]
        assert len(found) == len(texts)
        assert [event.text for event in events(found)] == [text for text in texts if text.strip()], path.name
        assert not defects(found)
        assert len({event.run for event in events(found)}) == len(tasks)
        check_positions(found)
