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
    parsed_lines,
    reads,
    reads_file,
    taken_of_others,
)

from components.sources.formats.contract import Options
from components.sources.formats.reflexion import ROWS


def test_the_trials_of_a_problem_are_its_iterations() -> None:
    check_golden(ROWS, "reflexion")


def test_a_reader_goes_on_where_another_stopped() -> None:
    lines = [{"task_id": "a", "prompt": f"p{n}", "is_solved": True, "solution": f"s{n}"} for n in range(4)]
    reader = ROWS[0].reader
    assert reader is not None
    first = reader(None, Options())
    head = [found for line in lines[:2] for found in first.read(line)]
    second = reader(orjson.loads(orjson.dumps(first.state())), Options())
    assert head + [found for line in lines[2:] for found in second.read(line)] == reads(ROWS[0], lines)


@given(json_values("task_id", "name", "prompt", "is_solved", "solution", "reflections", "implementations"))
def test_no_json_makes_the_reader_raise(value: object) -> None:
    reads(ROWS[0], [value, {"prompt": value, "reflections": [value], "implementations": value, "solution": value}])


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
        check_places(found)


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS, "reflexion") == []
