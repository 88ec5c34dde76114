from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from reading import check_golden, check_places, corpus, defects, events, json_values, reads, reads_file, taken_of_others

from components.sources.formats.tree_of_thought import ROWS


def test_the_steps_of_a_task_are_its_iterations() -> None:
    check_golden(ROWS, "tree_of_thought")


@given(json_values("idx", "ys", "steps", "new_ys", "values", "x", "actions", "env_step", "info", "count"))
def test_no_json_makes_the_reader_raise(value: object) -> None:
    reads(ROWS[0], value)
    reads(ROWS[0], [{"idx": value, "ys": value, "steps": [{"x": value, "new_ys": [value], "values": value}]}, [value]])


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
        check_places(found)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS, "tree_of_thought") == []
