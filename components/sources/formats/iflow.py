"""iFlow CLI sessions: lines like those of Claude Code, but for streamed answers and results of tools.

An answer is written several times while its calls go out: each line repeats the calls that are open. A tool's result is
the structure that the program keeps of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from components.contracts import Json, Skipped
from components.sources.formats import claude_code
from components.sources.formats.content import response_text
from components.sources.formats.contract import Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import guard_read
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping

REPEATED: Final = Skipped(rule="call that the streamed answer repeats")
BURST: Final = timedelta(seconds=1)  # between the lines of one answer
MAX_CALLS: Final = 500  # that are remembered
_RESPONSE_ID: Final = re.compile(r"response-\d{10,}")


def _recognise(head: Head) -> Verdict:
    n = sum(map(_is_own, head.lines))
    if n:
        return accept(f"{n} lines of a session with iFlow's response ids or structured results")
    return decline("no line with a response id or a structured result of iFlow")


def _is_own(line: Json) -> bool:
    message = mapping(mapping(line).get("message"))
    session = mapping(line).get("sessionId")
    if not isinstance(session, str):
        return False
    if session.startswith("session-") and "uuid" in line and message:
        return True
    if isinstance(id := message.get("id"), str) and _RESPONSE_ID.match(id):
        return True
    return any(
        isinstance(content := mapping(block).get("content"), dict) and not content.keys().isdisjoint(_RESULT_KEYS)
        for block in listed(message.get("content"))
    )


_RESULT_KEYS: Final = frozenset({"responseParts", "functionResponse"})


class Reader:
    """Undoes what iFlow does differently, and leaves the rest to Claude Code's reader."""

    def __init__(self, state: Json, options: Options) -> None:
        state = state or (None, [], ["", None, ""])
        inner, calls, burst = state
        self.inner = claude_code.Reader(inner, options)
        self.calls: dict[str, None] = dict.fromkeys(calls)
        self.parent, began, self.response = burst
        self.last = timestamp(began)

    def state(self) -> Json:
        """That of the inner reader, the latest calls, and the answer that may go on."""
        last = self.last.isoformat() if self.last else None
        return [self.inner.state(), list(self.calls), [self.parent, last, self.response]]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one line becomes."""
        message = mapping(mapping(item).get("message"))
        if not isinstance(message.get("content"), list):
            return self.inner.read(item)
        if item.get("type") == "assistant":
            return self._answer(item, message)
        blocks = [_with_text(block) for block in message["content"]]
        return self.inner.read({**item, "message": {**message, "content": blocks}})

    def _answer(self, item: Mapping[str, Any], message: Mapping[str, Any]) -> list[Read]:
        blocks = [block for block in message["content"] if not self._is_repeated(block)]
        skipped: list[Read] = [REPEATED] * (len(message["content"]) - len(blocks))
        if not blocks and skipped:
            return skipped
        inner = {**message, "content": blocks, "id": self._response_of(item, message)}
        return [*self.inner.read({**item, "message": inner}), *skipped]

    def _is_repeated(self, block: Json) -> bool:
        id = mapping(block).get("id")
        if mapping(block).get("type") != "tool_use" or not isinstance(id, str):
            return False
        if id in self.calls:
            return True
        self.calls[id] = None
        if len(self.calls) > MAX_CALLS:
            del self.calls[next(iter(self.calls))]
        return False

    def _response_of(self, item: Mapping[str, Any], message: Mapping[str, Any]) -> str:
        """The id of the answer that the line continues, or its own."""
        parent, when = str(item.get("parentUuid")), timestamp(item.get("timestamp"))
        if parent != self.parent or not _is_soon(self.last, when):
            self.response = str(message.get("id") or item.get("uuid"))
        self.parent, self.last = parent, when
        return str(self.response)


def _is_soon(last: datetime | None, when: datetime | None) -> bool:
    if last is None or when is None or (last.tzinfo is None) != (when.tzinfo is None):
        return False
    return abs(when - last) < BURST


def _with_text(block: Json) -> Json:
    """A tool's result whose content is text."""
    content = mapping(block).get("content")
    if not isinstance(content, dict):
        return block
    parts = content.get("responseParts", content)
    parts = parts if isinstance(parts, list) else [parts]
    text = "\n".join(map(response_text, parts))
    return {**block, "content": text, "is_error": block.get("is_error") or any(map(_failed, parts))}


def _failed(part: Json) -> bool:
    response = mapping(mapping(mapping(part).get("functionResponse")).get("response"))
    return bool(response.get("error")) and "output" not in response


ROWS: tuple[Format, ...] = (Format(name="iflow", shape="lines", recognises=_recognise, reader=Reader),)
