"""How spans become the records of runs: in order of time, by conversation, each message once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.contracts import Defect, Event, Json, Skipped
from components.sources.formats.contract import Read, Turns
from components.sources.formats.deduplication import SeenPieces, key_of, short_digest
from components.sources.formats.defects import REPEATED
from components.sources.formats.pieces import GENERATED, Piece
from components.sources.formats.spans import (
    LOGGED,
    Failure,
    Span,
    about_span,
    former_record_text,
    keys_of,
    record_text,
    time_in,
    unseen_attributes,
)

REPEATED_SPAN: Final = Skipped(rule="repeated span")
REPEATED_FAILURE: Final = Skipped(rule="failure passed on by an enclosing span")
ELIDED: Final = Skipped(rule="content not captured")
MAX_RUNS: Final = 1_024  # open runs that a reader remembers; the oldest is forgotten first
MAX_KEYS: Final = 20_000  # messages that it remembers over all runs
MAX_SPANS: Final = 5_000  # spans that it recognises when they are delivered once more
MAX_CALLS: Final = 64  # model calls, and failures, that it remembers of one run

Found = Span | Defect | Skipped


@dataclass(slots=True)
class SpanRun:
    """What a reader remembers of one run."""

    turns: Turns
    seen: SeenPieces = field(default_factory=SeenPieces)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)  # model span -> what it answered
    raised: dict[str, None] = field(default_factory=dict)  # span and failure that need no record of their own

    def state(self) -> Json:
        """Plain JSON for `SpanRuns`."""
        return [self.turns.iteration, self.turns.idx, self.seen.state(), self.calls, list(self.raised)]


class SpanRuns:
    """Turns batches of spans into the records of their runs.

    A run is a conversation, else a trace. Within a batch spans are taken in order of time, though they arrive children
    first; what an earlier batch gave never changes. Each message is emitted once per run unless `history` is "all".
    """

    def __init__(self, history: str = "new", state: Json = None) -> None:
        self.all = history == "all"
        self.runs: dict[str, SpanRun] = {}
        self.trace_runs: dict[str, str] = {}
        self.delivered: dict[str, None] = {}
        if isinstance(state, dict):
            self.trace_runs = dict(state["traces"])
            self.delivered = dict.fromkeys(state.get("delivered", ()))
            for name, (iteration, idx, seen, calls, raised) in state["runs"].items():
                turns = Turns(run=name, iteration=iteration, idx=idx)
                self.runs[name] = SpanRun(turns, SeenPieces(seen), dict(calls), dict.fromkeys(raised))

    def state(self) -> Json:
        """Plain JSON from which another one resumes."""
        runs = {name: run.state() for name, run in self.runs.items()}
        return {"traces": self.trace_runs, "delivered": list(self.delivered), "runs": runs}

    def read(self, spans: Iterable[Span]) -> Iterator[Read]:
        """The records of one batch of spans."""
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
        ordered = sorted(batch.values(), key=lambda span: _LAST if span.start_ns is None else span.start_ns)
        tree = _SpanTree(ordered, self.trace_runs)
        for moment in sorted(_moments(ordered), key=lambda moment: (moment.at_ns, moment.phase)):
            run = self._run(tree.run_of(moment.span))
            yield from self._read_moment(run, moment, tree)
            run.seen.forget(MAX_KEYS)
        self._forget()

    def _is_new(self, key: Sequence[str], span: Span) -> bool:
        """Was no span like it delivered before? One that has ended or holds more since then is another."""
        content = "\0".join((*key, str(span.end_ns), span.status, str(len(span.inputs)), str(len(span.outputs))))
        digest = short_digest(content)
        if digest in self.delivered:
            return False
        self.delivered[digest] = None
        return True

    def _run(self, name: str) -> SpanRun:
        run = self.runs.pop(name, None) or SpanRun(Turns(run=name))
        self.runs[name] = run  # the latest is the last
        return run

    def _forget(self) -> None:
        known = sum(len(run.seen.emitted) for run in self.runs.values())
        while len(self.runs) > 1 and (len(self.runs) > MAX_RUNS or known > MAX_KEYS):
            oldest = next(iter(self.runs))
            known -= len(self.runs.pop(oldest).seen.emitted)
        _drop_oldest(self.delivered, MAX_SPANS)
        _drop_oldest(self.trace_runs, 2 * MAX_RUNS)

    def _read_moment(self, run: SpanRun, moment: _Moment, tree: _SpanTree) -> Iterator[Read]:
        span = moment.span
        if moment.failure is not None:
            yield self._failure(run, span, moment.failure, tree)
        elif moment.phase == _FINISH:
            yield from self._finish(run, span)
        elif span.role == "model":
            yield from self._model_call(run, span)
        elif span.role == "log":
            yield from self._emit(run, span, ((piece, True) for piece in span.inputs), span.start_ns)
        elif span.role == "tool":
            yield from self._emit(run, span, _check_tool(run, span.inputs), span.start_ns)
        else:
            yield self._span_record(run, span)
            inputs = span.inputs
            checked = _check_view(run, span, inputs) if len(inputs) == 1 else run.seen.new_in_history(inputs)
            yield from self._emit(run, span, checked, span.start_ns)

    def _finish(self, run: SpanRun, span: Span) -> Iterator[Read]:
        if span.role == "tool":
            checked = _check_tool(run, span.outputs)
        elif span.is_history:
            checked = run.seen.new_in_history(span.outputs)
        else:
            checked = _check_view(run, span, span.outputs)
        is_answering = False
        for piece, is_new in checked:
            is_generated = piece.type in GENERATED
            if is_new and is_generated and not is_answering and span.role == "other" and not run.calls:
                run.turns.respond()  # an agent reports the answers of model calls that were not logged
            is_answering = is_generated
            yield from self._emit(run, span, [(piece, is_new)], span.end_ns)

    def _model_call(self, run: SpanRun, span: Span) -> Iterator[Read]:
        """One call may be recorded by several spans, the outer ones around the inner: they share what it answered."""
        names = (span.span_id, span.parent_id, f"around {span.span_id}")
        known = next((run.calls[name] for name in names if name in run.calls), None)
        answered: dict[str, int] = {} if known is None else known
        yield from self._emit(run, span, run.seen.new_in_history(span.inputs), span.start_ns)
        yield from (ELIDED for _ in range(span.elided))
        if known is None:
            run.turns.respond()
        run.calls |= {span.span_id: answered, f"around {span.parent_id}": answered}
        _drop_oldest(run.calls, 2 * MAX_CALLS)
        yield from self._emit(run, span, _check_answers(run, span, answered), span.end_ns)
        if not span.inputs and not span.outputs and span.kind != LOGGED:
            yield self._span_record(run, span)

    def _emit(
        self, run: SpanRun, span: Span, checked: Iterable[tuple[Piece, bool]], at_ns: int | None
    ) -> Iterator[Read]:
        about: dict[str, Any] | None = None
        for piece, is_new in checked:
            if not is_new and not self.all:
                yield REPEATED
                continue
            about = about or about_span(span)
            when = piece.timestamp or time_in(span, at_ns)
            yield run.turns.event(piece.type, piece.text, when, {**about, **piece.extra})

    def _span_record(self, run: SpanRun, span: Span) -> Event:
        text = record_text(span)
        made = run.turns.event("span", text, time_in(span, span.start_ns), span_extra(span, text))
        former = former_record_text(span)
        return made._replace(former_text=former) if former != text else made

    def _failure(self, run: SpanRun, span: Span, failure: Failure, tree: _SpanTree) -> Read:
        digest = short_digest(failure.text, size=6)
        is_known = f"{span.span_id}:{digest}" in run.raised
        for name in tree.ancestry(span):  # an exception on its way up is recorded by each span it leaves
            run.raised[f"{name}:{digest}"] = None
        _drop_oldest(run.raised, MAX_CALLS)
        if is_known and not self.all:
            return REPEATED_FAILURE
        extra = about_span(span)
        if failure.stacktrace:
            extra["stacktrace"] = failure.stacktrace
        return run.turns.event("error", failure.text, time_in(span, failure.at_ns or span.end_ns), extra)


def span_extra(span: Span, text: str) -> dict[str, Any]:
    """What is kept of a span beside the text of its own record."""
    extra = about_span(span)
    if span.message:
        extra["status_message"] = span.message
    if span.events:
        extra["events"] = list(span.events)
    if ids := keys_of(tuple(span.attributes)).ids:
        extra["ids"] = {key: span.attributes[key] for key in ids}
    if unseen := unseen_attributes(span, text):
        extra["attributes"] = unseen
    return extra


def _check_tool(run: SpanRun, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
    return ((piece, run.seen.new_tool(piece)) for piece in pieces)


def _check_view(run: SpanRun, span: Span, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
    return ((piece, run.seen.new_in_view(span.name, piece)) for piece in pieces)


def _check_answers(run: SpanRun, span: Span, answered: dict[str, int]) -> Iterator[tuple[Piece, bool]]:
    count: dict[str, int] = {}
    for piece in span.outputs:
        key = key_of(piece)
        count[key] = n = count.get(key, 0) + 1
        if n <= answered.get(key, 0):
            yield piece, False
        else:
            answered[key] = n
            yield piece, run.seen.new_answer(piece)


def _drop_oldest(memory: dict[str, Any], limit: int) -> None:
    while len(memory) > limit:
        del memory[next(iter(memory))]


# --- order and nesting -------------------------------------------------------------------------------------------

_BEGIN, _FAIL, _FINISH = range(3)
_LAST: Final = 2**63


@dataclass(frozen=True, slots=True)
class _Moment:
    at_ns: int
    phase: int
    span: Span
    failure: Failure | None = None


def _moments(spans: Iterable[Span]) -> Iterator[_Moment]:
    """When something happens: each span begins; an answer or a result comes at its end, a failure when it happens.

    What comes at the end of a span that has none is last.
    """
    for span in spans:
        start = _LAST if span.start_ns is None else span.start_ns
        end = _LAST if span.end_ns is None else max(span.end_ns, start)
        yield _Moment(start, _BEGIN, span)
        for failure in _failures(span):
            yield _Moment(min(max(failure.at_ns or end, start), end), _FAIL, span, failure)
        if span.outputs and span.role != "model":
            yield _Moment(end, _FINISH, span)


def _failures(span: Span) -> Sequence[Failure]:
    if span.failures or span.role == "other" or span.status != "ERROR" or not span.message.strip():
        return span.failures
    return (Failure(text=span.message),)


class _SpanTree:
    """Which span of a batch is within which, and so to which run each belongs."""

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
