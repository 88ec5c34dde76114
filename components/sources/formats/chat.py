"""Chat logs: OpenAI, Anthropic and ShareGPT messages, as one run, a list of runs, bare messages, JSONL, or a request log.

A run is anything with a list of messages (`chat_items`), which `messages` reads. A log of requests repeats the
conversation in each of them; it is read once (`chat_runs`). Answers that were logged as they streamed are joined (`chat_streams`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from components.contracts import Event, Json
from components.sources.formats.chat_items import is_answer, messages_of
from components.sources.formats.chat_runs import ChatRuns, runs_from
from components.sources.formats.chat_streams import PART, Streams, is_chunk, joined
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.message_parts import is_message
from components.sources.formats.messages import Conversation, read_messages
from components.sources.formats.values import mostly


def _is_run(item: Json) -> bool:
    if is_answer(item):
        return True
    messages = messages_of(item)
    return messages is not None and mostly(messages, is_message)


def _dialect(item: Json) -> str:
    if is_answer(item):
        return "answers of a model"
    messages = [m for m in (messages_of(item) or item)[:20] if isinstance(m, dict)]
    if any("from" in message for message in messages):
        return "ShareGPT turns (from, value)"
    blocks = [b for m in messages if isinstance(c := m.get("content"), list) for b in c if isinstance(b, dict)]
    if any(b.get("type") in ("tool_use", "tool_result", "thinking") for b in blocks):
        return "Anthropic messages (role, content blocks)"
    return "chat messages (role, content)"


def _recognise_lines(head: Head) -> Verdict:
    lines = head.lines
    n_runs = sum(map(_is_run, lines))
    if n_runs and n_runs * 2 >= len(lines):
        return accept(f"{n_runs} of {len(lines)} lines hold {_dialect(next(filter(_is_run, lines)))}")
    n_messages = sum(map(is_message, lines))
    if n_messages and n_messages * 10 >= len(lines) * 9:
        return accept(f"{n_messages} of {len(lines)} lines are chat messages")
    n_chunks = sum(map(is_chunk, lines))
    if n_chunks and n_chunks * 10 >= len(lines) * 9:
        return accept(f"{n_chunks} of {len(lines)} lines are parts of streamed answers")
    return decline("neither runs (messages or conversations) nor messages with a known role on its lines")


def _recognise_document(head: Head) -> Verdict:
    document = head.document
    if isinstance(document, dict) and _is_run(document):
        return accept(f"one run of {_dialect(document)}")
    if isinstance(document, list) and document:
        if mostly(document, is_message):
            return accept(f"a list of {_dialect(document)}")
        if mostly(document, is_chunk):
            return accept("a list of parts of streamed answers")
        if mostly(document, _is_run):
            return accept(f"a list of runs of {_dialect(next(filter(_is_run, document)))}")
    return decline("no messages or conversations whose items have a known role")


@dataclass(slots=True)
class _Lines:
    """JSONL of runs or requests, or of the messages of one run."""

    runs: ChatRuns
    bare: Conversation
    streams: Streams = field(default_factory=Streams)

    def read(self, item: Json) -> Iterable[Read]:
        if is_chunk(item):
            return [read for message in self.streams.add(item) for read in self.bare.read(message)] or [PART]
        if not self.streams.open:
            return self._read(item)
        cut = [read for message in self.streams.cut() for read in self.bare.read(message)]
        return [*cut, *self._read(item)]

    def _read(self, item: Json) -> Iterable[Read]:
        if is_message(item) and not _is_run(item):
            return self.bare.read(item)
        return self.runs.read(item)

    def state(self) -> Json:
        turns = self.bare.turns
        bare = [turns.iteration, turns.idx, self.bare.answering]
        return {"runs": self.runs.state(), "bare": bare, "streams": self.streams.open}


def _reader(state: Json, options: Options) -> _Lines:
    runs = runs_from(state and state["runs"], options.history)
    iteration, idx, answering = state["bare"] if state else (0, 0, False)
    conversation = Conversation(turns=Turns(iteration=iteration, idx=idx), answering=answering)
    return _Lines(runs, conversation, Streams(dict(state.get("streams", {})) if state else {}))


def _read(document: Json, options: Options) -> Iterator[Read]:
    if isinstance(document, list) and mostly(document, is_message):
        yield from read_messages(document)
    elif isinstance(document, list) and mostly(document, is_chunk):
        yield from read_messages(joined(document))
    elif isinstance(document, list):
        runs = ChatRuns(history=options.history)
        for place, item in enumerate(document):
            yield from runs.read(item, place)
    else:
        yield from (
            read._replace(run="") if isinstance(read, Event) else read for read in ChatRuns("all").read(document)
        )


ROWS: tuple[Format, ...] = (
    Format(name="chat", shape="lines", recognises=_recognise_lines, reader=_reader),
    Format(name="chat", shape="document", recognises=_recognise_document, read=_read),
)
