from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from reading import check_golden, json_values, reads, row_of, taken_of_others

from components.sources.formats.contract import Options
from components.sources.formats.nebius import ROWS


def test_what_a_user_says_after_the_first_answer_is_the_environments_reply() -> None:
    check_golden(ROWS, "nebius")


def test_list_line_and_object_give_the_same_records() -> None:
    run = {"instance_id": "i", "trajectory": [{"role": "user", "text": "Fix."}, {"role": "ai", "text": "Done."}]}
    lines, document = row_of(ROWS, "lines"), row_of(ROWS, "document")
    assert reads(lines, [run]) == reads(document, [run]) == reads(document, run)
    assert reads(document, {"rows": [{"row_idx": 0, "row": run}]}) == reads(document, run)


def test_a_reader_goes_on_where_another_stopped() -> None:
    run = {"instance_id": "i", "trajectory": [{"role": "user", "text": "Fix."}]}
    row = row_of(ROWS, "lines")
    assert row.reader is not None
    first = row.reader(None, Options())
    head = list(first.read(run))
    second = row.reader(orjson.loads(orjson.dumps(first.state())), Options())
    assert head + list(second.read(run)) == reads(row, [run, run])


@given(json_values("trajectory", "role", "text", "system_prompt", "instance_id", "exit_status"))
def test_no_json_makes_the_reader_raise(value: object) -> None:
    for row in ROWS:
        reads(row, [value, {"trajectory": [value, {"role": value, "text": value}], "instance_id": value}])


@pytest.mark.corpus
def test_no_file_of_another_kind_is_taken() -> None:
    assert taken_of_others(ROWS) == []
