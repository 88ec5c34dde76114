"""opencode: what `opencode export` writes, and the sessions of its database or storage folder, one item a line.

A message is made of parts, which change in place until they are complete. Steps, patches and snapshots hold no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import BOOKKEEPING, UNKNOWN_LINE, guard_read, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, first_of, listed, mapping, mostly, total

NO_TEXT: Final = frozenset({"step-finish", "patch", "snapshot", "agent", "compaction", "step-start"})
IGNORED: Final = Skipped(rule="text that is not shown to the model")
UNFINISHED: Final = Skipped(rule="tool call that is still being written")
ALONE: Final = Skipped(
    rule="single message or part of a session; load the folder `storage` that holds it", is_unknown=True
)
LINE_KEYS: Final = ("session", "message", "part", "failure")


def _is_line(line: Json) -> bool:
    about = mapping(line)
    return len(about) == 1 and next(iter(about)) in LINE_KEYS and isinstance(next(iter(about.values())), dict)


def _recognise_lines(head: Head) -> Verdict:
    first = mapping(mapping(head.lines[0]).get("session")) if head.lines else {}
    if "id" in first and mostly(head.lines, _is_line):
        return accept(f"the session {first['id']}, then its messages and parts")
    return decline("no session that messages and parts follow")


def _recognise_export(head: Head) -> Verdict:
    about = mapping(head.document)
    messages = listed(about.get("messages"))
    is_named = "id" in mapping(about.get("info")) and "messages" in about
    if is_named and (not messages or mostly(messages, lambda one: {"info", "parts"} <= mapping(one).keys())):
        return accept(f"an exported session with {len(messages)} messages of parts")
    return decline("no exported session whose messages have parts")


def _recognise_fragment(head: Head) -> Verdict:
    about = mapping(head.document)
    if not isinstance(about.get("id"), str):
        return decline("no message, part or session of opencode's storage")
    is_part = isinstance(about.get("type"), str) and isinstance(about.get("messageID"), str)
    is_bare_part = about.keys() <= {"id", "type", "text", "time", "synthetic"} and {"type", "text"} <= about.keys()
    is_message = "sessionID" in about and isinstance(about.get("role"), str) and "content" not in about
    is_session = "projectID" in about and "directory" in about and isinstance(about.get("time"), dict)
    if is_part or is_message or is_session or (is_bare_part and isinstance(about.get("time"), dict)):
        return accept("a single file of a session that opencode keeps in many files")
    return decline("no message, part or session of opencode's storage")


class Reader:
    """The items of one session: the session itself, then each message before its parts."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, "user", {}, None, False)
        session, self.role, self.about, self.when, self.is_fresh = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, and the message whose parts may follow."""
        return [self.session.state(), self.role, self.about, self.when, self.is_fresh]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one item becomes."""
        key, value = next(iter(mapping(item).items()), ("", None))
        if not isinstance(value, dict):
            return [not_an_object(0, value)]
        if key == "session":
            parent = first_of(value, "parentID", "parent_id")
            project, title = value.get("directory"), value.get("title")
            self.session.know(run=value.get("id"), project=project, title=title, parent=parent)
            return [BOOKKEEPING]
        if key == "message":
            return self._message(value)
        if key == "failure":
            return self._failure(value)
        return self._part(value) if key == "part" else [UNKNOWN_LINE]

    def _message(self, info: Mapping[str, Json]) -> list[Read]:
        role = info.get("role")
        self.role = role if isinstance(role, str) and role else "user"
        self.when = first_of(mapping(info.get("time")), "created", "completed")
        model = first_of(info, "modelID") or mapping(info.get("model")).get("modelID")
        self.about = filled_scalars({"model": model, "agent": info.get("agent")})
        if self.role == "assistant":
            self.session.respond()
            self.is_fresh = True
            cost = info.get("cost")
            tokens = total(mapping(info.get("tokens")), "input", "output", "reasoning")
            self.session.once = {"tokens": tokens, "cost": cost if isinstance(cost, int | float) else None}
            if info.get("summary") is True:
                self.role = "summary"
        return [BOOKKEEPING]

    def _failure(self, error: Mapping[str, Json]) -> list[Read]:
        """Why a message has no end."""
        text = text_of(mapping(error.get("data")).get("message") or error.get("message") or error.get("name"))
        return self.session.record("error", text, timestamp(self.when), {**self.about, "error": error.get("name")})

    def _part(self, part: Mapping[str, Json]) -> list[Read]:
        kind = part.get("type")
        when = timestamp(mapping(part.get("time")).get("start") or self.when)
        if kind == "step-start" and self.role == "assistant" and not self.is_fresh:
            self.session.respond()
        if kind == "text":
            return self._text(part, when)
        if kind == "reasoning":
            self.is_fresh = False
            return self.session.record("reasoning", text_of(part.get("text")), when, self.about)
        if kind == "tool":
            self.is_fresh = False
            return self._tool(part, mapping(part.get("state")), when)
        if kind == "subtask":
            arguments = {key: part[key] for key in ("description", "prompt", "agent") if key in part}
            return self.session.call(part.get("id"), "task", arguments, when, self.about)
        if kind == "file":
            name = first_of(part, "filename", "url")
            text = f"[file] {name}" if isinstance(name, str) and not name.startswith("data:") else "[file]"
            return self.session.record("user" if self.role == "user" else "system", text, when)
        if kind == "retry":
            error = mapping(mapping(part.get("error")).get("data")).get("message")
            return self.session.record("error", text_of(error), when)
        is_known = isinstance(kind, str) and kind in NO_TEXT
        return [Skipped(rule=f"{kind} part") if is_known else Skipped(rule="part of another type", is_unknown=True)]

    def _text(self, part: Mapping[str, Json], when: datetime | None) -> list[Read]:
        text = text_of(part.get("text"))
        if part.get("ignored") is True:
            return [IGNORED]
        if self.role in ("assistant", "summary"):
            self.is_fresh = False
            return self.session.record(self.role, text, when, self.about)
        is_added = part.get("synthetic") is True
        return self.session.input("system" if is_added else self.role, text, when)

    def _tool(self, part: Mapping[str, Json], state: Mapping[str, Json], when: datetime | None) -> list[Read]:
        status, times = state.get("status"), mapping(state.get("time"))
        if status == "pending":
            return [UNFINISHED]
        began, ended = timestamp(times.get("start")) or when, timestamp(times.get("end")) or when
        got = self.session.call(part.get("callID"), part.get("tool"), state.get("input"), began, self.about)
        if status not in ("completed", "error"):
            return got
        result = first_of(state, "output", "error") if status == "completed" else first_of(state, "error", "output")
        more = {"exit_code": mapping(state.get("metadata")).get("exit")}
        return got + self.session.result(part.get("callID"), result, ended, failed=status == "error", more=more)


def _read_export(document: Json, options: Options) -> Iterator[Read]:
    reader, about = Reader(None, options), mapping(document)
    yield from reader.read({"session": about.get("info")})
    for message in listed(about.get("messages")):
        yield from reader.read({"message": mapping(message).get("info")})
        for part in listed(mapping(message).get("parts")):
            yield from reader.read({"part": part})
        if error := mapping(mapping(message).get("info")).get("error"):
            yield from reader.read({"failure": error})


def _read_fragment(_: Json, __: Options) -> Iterator[Read]:
    yield ALONE


ROWS: tuple[Format, ...] = (
    Format(name="opencode", shape="lines", recognises=_recognise_lines, reader=Reader),
    Format(name="opencode", shape="document", recognises=_recognise_export, read=_read_export),
    Format(name="opencode", shape="document", recognises=_recognise_fragment, read=_read_fragment),
)
