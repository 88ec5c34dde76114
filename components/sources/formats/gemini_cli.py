"""Gemini CLI sessions: one JSON document that is rewritten as it grows, or (newer, by documentation) JSONL.

A message of type `gemini` is a model response with its thoughts and its tool calls, which carry their own results. The
JSONL shape writes a message again when a tool has finished; then only what it did not hold before is new. Update lines
change the session: `$set` may replace all its messages, of which the new ones are read, and `$rewindTo` takes messages
back, which stay as they were read; the next message is marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import response_text, text_of, tool_call
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.deduplication import short_digest
from components.sources.formats.defects import BOOKKEEPING, EMPTY, REPEATED, guarded, not_an_object
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, listed, mapping, mostly

TYPES: Final = {"user": "user", "gemini": "assistant", "info": "info", "error": "error", "warning": "warning"}
FAILED: Final = frozenset({"error", "cancelled"})
REWIND: Final = Skipped(rule="mark that takes messages back; they stay")
SUMMARY: Final = Skipped(rule="summary of the session beside its messages")
UNKNOWN_UPDATE: Final = Skipped(rule="update that the format does not know", is_unknown=True)
NO_CALL: Final = Skipped(rule="tool call that is no object", is_unknown=True)
MAX_KNOWN: Final = 5_000  # messages whose parts are remembered, for when they are written again


def _is_message(item: Json) -> bool:
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return (
        isinstance(kind, str) and kind in TYPES and "timestamp" in item and ("content" in item or "toolCalls" in item)
    )


def _is_header(item: Json) -> bool:
    return isinstance(item, dict) and isinstance(item.get("sessionId"), str) and "projectHash" in item


def _recognise(head: Head) -> Verdict:
    document = head.document
    messages = document.get("messages") if isinstance(document, dict) and "sessionId" in document else None
    if isinstance(messages, list) and (mostly(messages, _is_message) or (not messages and _is_header(document))):
        return accept("sessionId and messages of type user or gemini")
    return decline("no sessionId beside messages of type user or gemini")


def _recognise_lines(head: Head) -> Verdict:
    lines = [line for line in head.lines if not _is_update(line)]
    if lines and _is_header(lines[0]) and all(map(_is_message, lines[1:20])):
        return accept("a header with sessionId and projectHash, then messages of type user or gemini")
    return decline("no header with sessionId and projectHash on the first line")


def _is_update(item: Json) -> bool:
    return isinstance(item, dict) and "type" not in item and any(str(key).startswith("$") for key in item)


@dataclass(slots=True)
class Session:
    """The messages of one session in their order."""

    turns: Turns = field(default_factory=Turns)
    session: str = ""
    open: str = ""  # the latest response
    rewound_to: str = ""  # message from which on all was taken back, until the next one is read
    known: dict[str, list[str]] = field(default_factory=dict)  # message id -> digests of its parts

    def read(self, item: Json, place: int = 0) -> Iterator[Read]:
        """What one message, or one line of the JSONL shape, becomes."""
        if not isinstance(item, dict):
            yield not_an_object(place, item)
        elif _is_update(item):
            yield from self._update(item)
        elif "type" not in item and _is_header(item):
            self.session = str(item.get("sessionId") or self.session)
            yield BOOKKEEPING
            for index, message in enumerate(listed(item.get("messages"))):  # a whole session on one line
                yield from self.read(message, index)
        else:
            yield from guarded(place, self._message(item))

    def _update(self, item: Mapping[str, Json]) -> Iterator[Read]:
        """A line that changes the session: `$set` with its new values, `$rewindTo` with a message's id."""
        for key, value in item.items():
            if not key.startswith("$"):
                continue
            if key == "$rewindTo":
                self.rewound_to = str(value)
                yield REWIND
            elif key == "$set" and isinstance(value, dict):
                yield from self._set(value)
            else:
                yield UNKNOWN_UPDATE

    def _set(self, values: Mapping[str, Json]) -> Iterator[Read]:
        """The session's new values. It may hold all its messages again, changed by a compression of the history."""
        self.session = str(values.get("sessionId") or self.session)
        messages = values.get("messages")
        for place, message in enumerate(listed(messages)):
            if isinstance(message, dict):
                yield from guarded(place, self._message(message, in_batch=True))
            else:
                yield not_an_object(place, message)
        if values.get("summary"):
            yield SUMMARY
        elif not isinstance(messages, list):
            yield BOOKKEEPING

    def _message(self, message: Mapping[str, Json], *, in_batch: bool = False) -> Iterator[Read]:
        name, kind = str(message.get("id") or ""), message.get("type")
        before = self.known.get(name) if name else None
        extra = self._extra(message)
        parts = list(_parts(message))
        digests = [short_digest(f"{part.type}\0{part.text}") for part in parts]
        if in_batch and before is not None and all(digest in before for digest in digests):
            yield from (REPEATED for _ in digests or [""])
            return
        if kind == "gemini":
            if before is None or self.open != name:
                self.turns.respond()
            self.open = name
        if self.rewound_to and parts:
            extra["rewound_to"], self.rewound_to = self.rewound_to, ""
        for part, digest in zip(parts, digests, strict=True):
            if before is not None and digest in before:
                yield REPEATED
            else:
                when = part.when or timestamp(message.get("timestamp"))
                yield self.turns.event(part.type, part.text, when, {**extra, **part.extra})
        if not parts:
            yield EMPTY
        yield from (NO_CALL for call in listed(message.get("toolCalls")) if not isinstance(call, dict))
        if name:
            self.known.pop(name, None)
            self.known[name] = [*(before or []), *(digest for digest in digests if digest not in (before or ()))]
            while len(self.known) > MAX_KNOWN:
                del self.known[next(iter(self.known))]

    def _extra(self, message: Mapping[str, Json]) -> dict[str, Json]:
        tokens = mapping(message.get("tokens"))
        found = {
            "session": self.session,
            "model": message.get("model"),
            "tokens_in": tokens.get("input"),
            "tokens_out": tokens.get("output"),
        }
        return filled_scalars(found)

    def state(self) -> Json:
        """The numbering, the session, and the messages that may be written again."""
        return [self.turns.iteration, self.turns.idx, self.session, self.open, self.known, self.rewound_to]


