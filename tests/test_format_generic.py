from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import corpus, defects, events, json_values, reads, reads_file

from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Head, Options
from components.sources.formats.generic import ROWS
from components.sources.formats.plain_text import ROWS as TEXT_ROWS
from components.sources.formats.plain_text import unit_of
from components.sources.formats.times import timestamp


def test_columns_are_mapped_by_the_settings() -> None:
    columns = {"text": "abstract", "timestamp": "published", "run": "year", "type": "none"}
    row = {"abstract": "Stars.", "published": "2024-02-01", "year": 2024, "text": "ignored"}
    (event,) = events(reads(ROWS[0], [row], Options(columns=columns)))
    assert (event.text, event.run, event.type) == ("Stars.", "2024", "text")
    assert event.timestamp == datetime(2024, 2, 1)  # noqa: DTZ001
    assert event.extra == {"text": "ignored"}


def test_rows_without_a_text_are_refused() -> None:
    for rows in ([{"iteration": 1}], [{"text": "a", "label": "b"}], [], [17, "a", None, []]):
        assert not ROWS[0].recognises(Head(name="a.jsonl", shape="lines", lines=rows)).accepted


@pytest.mark.corpus
def test_every_row_of_a_real_file_is_a_record_with_its_own_numbers() -> None:
    for path in corpus("agent-logs/generic_jsonl"):
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        found = reads_file(ROWS, path)
        found_rows = [(event.iteration, event.idx_in_iteration, event.type, event.text) for event in events(found)]
        assert found_rows == [
            (row["iteration"], row["idx"], row["type"], row["text"]) for row in rows if row["text"].strip()
        ]
        assert defects(found) == []


# --- plain text ------------------------------------------------------------------------------------------------


def verdict(text: str) -> bool:
    return TEXT_ROWS[0].recognises(Head(name="a", shape="text", text=text)).accepted


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("2025-01-01 10:00:00,123 INFO started\n2025-01-01 10:00:01 ERROR broke\nTraceback\n  line\n" * 3, "stamped"),
        ("[2025/01/01 10:00:00] a\n[2025/01/01 10:00:01] b\n", "stamped"),
        ("INFO: a\nWARNING: b\nnothing\n", "stamped"),
        ("Jan  2 10:00:00 host app: a\nJan  2 10:00:01 host app: b\n", "stamped"),
        ("User: hello\nAgent: hi\nUser: again\nAgent: yes\n", "line"),
        ("Thought: go\n\nAction: move\n\nObservation: wall\n\nThought: turn\n\nAction: turn\n", "paragraph"),
    ],
)
def test_a_text_that_clearly_is_a_log_is_taken_and_cut_where_it_says(text: str, unit: str) -> None:
    assert verdict(text)
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\nA paragraph.\n\n- a list\n- of things\n",
        "def main():\n    return 1\n\nclass A:\n    pass\n",
        "name,age\nada,36\n",
        "key: value\nother: value\nlist:\n  - a\n",
        "one line",
        "",
    ],
)
def test_other_texts_are_not_taken_for_logs(text: str) -> None:
    assert not verdict(text)


def test_entries_of_a_text_log_carry_their_time_and_level() -> None:
    assert TEXT_ROWS[0].reader is not None
    reader = TEXT_ROWS[0].reader(None, Options())
    lines = ("2025-01-01 10:00:00,5 ERROR broke\nTraceback …", "[2025-01-01T10:00:01Z] fine")
    first, second = (event for line in lines for event in events(reader.read(line)))
    assert (first.type, first.timestamp) == ("error", datetime(2025, 1, 1, 10, 0, 0, 500_000))  # noqa: DTZ001
    assert (second.type, second.timestamp) == ("text", datetime(2025, 1, 1, 10, 0, 1, tzinfo=UTC))
    assert [first.idx_in_iteration, second.idx_in_iteration] == [0, 1]


# --- shared helpers --------------------------------------------------------------------------------------------

WHEN = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "spelled",
    [
        "2025-03-01T12:00:00.25Z",
        "2025-03-01T13:00:00.250+01:00",
        "2025-03-01 12:00:00.250000 UTC",
        1740830400.25,
        1740830400250,
        1740830400250000,
        1740830400250000000,
        "1740830400.25",
        "1740830400250",
        "1740830400250000",
        "1740830400250000000",
        " 1740830400250 ",
        WHEN,
    ],
)
def test_a_time_is_the_same_in_every_notation(spelled: object) -> None:
    assert timestamp(spelled) == WHEN


@pytest.mark.parametrize(
    "spelled", [None, True, "", "soon", 0, 5, -1e18, 1e300, float("nan"), "9" * 5_000, "99999-01-01", "1999", {}, [1]]
)
def test_what_is_no_plausible_time_is_none(spelled: object) -> None:
    assert timestamp(spelled) is None


def test_a_naive_time_stays_naive() -> None:
    found = timestamp("2025-03-01T12:00:00")
    assert found is not None
    assert found.tzinfo is None


@given(st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_epoch_numbers_and_iso_texts_spell_the_same_microsecond(when: datetime) -> None:
    micros = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert timestamp(micros) == timestamp(str(micros * 1_000)) == timestamp(when.isoformat()) == when


@given(json_values("type", "text", "image", "content"))
def test_any_content_has_a_text(value: object) -> None:
    assert isinstance(text_of(value), str)
    assert isinstance(timestamp(value), datetime | None)
    assert isinstance(tool_call(value, value), str)
