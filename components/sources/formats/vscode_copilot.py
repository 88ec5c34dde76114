"""Chats of VS Code with Copilot (`chatSessions/<id>.json`), and the journal that newer versions write (`.jsonl`).

The journal is a list of changes to one session: 0 is all of it, 1 sets what is at a path, 2 adds to a list, 3 deletes.
A prompt is read when its request is added, the answer once the request has its result or another one follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Final

from components.contracts import Json, Skipped
from components.sources.formats.content import text_of
from components.sources.formats.contract import End, Format, Head, Options, Read, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, UNKNOWN_LINE, guard_read, guarded, not_an_object
from components.sources.formats.sessions import Session
from components.sources.formats.times import timestamp
from components.sources.formats.values import first_of, listed, mapping, mostly, total

NO_TEXT: Final = frozenset(
    {
        *("undoStop", "textEditGroup", "codeblockUri", "prepareToolInvocation", "progressMessage", "notebookEditGroup"),
        *("mcpServersStarting", "confirmation", "command", "progressTask", "progressTaskSerialized"),
        *("extensions", "pullRequest", "multiDiffData", "treeData", "codeCitation", "markdownVuln", "elicitation"),
    }
)
CHANGE: Final = Skipped(rule="change of what was read before")
SETTING: Final = Skipped(rule="state of the editor")
INITIAL, SET, PUSH, DELETE = 0, 1, 2, 3


def _is_session(value: Json) -> bool:
    about = mapping(value)
    requests = about.get("requests")
    if not isinstance(requests, list) or not ("sessionId" in about or "creationDate" in about):
        return False
    return not requests or mostly(requests, lambda one: "message" in mapping(one) and "response" in mapping(one))


def _recognise(head: Head) -> Verdict:
    if _is_session(head.document):
        return accept(f"a session with {len(head.document['requests'])} requests and their responses")
    return decline("no session with requests and their responses")


def _is_change(line: Json) -> bool:
    kind = mapping(line).get("kind")
    return not isinstance(kind, bool) and kind in (INITIAL, SET, PUSH, DELETE) and ("v" in line or "k" in line)


def _recognise_lines(head: Head) -> Verdict:
    first = mapping(head.lines[0]) if head.lines else {}
    if first.get("kind") == INITIAL and _is_session(first.get("v")) and mostly(head.lines, _is_change):
        return accept(f"a session, then {len(head.lines) - 1} changes to it")
    return decline("the first line is no session that changes follow")


def _prompt(session: Session, request: Mapping[str, Json]) -> list[Read]:
    message = request.get("message")
    text = message if isinstance(message, str) else text_of(mapping(message).get("text"))
    return session.input("user", text, timestamp(request.get("timestamp")))


def _answer(session: Session, request: Mapping[str, Json]) -> Iterator[Read]:
    """The response of one request: texts side by side are one record, each call is one."""
    if request.get("response"):
        session.respond()
    result = mapping(request.get("result"))
    about, when = mapping(result.get("metadata")), timestamp(request.get("timestamp"))
    model = first_of(about, "resolvedModel") or request.get("modelId")
    session.once = {"tokens": total(about, "promptTokens", "outputTokens")}
    texts: list[str] = []
    for item in [*listed(request.get("response")), None]:
        about = mapping(item)
        kind = about.get("kind")
        if text := _text(about):
            texts.append(text)
        elif kind in ("toolInvocationSerialized", "thinking") or item is None:
            if text := "".join(texts).strip():
                yield from session.record("assistant", text, when, {"model": model})
            texts = []
            yield from _item(session, about, when, {"model": model}) if about else []
        else:
            name = kind if isinstance(kind, str) else ""
            yield EMPTY if kind is None else Skipped(rule=f"{name} item".strip(), is_unknown=name not in NO_TEXT)
    error = mapping(result.get("errorDetails")).get("message")
    if isinstance(error, str):
        yield from session.record("error", error, when)


def _text(item: Mapping[str, Json]) -> str:
    kind = item.get("kind")
    if kind in (None, "markdownContent", "warning"):
        value = first_of(item, "value", "content")
        return text_of(mapping(value).get("value", value))
    if kind == "inlineReference":
        ref = mapping(item.get("inlineReference"))
        place = first_of(ref, "fsPath", "path", "name") or mapping(ref.get("uri")).get("path")
        return f"`{place}`" if isinstance(place, str) else ""
    return ""


def _item(session: Session, item: Mapping[str, Json], when: datetime | None, more: Mapping[str, Json]) -> list[Read]:
    if item.get("kind") == "thinking":
        return session.record("reasoning", text_of(item.get("value")), when, more)
    data = mapping(item.get("toolSpecificData"))
    command = mapping(data.get("commandLine"))
    asked = first_of(data, "rawInput", "command") or first_of(command, "toolEdited", "userEdited", "original")
    said = first_of(item, "invocationMessage", "pastTenseMessage")
    arguments = asked if asked is not None else text_of(mapping(said).get("value", said))
    got = session.call(item.get("toolCallId"), item.get("toolId"), arguments, when, more)
    details = mapping(item.get("resultDetails"))
    output = first_of(details, "output") if details else None
    output = output if output is not None else mapping(data.get("terminalCommandOutput")).get("text")
    if output:
        got += session.record("tool_result", _output(output), when, {"tool": item.get("toolId")})
    return got


def _output(output: Json) -> str:
    if isinstance(output, list):
        return "\n".join(filter(None, (text_of(mapping(one).get("value", one)) for one in output)))
    return text_of(output)


def _read(document: Json, _: Options) -> Iterator[Read]:
    session = _session_of(mapping(document))
    for index, request in enumerate(listed(mapping(document).get("requests"))):
        if isinstance(request, dict):
            yield from guarded(index, _whole(session, request))
        else:
            yield not_an_object(index, request)


def _session_of(about: Mapping[str, Json]) -> Session:
    session = Session()
    session.know(run=about.get("sessionId"))
    return session


def _whole(session: Session, request: Mapping[str, Json]) -> Iterator[Read]:
    yield from _prompt(session, request)
    if request.get("response") or request.get("result"):
        yield from _answer(session, request)


def _end(document: Json) -> End:
    last = (listed(mapping(document).get("requests")) or [None])[-1]
    if mapping(last).get("result"):
        return End(mark=True, reason="its last request has a result")
    return End(mark=False, reason="its last request has no result")


class Journal:
    """Replays the changes: keeps the request that is open, and how many there are."""

    def __init__(self, state: Json, _: Options) -> None:
        state = state or (None, 0, None)
        session, self.n_requests, self.open = state
        self.session = Session(session)

    def state(self) -> Json:
        """The session, the number of its requests, and the last one while its answer is not read."""
        return [self.session.state(), self.n_requests, self.open]

    @guard_read
    def read(self, item: Json) -> Iterable[Read]:
        """What one change adds to what is readable."""
        if not _is_change(item):
            return [UNKNOWN_LINE]
        path = [str(key) for key in listed(item.get("k"))]
        if item["kind"] == INITIAL:
            about = mapping(item.get("v"))
            self.session.know(run=about.get("sessionId"))
            return self._add(listed(about.get("requests"))) or [SETTING]
        if path[:1] != ["requests"]:
            return [SETTING]
        if len(path) == 1:
            return self._change_requests(item)
        if self.open is None or path[1] != str(self.n_requests - 1):
            return [CHANGE]
        _change(self.open, path[2:], item)
        return self._close() if self.open.get("result") else [CHANGE]

    def _change_requests(self, item: Mapping[str, Json]) -> list[Read]:
        """Requests that are added, or all of them anew: those that were read before stay."""
        requests = listed(item.get("v"))
        if item["kind"] == SET:
            requests = requests[self.n_requests :]
        elif item["kind"] == DELETE:
            requests = []
        return self._add(requests) or [CHANGE]

    def _add(self, requests: Sequence[Json]) -> list[Read]:
        got: list[Read] = []
        for request in requests:
            got += self._close()
            self.n_requests += 1
            if not isinstance(request, dict):
                got.append(not_an_object(self.n_requests - 1, request))
                continue
            got += _prompt(self.session, request)
            self.open = {key: deepcopy(request[key]) for key in _NEEDED if key in request}
            if request.get("result"):
                got += self._close()
        return got

    def _close(self) -> list[Read]:
        request, self.open = self.open, None
        is_answered = request and (request.get("response") or request.get("result"))
        return list(_answer(self.session, request)) if is_answered else []


_NEEDED: Final = ("timestamp", "response", "modelId", "result")


def _change(request: dict[str, Json], path: Sequence[str], change: Mapping[str, Json]) -> None:
    """Apply a change to one request; what leads nowhere is left out."""
    if not path or path[0] not in _NEEDED:
        return
    at: Json = request
    for key in path[:-1]:
        at = at.get(key) if isinstance(at, dict) else _at(at, key)
    key, value = path[-1], change.get("v")
    if change["kind"] == PUSH:
        held = at.setdefault(key, []) if isinstance(at, dict) else _at(at, key)
        if isinstance(held, list):
            if isinstance(keep := change.get("i"), int) and 0 <= keep <= len(held):
                del held[keep:]
            held += listed(value)
    elif isinstance(at, dict):
        at.pop(key, None) if change["kind"] == DELETE else at.__setitem__(key, value)
    elif isinstance(at, list) and _is_index(key, at) and change["kind"] == SET:
        at[int(key)] = value


def _at(items: Json, key: str) -> Json:
    return items[int(key)] if isinstance(items, list) and _is_index(key, items) else None


def _is_index(key: str, items: Sequence[Json]) -> bool:
    return key.isdecimal() and len(key) < 10 and int(key) < len(items)


ROWS: tuple[Format, ...] = (
    Format(name="vscode_copilot", shape="document", recognises=_recognise, read=_read, end=_end),
    Format(name="vscode_copilot", shape="lines", recognises=_recognise_lines, reader=Journal),
)
