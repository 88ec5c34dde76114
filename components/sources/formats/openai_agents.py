"""Traces of OpenAI's Agents SDK, as its processors write them: traces and spans, one a line or in a list.

Each generation repeats the conversation before it; what is new in it is read. A span comes when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import SeenPieces
from components.sources.formats.defects import BOOKKEEPING, REPEATED, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.payloads import pieces_of_messages
from components.sources.formats.pieces import GENERATED, Piece, piece_if_text
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, listed, mapping, mostly, total

MAX_TRACES: Final = 200  # that are remembered, and messages of each
MAX_MESSAGES: Final = 5_000


def _is_item(item: Json) -> bool:
    about = mapping(item)
    kind = about.get("object")
    return (kind == "trace" and "id" in about) or (kind == "trace.span" and "trace_id" in about)


def _items(document: Json) -> list[Json]:
    if isinstance(document, list):
        return document
    about = mapping(document)
    trace = [about["trace"]] if isinstance(about.get("trace"), dict) else []
    return [*trace, *(listed(about.get("data")) or listed(about.get("spans")))]


def _recognise(head: Head) -> Verdict:
    items = head.lines if head.shape == "lines" else _items(head.document)
    spans = [item for item in items if mapping(item).get("object") == "trace.span"]
    if spans and mostly(items, _is_item):
        return accept(f"{len(spans)} spans of OpenAI's Agents SDK")
    return decline("no spans with the object 'trace.span'")


class Reader:
    """Remembers of each trace its numbers and what was read of its conversation."""

    def __init__(self, state: Json, options: Options) -> None:
        self.is_all = options.history == "all"
        self.runs: dict[str, tuple[Turns, SeenPieces]] = {
            run: (Turns(run=run, iteration=iteration, idx=idx), SeenPieces(seen))
            for run, (iteration, idx, seen) in (state or {}).items()
        }

    def state(self) -> Json:
        """The numbers of each trace, and what was seen of it."""
        return {run: [turns.iteration, turns.idx, seen.state()] for run, (turns, seen) in self.runs.items()}

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one trace or span becomes."""
        if not isinstance(item, dict):
            return [not_an_object(0, item)]
        if not _is_item(item):
            return [UNKNOWN_LINE]
        if item["object"] == "trace":
            return [BOOKKEEPING]
        turns, seen = self._run(str(item["trace_id"]))
        got = list(self._span(item, mapping(item.get("span_data")), turns, seen))
        seen.forget(MAX_MESSAGES)
        return got

    def _run(self, trace: str) -> tuple[Turns, SeenPieces]:
        if trace not in self.runs:
            self.runs[trace] = (Turns(run=trace), SeenPieces())
            if len(self.runs) > MAX_TRACES:
                del self.runs[next(iter(self.runs))]
        return self.runs[trace]

    def _span(
        self, span: Mapping[str, Any], data: Mapping[str, Json], turns: Turns, seen: SeenPieces
    ) -> Iterator[Read]:
        kind, began, ended = data.get("type"), timestamp(span.get("started_at")), timestamp(span.get("ended_at"))
        about: dict[str, Any] = {"run": turns.run}
        if kind in ("generation", "response"):
            yield from self._generation(data, turns, seen, began, ended)
        elif kind == "function":
            name = data.get("name")
            call = Piece("tool_call", tool_call(name, data.get("input")), filled_scalars({"tool": name}), began)
            result = piece_if_text("tool_result", text_of(data.get("output")))
            for piece in [call, *result]:
                is_new = seen.new_tool(piece) or self.is_all
                more = {**about, **filled_scalars({"tool": name})}
                yield turns.event(piece.type, piece.text, piece.timestamp or ended, more) if is_new else REPEATED
        else:
            yield Skipped(rule=f"{kind} span" if isinstance(kind, str) else "span without a type")
        if error := text_of(mapping(span.get("error")).get("message")):
            yield turns.event("error", error, ended, about)

    def _generation(
        self, data: Mapping[str, Json], turns: Turns, seen: SeenPieces, began: datetime | None, ended: datetime | None
    ) -> Iterator[Read]:
        about: dict[str, Any] = {"run": turns.run, **filled_scalars({"model": data.get("model")})}
        if not data.get("input") and not data.get("output"):
            yield Skipped(rule="content not captured")
        for piece, is_new in seen.new_in_history(pieces_of_messages(data.get("input"), "user")):
            if not (is_new or self.is_all):
                yield REPEATED
                continue
            if piece.type in GENERATED:
                turns.respond()
            yield turns.event(piece.type, piece.text, piece.timestamp or began, {**about, **piece.extra})
        spent = filled_scalars({"tokens": total(mapping(data.get("usage")), "input_tokens", "output_tokens")})
        answers = [piece for piece in pieces_of_messages(data.get("output"), "assistant") if seen.new_answer(piece)]
        if answers:
            turns.respond()
        for n, piece in enumerate(answers):
            more = {**about, **piece.extra, **({} if n else spent)}
            yield turns.event(piece.type, piece.text, piece.timestamp or ended, more)


def _read(document: Json, options: Options) -> Iterator[Read]:
    reader = Reader(None, options)
    for item in _items(document):
        yield from reader.read(item)


ROWS: tuple[Format, ...] = (
    Format(name="openai_agents", shape="lines", recognises=_recognise, reader=Reader),
    Format(name="openai_agents", shape="document", recognises=_recognise, read=_read),
)
