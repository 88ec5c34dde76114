r"""Letters spelled as \uXXXX in JSON texts: records hold the letters, and ids follow from them."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import jsonl, loaded

from components.contracts import Event, Record, record_id
from components.pipeline import Pipeline
from components.settings import LoadSettings, Settings
from components.sources.cleaning import with_letters
from components.sources.records import RecordMaker

MAKER = RecordMaker(key="a.jsonl", zone=UTC, max_text_chars=10_000)
SPOKEN = {"city": "北京", "note": "früh 🌧"}


def run(arguments: str, result: str) -> dict[str, object]:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": "Wie wird es?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": result},
        ]
    }


def record(type: str, text: str) -> Record:
    made = MAKER.record(Event(1, 0, type, text))
    assert isinstance(made, Record)
    return made


def test_texts_of_calls_and_results_hold_the_letters(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(run(json.dumps(SPOKEN), json.dumps([SPOKEN]))))
    assert loaded(tmp_path / "a.jsonl").texts[1:] == [
        'weather {"city": "北京", "note": "früh 🌧"}',
        '[{"city": "北京", "note": "früh 🌧"}]',
    ]


@pytest.mark.parametrize("written", ['{"a": "\\u00e9\\ud83c\\udf27"}', '{"a": "\\u00E9 \\ud83c\\udf27 é"}'])
def test_the_id_follows_from_the_letters_and_the_former_one_is_known(written: str) -> None:
    made = record("tool_result", written)
    assert made._replace(former_id="") == record("tool_result", with_letters(written))
    place = {"filename": "a.jsonl", "iteration": 1, "idx_in_iteration": 0}
    assert made.former_id == record_id(**place, type="tool_result", text=written)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        'print("\\u5317")',
        "a path C:\\users\\u5317",
        'run {"code": "print(\'\\\\u5317\')"}',
        '{"quote": "\\u0022", "tab": "\\u0009", "lone": "\\ud800", "line": "\\u2028"}',
        '{"cut": "\\u5317',
    ],
)
def test_escapes_that_are_no_letters_of_a_json_text_stay(text: str) -> None:
    assert with_letters(text) == text
    assert record("tool_call", text).text == text


def test_texts_of_people_and_models_stay_as_they_are() -> None:
    for type in ("user", "assistant", "reasoning", "system"):
        assert record(type, '{"a": "\\u00e9"}').text == '{"a": "\\u00e9"}'


def test_each_line_that_is_json_is_read_by_itself() -> None:
    assert with_letters('Found:\n{"a": "\\u00e9"}\nsee \\u00e9') == 'Found:\n{"a": "é"}\nsee \\u00e9'


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(), max_size=4))
def test_reading_the_letters_changes_no_value(value: dict[str, object]) -> None:
    assert json.loads(with_letters(json.dumps(value))) == value


def test_a_dataset_with_such_records_verifies_and_reads_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(jsonl(run(json.dumps(SPOKEN), '{"sky": "bew\\u00f6lkt, \u00fcberall"}')))
    with Pipeline(Settings(home=tmp_path / "home", model="hash://32", load=LoadSettings(quiet_s=0))) as pipeline:
        assert pipeline.load([log]).records.new == 3
        pipeline.index()
        assert [check for check in pipeline.verify() if not check.ok] == []
        log.write_bytes(b" " + log.read_bytes())
        assert pipeline.load().records.new == 0
