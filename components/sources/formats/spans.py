"""Spans of traces, whatever their source: the model, the text of a span, and how spans become the records of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal

from components.contracts import Defect, Event, Json, Skipped
from components.sources.formats.content import EPOCH, json_text, timestamp
from components.sources.formats.contract import Read, Turns
from components.sources.formats.pieces import GENERATED, REPEATED, Piece, Said, key_of

Role = Literal["model", "tool", "log", "other"]

REPEATED_SPAN: Final = Skipped(rule="repeated span")
REPEATED_FAILURE: Final = Skipped(rule="failure passed on by an enclosing span")
ELIDED: Final = Skipped(rule="content not captured")

LOGGED: Final = "log"  # the kind of what log records tell of a span that is not at hand

BUCKETS: Final = ((10.0, "<10ms"), (100.0, "<100ms"), (1_000.0, "<1s"), (10_000.0, "<10s"), (100_000.0, "<100s"))
VALUE_CHARS: Final = 1_000  # of one attribute inside a span's text
MAX_RUNS: Final = 1_024  # open runs that a reader remembers; the oldest is forgotten first
MAX_KEYS: Final = 20_000  # messages that it remembers over all runs
MAX_SPANS: Final = 5_000  # spans that it knows again when they are delivered once more
MAX_CALLS: Final = 64  # model calls, and failures, that it remembers of one run

BODIES: Final = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
    "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response",
    "gcp.vertex.agent.data",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.tools",
    "llm.request.functions",
    "input.value",
    "output.value",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "model_request_parameters",
    "logfire.json_schema",
)
ABOUT: Final[Mapping[str, str]] = {
    "gen_ai.request.model": "model",
    "gen_ai.response.model": "model",
    "llm.model_name": "model",
    "gen_ai.agent.name": "agent",
    "agent.name": "agent",
    "gen_ai.tool.name": "tool",
    "tool.name": "tool",
    "gen_ai.tool.call.id": "call_id",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.prompt_tokens": "input_tokens",
    "llm.token_count.prompt": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.completion_tokens": "output_tokens",
    "llm.token_count.completion": "output_tokens",
    "session.id": "session_id",
    "user.id": "user_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception that a span recorded; `at_ns` is None where the log has no time."""

    text: str
    at_ns: int | None = None
    stacktrace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span; times in ns since 1970, None where the log has none.

    A `model` span is one model call with the messages given to and got from it, a `tool` span has its call as input
    and its result as output, a `log` span is a log record. `zoned` is False where the log's times name no zone.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str = ""
    service: str = ""
    kind: str = ""
    status: str = "UNSET"
    message: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    zoned: bool = True
    took_ms: float | None = None  # where the log gives no end
    attributes: Mapping[str, Json] = field(default_factory=dict)
    events: Sequence[Json] = ()
    failures: Sequence[Failure] = ()
    role: Role = "other"
    conversation: str = ""
    inputs: Sequence[Piece] = ()
    outputs: Sequence[Piece] = ()
    elided: int = 0
    whole: bool = False  # the outputs tell the run's whole history


def duration_bucket(duration_ms: float) -> str:
    """The bucket that a duration falls into, so that spans which differ in nothing else share one text.

    >>> duration_bucket(9.99), duration_bucket(10), duration_bucket(1e9)
    ('<10ms', '<100ms', '>=100s')
    """
    return next((name for limit, name in BUCKETS if duration_ms < limit), ">=100s")


def span_text(
    *, service: str, operation: str, status: str, duration_ms: float | None, attributes: Mapping[str, Json]
) -> str:
    """The text of a span: service, operation, status, duration in buckets, attributes sorted by key.

    Nested values are canonical JSON; long message bodies are left out.

    >>> span_text(service="shop", operation="pay", status="OK", duration_ms=12.5, attributes={"b": {"y": 1}, "a": True})
    'shop pay OK in <100ms attributes: a=true b={"y":1}'
    """
    head = " ".join(word for word in (service, operation, status) if word)
    took = "" if duration_ms is None else f" in {duration_bucket(duration_ms)}"
    pairs = [f"{key}={_spelled(attributes[key])}" for key in sorted(attributes) if not _is_body(key)]
    return f"{head}{took} attributes: {' '.join(pairs)}" if pairs else f"{head}{took}"


