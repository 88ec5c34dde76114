from __future__ import annotations

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file, rules

from components.sources.formats.autogen import ROWS


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
        check_positions(found)