@dataclass(frozen=True, slots=True)
class _Part:
    type: str
    text: str
    when: datetime | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


def _parts(message: Mapping[str, Json]) -> Iterator[_Part]:
    """A message's parts that can be read: thoughts, text, then each call with its result."""
    for part in _all_parts(message):
        if part.text and not part.text.isspace():
            yield part


def _all_parts(message: Mapping[str, Json]) -> Iterator[_Part]:
    for thought in listed(message.get("thoughts")):
        about = mapping(thought)
        texts = [text_of(about.get(key)) for key in ("subject", "description")] if about else [text_of(thought)]
        yield _Part("reasoning", "\n".join(filter(None, texts)), timestamp(about.get("timestamp")))
    kind = message.get("type")
    yield _Part(TYPES.get(kind, kind) if isinstance(kind, str) and kind else "user", text_of(message.get("content")))
    for call in listed(message.get("toolCalls")):
        yield from _call(mapping(call))


def _call(call: Mapping[str, Json]) -> Iterator[_Part]:
    name, when = call.get("name"), timestamp(call.get("timestamp"))
    found = {"tool": name, "call_id": call.get("id"), "status": call.get("status")}
    extra = {key: value for key, value in found.items() if isinstance(value, str)}
    yield _Part("tool_call", tool_call(name, call.get("args")), when, extra)
    status = call.get("status")
    failed = isinstance(status, str) and status in FAILED
    yield _Part("error" if failed else "tool_result", _result(call.get("result")), when, extra)


def _result(result: Json) -> str:
    parts = result if isinstance(result, list) else [result]
    return "\n".join(text for part in parts if (text := response_text(part)))


def _read(document: Json, _: Options) -> Iterator[Read]:
    about = mapping(document)
    session = Session(session=str(about.get("sessionId") or ""))
    messages = about.get("messages")
    for place, message in enumerate(listed(messages)):
        yield from session.read(message, place)
    if not isinstance(messages, list):
        yield not_an_object(0, document)
    if about.get("summary"):
        yield SUMMARY


def _reader(state: Json, _: Options) -> Session:
    if not state:
        return Session()
    iteration, idx, session, last, known, *rest = state
    rewound_to = rest[0] if rest else ""  # states of earlier versions end before it
    return Session(Turns(iteration=iteration, idx=idx), session, last, rewound_to, dict(known))


ROWS: tuple[Format, ...] = (
    Format(name="gemini_cli", shape="document", recognises=_recognise, read=_read),
    Format(name="gemini_cli", shape="lines", recognises=_recognise_lines, reader=_reader),
)
