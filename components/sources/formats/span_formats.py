"""What formats of spans share: a document or a line becomes `Span`s, which are read as runs; their end marks.

Such a format is a function that finds the spans in an item, as `Span`, `Defect` or `Skipped`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from components.contracts import Json
from components.sources.formats.contract import End, Options, Read
from components.sources.formats.defects import guarded
from components.sources.formats.span_runs import Found, SpanRuns
from components.sources.formats.spans import Span

FindSpans = Callable[[Json], Iterable[Found]]


def _read(found: Iterable[Found], runs: SpanRuns) -> Iterator[Read]:
    spans: list[Span] = []
    for each in found:
        if isinstance(each, Span):
            spans.append(each)
        else:
            yield each
    yield from runs.read(spans)


def span_document(find: FindSpans) -> Callable[[Json, Options], Iterator[Read]]:
    """The `read` of a format whose document holds the spans that `find` gives."""

    def read(document: Json, options: Options) -> Iterator[Read]:
        return guarded(0, _read(find(document), SpanRuns(options.history)))

    return read


@dataclass(frozen=True, slots=True)
class SpanLines:
    """Reads spans line by line; its state is what it remembers of open runs."""

    find: FindSpans
    runs: SpanRuns

    def read(self, item: Json) -> Iterator[Read]:
        """What the spans of one line become."""
        return guarded(0, _read(self.find(item), self.runs))

    def state(self) -> Json:
        """Plain JSON from which another reader resumes."""
        return self.runs.state()


def span_lines(find: FindSpans) -> Callable[[Json, Options], SpanLines]:
    """The `reader` of a format whose lines hold the spans that `find` gives."""

    def reader(state: Json, options: Options) -> SpanLines:
        return SpanLines(find, SpanRuns(options.history, state))

    return reader


def parsed_spans(found: Iterable[Found]) -> Iterator[Span]:
    """The spans among what was found, up to an item that is nested too deeply to be read."""
    try:
        yield from (each for each in found if isinstance(each, Span))
    except RecursionError:
        return


def root_span_end(spans: Iterable[tuple[str, bool]]) -> End:
    """The end mark of traces, given each span's trace id and whether it is a root.

    A span is exported when it ends, the root last: a trace without its root is still running.
    """
    traces: dict[str, bool] = {}
    for trace_id, is_root in spans:
        traces[trace_id] = traces.get(trace_id, False) or is_root
    running = sum(not done for done in traces.values())
    if not traces or running:
        return End(mark=False, reason=f"{running} of {len(traces)} traces have no root span yet")
    return End(mark=True, reason="every trace has its root span")


def end_time_end(running: int, total: int, what: str) -> End:
    """The end mark of an export whose items get an end time when they are over."""
    if running or not total:
        return End(mark=False, reason=f"{running} of {total} {what}s have no end time yet")
    return End(mark=True, reason=f"every {what} has its end time")
