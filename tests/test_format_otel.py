from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import orjson
import pytest
from reading import (
    DATA,
    check_positions,
    corpus,
    defects,
    events,
    parsed_lines,
    reads,
    reads_file,
    row_of,
    rules,
    taker,
)

from components.contracts import Event
from components.sources.formats.contract import Options
from components.sources.formats.deduplication import key_of
from components.sources.formats.messages import pieces_of
from components.sources.formats.otel import ROWS, end_document, end_jaeger
from components.sources.formats.otel_values import identity
from components.sources.formats.pieces import Piece
from components.sources.formats.span_runs import MAX_RUNS, SpanRuns
from components.sources.formats.spans import Span, span_text


def test_the_order_in_which_spans_arrive_does_not_matter_within_a_document() -> None:
    document = orjson.loads((DATA / "otel" / "otlp_attributes.json").read_bytes())
    there = events(reads(ROWS[0], document))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].reverse()
    assert events(reads(ROWS[0], document)) == there


def test_two_calls_under_one_agent_are_two_iterations() -> None:
    spans = [
        Span(trace_id="t", span_id=str(n), parent_id="agent", name="chat", role="model", start_ns=n * 10**18)
        for n in (1, 2)
    ]
    assert [event.iteration for event in events(SpanRuns().read(spans))] == [1, 2]


def test_all_history_is_kept_on_request() -> None:
    path = DATA / "otel" / "otlp_attributes.json"
    found = reads_file(ROWS, path, Options(history="all"))
    assert not rules(found)
    assert len(events(found)) == len(reads_file(ROWS, path)) - 1  # all but the defect


def test_a_trace_without_its_root_span_is_still_running() -> None:
    document = orjson.loads((DATA / "otel" / "otlp_attributes.json").read_bytes())
    assert end_document(document).mark
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[:] = [span for span in spans if isinstance(span, dict) and "parentSpanId" in span]
    assert not end_document(document).mark
    assert end_jaeger(orjson.loads((DATA / "otel" / "jaeger.json").read_bytes())).mark
    assert not end_document({}).mark


def test_ids_are_hex_in_whatever_form_they_are_exported() -> None:
    assert identity("5B8EFFF798038103D269B633813FC60C", 16) == identity("W47/95gDgQPSabYzgT/GDA==", 16)
    assert identity("0000000000000000", 8) == identity(None, 8) == identity("", 8) == ""


def test_a_span_text_sorts_its_attributes_and_leaves_messages_out() -> None:
    attributes = {"z": 1, "gen_ai.input.messages": "long", "a": {"y": [True, None], "x": 2.5}}
    text = span_text(service="s", operation="o", status="OK", duration_ms=5, attributes=attributes)
    assert text == 's o OK in <10ms attributes: a={"x":2.5,"y":[true,null]} z=1'


def test_what_a_reader_remembers_is_bounded() -> None:
    runs = SpanRuns()
    for n in range(MAX_RUNS * 3):
        list(runs.read([Span(trace_id=f"{n:032x}", span_id="1", name="work", start_ns=10**18 + n)]))
    assert len(runs.state()["runs"]) == MAX_RUNS


def _raw_spans(path: Any) -> list[dict[str, Any]]:
    """All spans of a real file, found without the reader."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if ("spanId" in value or "spanID" in value) and ("name" in value or "operationName" in value):
                yield value
            else:
                for inner in value.values():
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    raw = path.read_bytes()
    try:
        return list(walk(orjson.loads(raw)))
    except orjson.JSONDecodeError:
        return list(walk(parsed_lines(raw)))


def _files() -> list[Any]:
    traces = [path for path in corpus("traces") if not path.name.startswith("zipkin")]
    return corpus("agent-logs/otel_genai", "agent-logs/otel_genai_jaeger") + traces


@pytest.mark.corpus
def test_every_span_of_a_real_file_is_accounted_for() -> None:
    for path in _files():
        raw = {span.get("spanId") or span["spanID"] for span in _raw_spans(path)}
        everything = events(reads_file(ROWS, path, Options(history="all")))
        assert {event.extra["span_id"] for event in everything} == raw, path.name
        found = reads_file(ROWS, path)
        assert not defects(found)
        recorded = {_identity(event) for event in everything if event.type not in ("span", "error")}
        kept = [_identity(event) for event in events(found) if event.type not in ("span", "error")]
        assert recorded == set(kept), path.name  # no message is lost
        spans = Counter(event.text for event in events(found) if event.type == "span")
        assert spans == Counter(event.text for event in everything if event.type == "span")
        skipped = sum(rules(found).values()) - rules(found)["content not captured"]
        assert len(events(found)) + skipped == len(everything)
        check_positions(found)


def _identity(event: Event) -> tuple[str, str, str]:
    """Run, type and text, with JSON spelled in one way."""
    start = event.text.find("{") if event.type == "tool_call" else 0
    head, rest = event.text[:start], event.text[start:]
    with suppress(orjson.JSONDecodeError):
        rest = orjson.dumps(orjson.loads(rest), option=orjson.OPT_SORT_KEYS).decode()
    return event.run, event.type, head + rest


@pytest.mark.corpus
def test_one_scenario_gives_the_same_messages_in_all_modes_of_telemetry() -> None:
    """The samples hold the same runs with content in attributes, in log records, or in the vendor's attributes alone."""
    for scenario in ("S1", "S2", "S4a", "S4b", "S5"):
        found_in_modes = []
        for path in corpus("agent-logs/otel_genai"):
            if path.name.startswith("adk_py") and path.name.endswith(f"__{scenario}.json"):
                found = events(reads_file(ROWS, path))
                found_in_modes.append([(e.iteration, e.type, e.text) for e in found if e.type not in ("span", "error")])
        assert len(found_in_modes) == 4
        assert all(sorted(each) == sorted(found_in_modes[0]) for each in found_in_modes), scenario


