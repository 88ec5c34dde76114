from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from reading import (
    check_golden,
    check_places,
    corpus,
    defects,
    events,
    json_values,
    reads,
    reads_file,
    rules,
    taken_of_others,
)

from components.sources.formats.autogen import ROWS


def test_the_agent_is_found_in_the_role_or_in_the_name() -> None:
    check_golden(ROWS, "autogen")


@given(json_values("history", "question", "question_ID", "role", "name", "content", "system_prompt", "mistake_step"))
def test_no_json_makes_the_reader_raise(value: object) -> None:
    reads(ROWS[0], value)
    reads(ROWS[0], {"question": value, "question_ID": value, "history": [value], "system_prompt": {"a": value}})


@pytest.mark.corpus
def test_every_message_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/autogen_whowhen"):
        found = reads_file(ROWS, path)
        run = orjson.loads(path.read_bytes())
        texts = [text for text in (run.get("system_prompt") or {}).values() if text.strip()]
        texts += [message["content"] for message in run["history"] if message["content"].strip()]
        assert [event.text for event in events(found)] == texts, path.name
        assert len(found) == len(run["history"]) + len(run.get("system_prompt") or {})
        assert set(rules(found)) <= {"empty message"}
        assert not defects(found)
        check_places(found)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS, "autogen_whowhen") == []
