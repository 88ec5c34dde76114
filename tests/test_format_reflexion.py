from __future__ import annotations

import pytest
from reading import check_positions, corpus, defects, events, parsed_lines, reads_file

from components.sources.formats.reflexion import ROWS


@pytest.mark.corpus
def test_every_field_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/reflexion"):
        found = reads_file(ROWS, path)
        problems = parsed_lines(path.read_bytes())
        items = sum(
            1
            + len(p.get("reflections", []))
            + len(p.get("implementations", []))
            + len(p.get("test_feedback", []))
            + ("solution" in p)
            for p in problems
        )
        assert (len(found), defects(found)) == (items, []), path.name
        texts = {event.text for event in events(found)}
        assert all(p["prompt"] in texts for p in problems)
        assert all(text in texts for p in problems for text in p.get("reflections", []) if text.strip())
        assert all("\n".join(p["solution"]) in texts if isinstance(p["solution"], list) else True for p in problems)
        assert len({event.run for event in events(found)}) == len(problems)
        check_positions(found)