@pytest.mark.corpus
def test_no_message_is_read_twice() -> None:
    """No run of these samples holds a message twice, so no text may occur twice in one run, but for that of another call."""
    for path in corpus("agent-logs/otel_genai"):
        found = [event for event in events(reads_file(ROWS, path)) if event.type not in ("span", "error")]
        calls = Counter((_identity(event), event.extra.get("call_id")) for event in found)
        repeats = [identity for (identity, _), n in calls.items() if n > 1]
        assert [
            repeat for repeat in repeats if not repeat[2].startswith(("ToolSearch", "k8s_get", "Bash", "Agent"))
        ] == []


@pytest.mark.corpus
def test_a_real_export_is_taken_as_the_format_of_its_folder() -> None:
    for path in corpus("agent-logs/otel_genai", "agent-logs/otel_genai_jaeger"):
        row = taker(ROWS, path)
        assert row is not None
        assert row.name == path.parent.name


@pytest.mark.corpus
def test_an_independent_reader_finds_no_message_that_we_lack() -> None:
    """agentpile reads three of the samples; it leaves out handoff spans and what a helper agent says to itself."""
    agentpile = pytest.importorskip("agentpile")
    only_ours: list[str] = []
    for path in corpus("agent-logs/otel_genai"):
        if not path.name.startswith("agentpile"):
            continue
        ours = [(e.type, e.text) for e in events(reads_file(ROWS, path)) if e.type not in ("span", "error")]
        for run in agentpile.load(str(path)):
            for message in agentpile.to_chat(run)[0]["messages"]:
                for piece in pieces_of(message):
                    said = next((own for own in ours if own[0] == piece.type and same(own[1], piece.text)), None)
                    assert said is not None, (path.name, piece)
                    ours.remove(said)
        only_ours += [text for _, text in ours]
    handoff, helper = ["handoff to Refunds Triage", "Refunds"], ["Help.", "answer?", "42"]
    assert only_ours == handoff + helper


def same(ours: str, theirs: str) -> bool:
    """Equal texts; a call without captured arguments stands without them here, with `{}` there."""
    return (
        key_of(Piece(type="tool_call", text=ours)) == key_of(Piece(type="tool_call", text=theirs))
        or f"{ours} {{}}" == theirs
    )


def test_a_span_delivered_twice_is_read_once_even_by_another_reader() -> None:
    raw = parsed_lines((DATA / "otel" / "otlp_lines.jsonl").read_bytes())
    row = row_of(ROWS, "lines")
    assert row.reader is not None
    first = row.reader(None, Options())
    before = [read for line in raw for read in first.read(line)]
    again = row.reader(orjson.loads(orjson.dumps(first.state())), Options())
    assert events(before)
    assert events(read for line in raw for read in again.read(line)) == []


def test_spans_that_differ_in_ids_alone_share_a_text_and_replace_what_was_stored() -> None:
    def span(session: str) -> dict[str, Any]:
        attributes = [
            {"key": key, "value": {"stringValue": value}}
            for key, value in (("session.id", session), ("enduser.id", session), ("http.route", "/pay"))
        ]
        ids = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00000000000000a" + session}
        return {"resourceSpans": [{"scopeSpans": [{"spans": [{**ids, "name": "GET", "attributes": attributes}]}]}]}

    found = [event for session in "12" for event in events(reads(row_of(ROWS, "document"), span(session)))]
    assert {event.text for event in found} == {"GET UNSET attributes: http.route=/pay"}
    assert found[0].former_text == "GET UNSET attributes: enduser.id=1 http.route=/pay session.id=1"
    assert [event.extra["ids"] for event in found] == [{"enduser.id": "1"}, {"enduser.id": "2"}]