def _is_body(key: str) -> bool:
    return key.startswith(BODIES)


def _spelled(value: Json) -> str:
    text = value if isinstance(value, str) else json_text(value)
    return text if len(text) <= VALUE_CHARS else text[:VALUE_CHARS] + "…"


def duration_ms(span: Span) -> float | None:
    if span.start_ns is None or span.end_ns is None or span.end_ns < span.start_ns:
        return span.took_ms
    return (span.end_ns - span.start_ns) / 1e6


def record_text(span: Span) -> str:
    return span_text(
        service=span.service,
        operation=span.name,
        status=span.status,
        duration_ms=duration_ms(span),
        attributes=span.attributes,
    )


@dataclass(slots=True)
class Run:
    """What a reader remembers of one run."""

    turns: Turns
    said: Said
    calls: dict[str, dict[str, int]] = field(default_factory=dict)  # model span -> what it answered
    raised: dict[str, None] = field(default_factory=dict)  # span and failure that need not be told again

    def state(self) -> Json:
        return [self.turns.iteration, self.turns.idx, self.said.state(), self.calls, list(self.raised)]


class SpanRuns:
    """Turns batches of spans into the records of their runs.

    A run is a conversation, else a trace. Within a batch spans are taken in order of time, though they arrive children
    first; what an earlier batch gave never changes. Each message is given once per run unless `history` is "all".
    """

    def __init__(self, history: str = "new", state: Json = None) -> None:
        self.all = history == "all"
        self.runs: dict[str, Run] = {}
        self.trace_runs: dict[str, str] = {}
        self.delivered: dict[str, None] = {}
        if isinstance(state, dict):
            self.trace_runs = dict(state["traces"])
            self.delivered = dict.fromkeys(state.get("delivered", ()))
            for name, (iteration, idx, said, calls, raised) in state["runs"].items():
                turns = Turns(run=name, iteration=iteration, idx=idx)
                self.runs[name] = Run(turns=turns, said=Said(said), calls=dict(calls), raised=dict.fromkeys(raised))

    def state(self) -> Json:
        runs = {name: run.state() for name, run in self.runs.items()}
        return {"traces": self.trace_runs, "delivered": list(self.delivered), "runs": runs}

    def read(self, spans: Iterable[Span]) -> Iterator[Read]:
        batch: dict[tuple[str, ...], Span] = {}
        for span in spans:
            if not (span.trace_id or span.span_id or span.name or span.role == "log"):
                yield Defect(offset=0, reason="a span without trace id, span id and name")
                continue
            key = (span.trace_id, span.span_id or str(id(span)), span.name, span.kind, span.service, str(span.start_ns))
            if key in batch or (span.span_id and not self._is_new(key, span)):
                yield REPEATED_SPAN
            else:
                batch[key] = span
        ordered = sorted(batch.values(), key=lambda span: _last if span.start_ns is None else span.start_ns)
        family = _Family(ordered, self.trace_runs)
        for moment in sorted(_moments(ordered), key=lambda moment: (moment.at_ns, moment.phase)):
            run = self._run(family.run_of(moment.span))
            yield from self._reads(run, moment, family)
            run.said.forget(MAX_KEYS)
        self._forget()

    def _is_new(self, key: Sequence[str], span: Span) -> bool:
        """Was no span like it delivered before? One that has ended or says more since then is another."""
        told = "\0".join((*key, str(span.end_ns), span.status, str(len(span.inputs)), str(len(span.outputs))))
        digest = blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        if digest in self.delivered:
            return False
        self.delivered[digest] = None
        return True

    def _run(self, name: str) -> Run:
        run = self.runs.pop(name, None) or Run(turns=Turns(run=name), said=Said())
        self.runs[name] = run  # the latest stands last
        return run

    def _forget(self) -> None:
        known = sum(len(run.said.given) for run in self.runs.values())
        while len(self.runs) > 1 and (len(self.runs) > MAX_RUNS or known > MAX_KEYS):
            oldest = next(iter(self.runs))
            known -= len(self.runs.pop(oldest).said.given)
        while len(self.delivered) > MAX_SPANS:
            del self.delivered[next(iter(self.delivered))]
        while len(self.trace_runs) > 2 * MAX_RUNS:
            del self.trace_runs[next(iter(self.trace_runs))]

    def _reads(self, run: Run, moment: _Moment, family: _Family) -> Iterator[Read]:
        span = moment.span
        if moment.failure is not None:
            yield self._failure(run, span, moment.failure, family)
        elif moment.phase == _FINISH:
            yield from self._finish(run, span)
        elif span.role == "model":
            yield from self._model_call(run, span)
        elif span.role == "log":
            yield from self._given(run, span, ((piece, True) for piece in span.inputs), span.start_ns)
        elif span.role == "tool":
            yield from self._given(
                run, span, ((piece, run.said.new_tool(piece)) for piece in span.inputs), span.start_ns
            )
        else:
            yield self._span_record(run, span)
            inputs = span.inputs
            told = self._told(run, span, inputs) if len(inputs) == 1 else run.said.new_in_history(inputs)
            yield from self._given(run, span, told, span.start_ns)

    def _finish(self, run: Run, span: Span) -> Iterator[Read]:
        if span.role == "tool":
            told: Iterable[tuple[Piece, bool]] = ((piece, run.said.new_tool(piece)) for piece in span.outputs)
        elif span.whole:
            told = run.said.new_in_history(span.outputs)
        else:
            told = self._told(run, span, span.outputs)
        answering = False
        for piece, new in told:
            generated = piece.type in GENERATED
            if new and generated and not answering and span.role == "other" and not run.calls:
                run.turns.respond()  # an agent tells the answers of model calls that were not logged
            answering = generated
            yield from self._given(run, span, [(piece, new)], span.end_ns)

    def _told(self, run: Run, span: Span, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        for piece in pieces:
            yield piece, run.said.new_in_view(span.name, piece)

    def _model_call(self, run: Run, span: Span) -> Iterator[Read]:
        """One call may be told by several spans, the outer ones around the inner: they share what it answered."""
        names = (span.span_id, span.parent_id, f"around {span.span_id}")
        known = next((run.calls[name] for name in names if name in run.calls), None)
        answered: dict[str, int] = {} if known is None else known
        yield from self._given(run, span, run.said.new_in_history(span.inputs), span.start_ns)
        yield from (ELIDED for _ in range(span.elided))
        if known is None:
            run.turns.respond()
        run.calls |= {span.span_id: answered, f"around {span.parent_id}": answered}
        while len(run.calls) > 2 * MAX_CALLS:
            del run.calls[next(iter(run.calls))]
        yield from self._given(run, span, self._answers(run, span, answered), span.end_ns)
        if not span.inputs and not span.outputs and span.kind != LOGGED:
            yield self._span_record(run, span)

    def _answers(self, run: Run, span: Span, answered: dict[str, int]) -> Iterator[tuple[Piece, bool]]:
        count: dict[str, int] = {}
        for piece in span.outputs:
            key = key_of(piece)
            count[key] = n = count.get(key, 0) + 1
            if n <= answered.get(key, 0):
                yield piece, False
            else:
                answered[key] = n
                yield piece, run.said.new_answer(piece)

    def _given(self, run: Run, span: Span, told: Iterable[tuple[Piece, bool]], at_ns: int | None) -> Iterator[Read]:
        about: dict[str, Any] | None = None
        for piece, new in told:
            if not new and not self.all:
                yield REPEATED
                continue
            about = about or about_span(span)
            when = piece.timestamp or _when(at_ns, span)
            yield run.turns.event(piece.type, piece.text, when, {**about, **piece.extra})

    def _span_record(self, run: Run, span: Span) -> Event:
        extra = about_span(span)
        if span.message:
            extra["status_message"] = span.message
        if span.events:
            extra["events"] = list(span.events)
        return run.turns.event("span", record_text(span), _when(span.start_ns, span), extra)

    def _failure(self, run: Run, span: Span, failure: Failure, family: _Family) -> Read:
        digest = blake2b(failure.text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        told = f"{span.span_id}:{digest}" in run.raised
        for name in family.ancestry(span):  # an exception on its way up is recorded by each span it leaves
            run.raised[f"{name}:{digest}"] = None
        while len(run.raised) > MAX_CALLS:
            del run.raised[next(iter(run.raised))]
        if told and not self.all:
            return REPEATED_FAILURE
        extra = about_span(span)
        if failure.stacktrace:
            extra["stacktrace"] = failure.stacktrace
        return run.turns.event("error", failure.text, _when(failure.at_ns or span.end_ns, span), extra)


_BEGIN, _FAIL, _FINISH = range(3)
_last: Final = 2**63


@dataclass(frozen=True, slots=True)
class _Moment:
    at_ns: int
    phase: int
    span: Span
    failure: Failure | None = None


def _moments(spans: Iterable[Span]) -> Iterator[_Moment]:
    """When something happens: each span begins; an answer or a result comes at its end, a failure when it happens.

    What comes at the end of a span that has none stands last.
    """
    for span in spans:
        start = _last if span.start_ns is None else span.start_ns
        end = _last if span.end_ns is None else max(span.end_ns, start)
        yield _Moment(start, _BEGIN, span)
        for failure in _failures(span):
            yield _Moment(min(max(failure.at_ns or end, start), end), _FAIL, span, failure)
        if span.outputs and span.role != "model":
            yield _Moment(end, _FINISH, span)


def _failures(span: Span) -> Sequence[Failure]:
    if span.failures or span.role == "other" or span.status != "ERROR" or not span.message.strip():
        return span.failures
    return (Failure(text=span.message),)


class _Family:
    """Which span of a batch stands within which, and so to which run each belongs."""

    def __init__(self, ordered: Sequence[Span], trace_runs: dict[str, str]) -> None:
        self.spans = {(span.trace_id, span.span_id): span for span in ordered}
        self.names: dict[tuple[str, str], str] = {}
        self.trace_runs = trace_runs
        self.conversations = any(span.conversation for span in ordered)
        for span in ordered:
            if span.conversation and span.trace_id not in trace_runs:
                trace_runs[span.trace_id] = span.conversation
        for span in ordered:
            trace_runs.setdefault(span.trace_id, span.trace_id)

    def run_of(self, span: Span) -> str:
        """Its own conversation, the nearest enclosing one, its trace's first one, or the trace."""
        if not self.conversations:
            return self.trace_runs.get(span.trace_id, "")
        key = (span.trace_id, span.span_id)
        if (name := self.names.get(key)) is None:
            own = (above.conversation for above in self._above(span) if above.conversation)
            name = self.names[key] = span.conversation or next(own, "") or self.trace_runs.get(span.trace_id, "")
        return span.conversation or name

    def ancestry(self, span: Span) -> list[str]:
        """The ids of the span, of those around it, and of the first one around them that is not in the batch."""
        above = list(self._above(span))
        return [each.span_id for each in (span, *above)] + [(above[-1] if above else span).parent_id]

    def _above(self, span: Span) -> Iterator[Span]:
        seen = {span.span_id}
        while span.parent_id not in seen and (found := self.spans.get((span.trace_id, span.parent_id))) is not None:
            span = found
            seen.add(span.span_id)
            yield span


def about_span(span: Span) -> dict[str, Any]:
    """What is worth keeping of a span beside its text."""
    took = duration_ms(span)
    extra: dict[str, Any] = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_id,
        "span": span.name,
        "service": span.service,
        "status": span.status if span.status != "UNSET" else "",
    }
    extra = {key: value for key, value in extra.items() if value}
    if took is not None:
        extra["duration_ms"] = took
    for key, name in ABOUT.items():
        if isinstance(value := span.attributes.get(key), str | int | float) and value != "":
            extra.setdefault(name, value)
    return extra


def _when(at_ns: int | None, span: Span) -> datetime | None:
    when = timestamp(at_ns)
    return when.replace(tzinfo=None) if when and not span.zoned else when


def nanoseconds(when: datetime | None) -> int | None:
    """A datetime as ns since 1970; a naive one is taken as UTC, for order alone.

    >>> nanoseconds(timestamp("2025-01-01T00:00:00.000001Z"))
    1735689600000001000
    """
    if when is None:
        return None
    since = when.replace(tzinfo=UTC) - EPOCH if when.tzinfo is None else when - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
