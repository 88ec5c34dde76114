"""What received spans and rows become, before they are stored."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from reading import corpus

from components.contracts import Record
from components.errors import BadBody, BodyTooLarge
from components.receive.bodies import trace_request, unpacked
from components.receive.received import Received, received_rows, received_spans
from components.redact import Redactor
from components.sources.records import RecordMaker

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
START = 1_767_690_000_000_000_000


def maker() -> RecordMaker:
    return RecordMaker(key="otlp", zone=UTC, max_text_chars=100_000, redactor=Redactor())


def span(**fields: Any) -> dict[str, Any]:
    times = {"startTimeUnixNano": str(START), "endTimeUnixNano": str(START + 40_000_000)}
    return {"traceId": TRACE, "spanId": SPAN, "name": "pay", **times, **fields}


def pair(key: str, value: Any) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: value}}


def request(*spans: Any) -> bytes:
    resource = {"attributes": [pair("service.name", "shop")]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}).encode()


def received(*spans: Any) -> Received:
    return received_spans(request(*spans), maker(), is_json=True)


def only(*spans: Any) -> Record:
    (record,) = received(*spans).records
    return record


def test_a_span_becomes_one_record_under_the_key_of_trace_and_span() -> None:
    record = only(span(attributes=[pair("b", 2), pair("a", "x")], status={"code": 2, "message": "row is taken"}))
    assert record.text == "shop pay ERROR in <100ms attributes: a=x b=2 otel.status_description=row is taken"
    assert (record.key, record.type, record.filename) == (f"{TRACE}-{SPAN}", "span", f"otlp#{TRACE}")
    assert record.timestamp == datetime(2026, 1, 6, 9, tzinfo=UTC)
    assert record.extra["status_message"] == "row is taken"
    assert record.extra["duration_ms"] == 40.0


def test_times_in_milliseconds_microseconds_or_halves_give_the_right_duration() -> None:
    for unit in (1, 10**3, 10**6):
        times = {"startTimeUnixNano": START // unit, "endTimeUnixNano": str((START + 40_000_000) // unit)}
        assert only(span(**times)).text == "shop pay UNSET in <100ms"
    low, high = START & 0xFFFFFFFF, START >> 32
    halves = {"low": low - 2**32 if low >= 2**31 else low, "high": high}
    assert only(span(startTimeUnixNano=halves)).timestamp == datetime(2026, 1, 6, 9, tzinfo=UTC)


def test_ids_of_sessions_and_users_are_kept_beside_the_text_and_not_in_it() -> None:
    personal = (
        "session.id",
        "user.id",
        "enduser.id",
        "app.user_id",
        "langfuse.session.id",
        "conversationId",
        "user.email",
    )
    kept = ("session.count", "user.roles", "thread.name.kind", "http.user_agent")
    record = only(span(attributes=[pair(key, f"value of {key}") for key in (*personal, *kept)]))
    assert not [key for key in personal if f"value of {key}" in record.text]
    assert not [key for key in kept if f"value of {key}" not in record.text]
    spelled = json.dumps(record.extra)
    assert not [key for key in personal if f"value of {key}" not in spelled]


def test_a_span_with_10_000_attributes_has_a_bounded_text_and_loses_none() -> None:
    record = only(span(attributes=[pair(f"key{n:05}", f"value {n}") for n in range(10_000)]))
    assert len(record.text) < 9_000
    assert record.text.endswith("more attributes")
    beside = record.extra["attributes"]
    assert all(f"key{n:05}=value {n}" in record.text or beside[f"key{n:05}"] == f"value {n}" for n in range(10_000))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"traceId": "0" * 32}, "traceId is missing or all zeros"),
        ({"spanId": "00f067aa0ba902"}, "spanId '00f067aa0ba902' is not 8 bytes in hex"),
        ({"traceId": "zz" + TRACE[2:]}, "is not 16 bytes in hex"),
        ({"spanId": None}, "spanId is missing or all zeros"),
        ({"traceId": 7}, "traceId is no text"),
        ({"traceId": TRACE[:24]}, "is not 16 bytes in hex"),  # which would be base64 of 18 bytes
    ],
)
def test_a_bad_span_is_counted_with_its_reason_and_the_good_ones_are_kept(fields: dict[str, Any], reason: str) -> None:
    good = span(spanId="00000000000000aa")
    found = received(good, span(**fields), span(spanId="00000000000000bb"))
    assert found.n_items == 3
    assert [record.key[-2:] for record in found.records] == ["aa", "bb"]
    ((at, defect),) = found.rejected
    assert at == 1
    assert reason in defect.reason


def test_a_value_that_is_nested_too_deeply_costs_its_own_span_alone() -> None:
    n = 330
    deep = '{"arrayValue":{"values":[' * n + '{"stringValue":"x"}' + "]}}" * n
    body = request(span(spanId="00000000000000aa", attributes=[{"key": "deep", "value": "DEEP"}]), span())
    found = received_spans(body.replace(b'"DEEP"', deep.encode()), maker(), is_json=True)
    assert f"{TRACE}-{SPAN}" in {record.key for record in found.records}
    assert len(found.records) + len(found.rejected) == 2


def test_base64_ids_are_the_same_ids_and_hex_is_never_taken_for_base64() -> None:
    from base64 import b64encode

    coded = {"traceId": b64encode(bytes.fromhex(TRACE)).decode(), "spanId": b64encode(bytes.fromhex(SPAN)).decode()}
    assert only(span(**coded)).key == only(span(traceId=TRACE.upper(), spanId=SPAN)).key == f"{TRACE}-{SPAN}"


def test_messages_of_a_conversation_are_records_once_however_often_its_history_is_repeated() -> None:
    def call(n: int) -> dict[str, Any]:
        said = [{"role": "user" if at % 2 == 0 else "assistant", "content": f"turn {at}"} for at in range(2 * n + 1)]
        pairs = [pair("gen_ai.operation.name", "chat"), pair("gen_ai.conversation.id", "c7")]
        pairs.append(pair("gen_ai.input.messages", json.dumps(said)))
        pairs.append(
            pair("gen_ai.output.messages", json.dumps([{"role": "assistant", "content": f"turn {2 * n + 1}"}]))
        )
        return span(spanId=f"{n + 1:016x}", attributes=pairs)

    found = [record for n in range(3) for record in received(call(n)).records]
    spans = [record for record in found if record.type == "span"]
    messages = {record.key: record for record in found if record.type != "span"}
    assert len(spans) == 3
    assert sorted((m.iteration, m.text) for m in messages.values()) == [
        (0, "turn 0"),
        (1, "turn 1"),
        (1, "turn 2"),
        (2, "turn 3"),
        (2, "turn 4"),
        (3, "turn 5"),
    ]
    assert {record.filename for record in found} == {"otlp#c7"}
    assert not [record for record in spans if "turn" in record.text]


def test_an_exception_that_leaves_several_spans_is_one_record() -> None:
    event = {"name": "exception", "attributes": [pair("exception.type", "Timeout"), pair("exception.message", "30 s")]}
    found = received(span(events=[event]), span(spanId="00000000000000aa", events=[event]))
    errors = [record for record in found.records if record.type == "error"]
    assert {record.text for record in errors} == {"Timeout: 30 s"}
    assert len({record.key for record in errors}) == 1
    assert errors[0].key in found.once


def test_secrets_in_spans_are_redacted() -> None:
    record = only(span(attributes=[pair("url", "https://me:hunter2@example.com/x")]))
    assert "hunter2" not in record.text
    assert "hunter2" not in json.dumps(record.extra)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"spans": []}', b'{"resourceSpans": 5}', b"\x0a\xff", b"null"])
def test_what_is_no_trace_request_is_refused_with_the_reason(body: bytes) -> None:
    with pytest.raises(BadBody):
        trace_request(body, is_json=True)
    if body == b"\x0a\xff":
        with pytest.raises(BadBody):
            trace_request(body, is_json=False)


def test_an_empty_request_is_one_without_spans() -> None:
    for body in (b"{}", b'{"resourceSpans": []}', b'{"resourceSpans": [{"scopeSpans": [{}]}]}'):
        assert received_spans(body, maker(), is_json=True).n_items == 0
    assert received_spans(b"", maker(), is_json=False).n_items == 0


def test_a_gzip_body_is_unpacked_within_its_limit() -> None:
    packed = gzip.compress(b"a" * 500) + gzip.compress(b"b" * 500)
    assert unpacked(packed, "gzip", 1_000) == b"a" * 500 + b"b" * 500
    with pytest.raises(BodyTooLarge, match="max_unpacked_bytes"):
        unpacked(gzip.compress(b"0" * 10_000_000), "GZIP", 1_000)
    with pytest.raises(BadBody, match="cut short"):
        unpacked(packed[:20], "gzip", 1_000)
    with pytest.raises(BadBody, match="not valid gzip"):
        unpacked(b"no gzip", "gzip", 1_000)
    with pytest.raises(BadBody, match="'br' is not supported"):
        unpacked(b"", "br", 1_000)


# --- rows ----------------------------------------------------------------------------------------------------------


def rows(body: bytes, *, is_lines: bool = False, **columns: str) -> Received:
    return received_rows(body, maker(), is_lines=is_lines, columns=columns)


def test_a_row_is_the_same_record_in_whatever_request_it_comes() -> None:
    first, second = {"key": "a", "text": "hi", "type": "assistant"}, {"key": "b", "text": "ho", "type": "assistant"}
    together = rows(json.dumps([first, second]).encode()).records
    alone = rows(json.dumps({"records": [second]}).encode()).records
    lines = rows(json.dumps(second).encode() + b"\n", is_lines=True).records
    assert together[1] == alone[0] == lines[0]
    assert together[0].extra["key"] == "a"


def test_a_row_without_a_key_has_its_content_for_one() -> None:
    one, same, other = rows(b'[{"text": "hi", "n": 1}, {"n": 1, "text": "hi"}, {"text": "hi", "n": 2}]').records
    assert one.key == same.key != other.key


def test_columns_of_rows_are_named_by_the_dataset() -> None:
    (record,) = rows(b'[{"bibcode": 7, "abstract": "dust", "n": 1}]', key="bibcode", text="abstract").records
    assert (record.key, record.text) == ("7", "dust")


def test_a_bad_row_is_counted_and_the_good_ones_are_kept() -> None:
    body = (
        b'{"key": "a", "text": "hi"}\n{bad\n7\n{"key": "b"}\n{"key": [1], "text": "x"}\n{"key": "c", "text": " "}\n\n'
    )
    found = rows(body + b'{"key": "%s", "text": "long"}' % (b"k" * 501), is_lines=True)
    assert [record.key for record in found.records] == ["a"]
    assert [one.at for one in found.rejected] == [1, 2, 3, 4, 6]
    assert found.n_skipped == 1
    assert len({one.defect.offset for one in found.rejected}) == 5, "each is a defect of its own"
    with pytest.raises(BadBody, match="no list of rows"):
        rows(b'{"text": "hi"}')


# --- real and reported ones ---------------------------------------------------------------------------------------


@pytest.mark.corpus
def test_all_dialects_of_otlp_give_the_same_records() -> None:
    spellings = set()
    for path in corpus("reports/37-dialects-of-otlp-json"):
        if path.name != "other.json" and path.suffix in {".json", ".pb"}:
            found = received_spans(path.read_bytes(), maker(), is_json=path.suffix == ".json")
            assert not found.rejected, path.name
            spellings.add(tuple((one.id, one.key, one.text, one.timestamp) for one in found.records))
    assert len(spellings) == 1
