"""Chat logs: OpenAI, Anthropic and ShareGPT messages, as one run, a list of runs, bare messages, JSONL, or a request log.

A run is anything with a list of messages, which `messages` takes apart. A log of requests repeats the conversation in
each of them; it is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from isal.isal_zlib import crc32

from components.contracts import Defect, Event, Json
from components.sources.formats.content import text_of
from components.sources.formats.contract import Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.messages import ROLES, Conversation, is_item, is_stored, role_of, role_type, time_of
from components.sources.formats.pieces import REPEATED, excerpt, mostly

LIST_KEYS: Final = (
    *("messages", "conversations", "conversation", "input", "contents", "chat_messages", "dialog", "dialogue"),
    *("trajectory", "prompt"),
)
ENVELOPES: Final = ("request", "body", "kwargs", "params", "input")
ANSWER_KEYS: Final = ("response", "output", "completion", "choices", "candidates", "response_obj", "result")
PAIRS: Final = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))  # answers that were compared
ANSWER_OBJECTS: Final = ("chat.completion", "response")
SESSION_KEYS: Final = (
    "session_id",
    "conversation_id",
    "thread_id",
    "trace_id",
    "sessionId",
    "conversationId",
    "custom_id",
)
RUN_KEYS: Final = (*SESSION_KEYS, "traj_id", "id", "uuid", "instance_id", "task_id", "run_id", "conv_id")
ITEM_KEYS: Final = ("id", "uuid", "traj_id", "run_id", "conv_id", *SESSION_KEYS)
META_KEYS: Final = (*RUN_KEYS, "model", "resolved", "reward", "score", "success", "exit_status", "source", "dataset")
ASKING: Final = frozenset({"instructions", "completion", "response", "choices", "chosen", "preferred_output"})
KNOWN: Final = frozenset(ROLES.values())
MAX_NAMES: Final = 10_000  # run names remembered to keep them apart; later ones get the run's number
MAX_OPEN: Final = 32  # conversations a request log may weave together

# --- runs ------------------------------------------------------------------------------------------------------


def messages_of(item: Json, depth: int = 3) -> list[Json] | None:
    """The messages of a run, wherever the run has them; None where it has none."""
    if isinstance(item, list):
        return item
    if not isinstance(item, dict):
        return None
    for key in LIST_KEYS:
        if isinstance(found := item.get(key), list):
            return found
    for key in ("input", "prompt"):
        if isinstance(found := item.get(key), str) and ("model" in item or not ASKING.isdisjoint(item)):
            return [{"role": "user", "content": found}]
    for key in ENVELOPES if depth else ():
        if isinstance(inner := item.get(key), dict) and (found := messages_of(inner, depth - 1)) is not None:
            return found
    return None


def answers_of(item: Json, depth: int = 6) -> list[Json]:
    """The messages that answer a request, in a log that keeps requests with their responses."""
    if isinstance(item, str) and item.strip():
        return [{"role": "assistant", "content": item}]
    if isinstance(item, list) and depth:
        return [answer for part in item for answer in answers_of(part, depth - 1)]
    if not isinstance(item, dict) or not depth:
        return []
    if isinstance(item.get("role"), str) or (item.get("object") == "response" and isinstance(item.get("output"), list)):
        return [item]
    if isinstance(choice := item.get("message"), dict):
        return [choice]
    if isinstance(said := item.get("content"), dict) and isinstance(said.get("parts"), list):  # Gemini
        return [{**said, "role": "model"}]
    if isinstance(said := item.get("text"), str) and "finish_reason" in item:  # a completion without chat
        return [{"role": "assistant", "content": said}]
    return [answer for key in ("body", *ANSWER_KEYS) if key in item for answer in answers_of(item[key], depth - 1)]


def preamble_of(item: Json, depth: int = 3) -> list[Json]:
    """The system prompt that stands beside the messages (Anthropic, Responses API, ShareGPT) as a message."""
    if not isinstance(item, dict):
        return []
    for key in ("system", "instructions", "systemInstruction", "system_instruction"):
        found = item.get(key)
        if isinstance(found, dict):
            found = found.get("parts")
        if isinstance(found, str | list) and found:
            return [{"role": "system", "content": found}]
    envelopes = [inner for key in ENVELOPES if depth and isinstance(inner := item.get(key), dict)]
    return [message for inner in envelopes for message in preamble_of(inner, depth - 1)][:1]


def meta_of(item: Mapping[str, Json]) -> dict[str, Json]:
    """What is worth keeping of a run beside its messages: short plain values under well-known names."""
    asked = next((inner for key in ENVELOPES if isinstance(inner := item.get(key), dict)), {})
    named = [key for key in META_KEYS if key in item or key in asked]
    return {key: value for key in named if _is_short(value := item.get(key, asked.get(key)))}


def _is_short(value: Json) -> bool:
    return 0 < len(value) <= 200 if isinstance(value, str) else isinstance(value, int | float)


@dataclass(slots=True)
class Open:
    """A conversation that a later item may go on with: how many messages were read, and where the numbering stood.

    `mark` is the id of the last item itself, where it has one.
    """

    name: str
    identity: str
    mark: str
    n: int
    digest: str
    iteration: int
    idx: int


@dataclass(slots=True)
class Runs:
    """Reads runs one by one, names them, and leaves out what a request log repeats of a conversation.

    A conversation is known by a digest over what its messages became, so an answer and its later repetition in a
    request are the same message however they are spelled.
    """

    history: str
    n: int = 0
    names: dict[str, int] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)  # the latest last

    def read(self, item: Json, place: int = 0) -> list[Read]:
        """What is new in one run (or one request with its answer)."""
        messages, answers = ([] if is_answer(item) else messages_of(item)), _answers(item)
        for pair in PAIRS:
            if isinstance(item, dict) and pair[0] in item and pair[1] in item:
                messages, answers = _compared(messages or [], *(answers_of(item[key]) for key in pair))
        error = _error(item) if not answers else ""
        if messages is None and not error:
            return [Defect(offset=place, reason="no list of messages in it", excerpt=excerpt(item))]
        meta = meta_of(item) if isinstance(item, dict) else {}
        identity = next((str(meta[k]) for k in (SESSION_KEYS if answers and messages else RUN_KEYS) if k in meta), "")
        name = self._next_name(identity)
        conversation = Conversation(turns=Turns(run=name), extra=meta)
        asked = [*preamble_of(item), *(messages or ())]
        parts = [conversation.read(message, i) for i, message in enumerate(asked)]
        for answer in answers:
            if not (parts and _repeats(conversation, answer, parts[-1])):
                parts.append(conversation.read(answer, len(parts), time_of(item)))
        chain, n = _chain(parts), len(parts)
        if error.strip():
            parts.append([conversation.turns.event("error", error, time_of(item), meta)])
        if self.history == "all":
            return self._begin(identity, name, parts)
        mark = next((str(meta[key]) for key in ITEM_KEYS if key in meta), "")
        before = self._known(identity, mark, chain)
        turns = conversation.turns
        if before is None:
            self._remember(Open(name, identity, mark, n, chain[-1], turns.iteration, turns.idx) if chain else None)
            return self._begin(identity, name, parts)
        self.open.remove(before)
        shift = before.idx - _count(parts[: before.n], before.iteration)
        idx = turns.idx + shift if turns.iteration == before.iteration else turns.idx
        self._remember(Open(before.name, identity, mark, n, chain[-1], turns.iteration, idx))
        return _rest(parts, before, shift)

    def _known(self, identity: str, mark: str, chain: Sequence[str]) -> Open | None:
        """The conversation that an item goes on with: what it says begins with all that was said there.

        An item that adds nothing is another run that went alike, unless it bears the id of the item before it: then
        it is the same item, written twice.
        """
        known = [o for o in self.open if o.identity == identity and o.n <= len(chain) and chain[o.n - 1] == o.digest]
        going_on = [o for o in known if o.n < len(chain) or (mark and o.mark == mark)]
        return max(going_on, key=lambda o: o.n, default=None)

    def _remember(self, now: Open | None) -> None:
        if now is not None:
            self.open = [*self.open[-MAX_OPEN + 1 :], now]

    def _begin(self, identity: str, name: str, parts: Iterable[list[Read]]) -> list[Read]:
        self.n += 1
        if len(self.names) < MAX_NAMES:
            base = identity or name
            self.names[base] = self.names.get(base, 0) + 1
            self.names.setdefault(name, 1)
        return [read for part in parts for read in part]

    def _next_name(self, identity: str) -> str:
        name = identity or str(self.n)
        if name not in self.names:
            return name if len(self.names) < MAX_NAMES else f"{name}~{self.n}"
        number = self.names[name] + 1
        while (named := f"{name}~{number}") in self.names:
            number += 1
        return named if len(self.names) < MAX_NAMES else f"{name}~~{self.n}"

    def state(self) -> dict[str, Json]:
        """Plain JSON from which `runs_from` makes an equal reader."""
        return {"n": self.n, "names": dict(self.names), "open": [asdict(o) for o in self.open]}


def runs_from(state: Json, history: str) -> Runs:
    """A reader that goes on where `state` was taken; None starts afresh."""
    if not state:
        return Runs(history=history)
    return Runs(history=history, n=state["n"], names=dict(state["names"]), open=[Open(**o) for o in state["open"]])


def _answers(item: Json) -> list[Json]:
    if not isinstance(item, dict):
        return []
    if item.get("object") == "response":
        return [item]
    return [answer for key in ANSWER_KEYS if key in item for answer in answers_of(item[key])]


def _compared(messages: list[Json], chosen: list[Json], rejected: list[Json]) -> tuple[list[Json], list[Json]]:
    """What was asked, and both answers that were compared; each may repeat what was asked."""
    same = next((n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(rejected))
    return messages if not same else chosen[:same], [*chosen[same:], *rejected[same:]]


def _error(item: Json) -> str:
    """Why a request was not answered, where its log says so."""
    if not isinstance(item, dict):
        return ""
    result = item.get("result")
    error = item.get("error") or (result.get("error") if isinstance(result, dict) else None)
    while isinstance(error, dict) and isinstance(inner := error.get("message", error.get("error")), str | dict):
        error = inner
    return text_of(error) if isinstance(error, str | dict) else ""


def _repeats(conversation: Conversation, answer: Json, last: list[Read]) -> bool:
    """Is the answer the message that the messages end with?"""
    apart = Conversation(turns=Turns(), answering=conversation.answering)
    said = _spelled(apart.read(answer))
    return bool(said) and said == _spelled(last)


def _spelled(part: Iterable[Read]) -> list[tuple[str, str]]:
    """What a message says, however its log spells it: requests drop the reasoning of the answers they repeat."""
    return [(read.type, read.text) for read in part if isinstance(read, Event) and read.type != "reasoning"]


def _chain(parts: Iterable[list[Read]]) -> list[str]:
    """For each message a digest of everything up to it: a checksum and the length."""
    checksum, length, chain = 0, 0, []
    for part in parts:
        for read in part:
            if isinstance(read, Event) and read.type != "reasoning":
                said = read.text.encode("utf-8", "surrogatepass")
                length += len(said) + 1
                checksum = crc32(said, crc32(read.type.encode("utf-8", "surrogatepass"), checksum))
        chain.append(f"{checksum:x}-{length:x}")
    return chain


def _count(parts: Iterable[list[Read]], iteration: int) -> int:
    return sum(isinstance(read, Event) and read.iteration == iteration for part in parts for read in part)


def _rest(parts: Sequence[list[Read]], before: Open, shift: int) -> list[Read]:
    """What stands behind the messages already read, under the name and numbers of their conversation."""
    got: list[Read] = [REPEATED] * before.n
    for part in parts[before.n :]:
        for read in part:
            if isinstance(read, Event):
                idx = read.idx_in_iteration + (shift if read.iteration == before.iteration else 0)
                got.append(read._replace(run=before.name, idx_in_iteration=idx))
            else:
                got.append(read)
    return got


# --- the rows --------------------------------------------------------------------------------------------------


def is_message(item: Json) -> bool:
    """Does it look like one message of a chat: a known role, and something said or called?"""
    if not isinstance(item, dict):
        return False
    role = role_of(item)
    if not role:
        return is_item(item) or is_stored(item)
    if role not in ROLES and role_type(role) not in KNOWN:
        return False
    if "text" in item and "iteration" not in item:  # a log that numbers its iterations itself is generic
        return True
    return any(key in item for key in ("content", "value", "parts", "tool_calls", "function_call"))


def is_answer(item: Json) -> bool:
    """Is it an answer of a model alone, as the API or a batch of it gives them, without what was asked?"""
    if not isinstance(item, dict):
        return False
    if isinstance(result := item.get("result"), dict) and "custom_id" in item:  # a batch of Anthropic's
        return "message" in result
    response = item.get("response")
    body = response.get("body") if isinstance(response, dict) else item
    if not isinstance(body, dict) or body.get("object") not in ANSWER_OBJECTS or "messages" in item or "body" in item:
        return False
    return isinstance(body.get("choices"), list) or isinstance(body.get("output"), list)


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
    return decline("neither runs (messages or conversations) nor messages with a known role on its lines")


def _recognise_document(head: Head) -> Verdict:
    document = head.document
    if isinstance(document, dict) and _is_run(document):
        return accept(f"one run of {_dialect(document)}")
    if isinstance(document, list) and document:
        if mostly(document, is_message):
            return accept(f"a list of {_dialect(document)}")
        if mostly(document, _is_run):
            return accept(f"a list of runs of {_dialect(next(filter(_is_run, document)))}")
    return decline("no messages or conversations whose items have a known role")


@dataclass(slots=True)
class _Lines:
    """JSONL of runs or requests, or of the messages of one run."""

    runs: Runs
    bare: Conversation

    def read(self, item: Json) -> Iterable[Read]:
        if is_message(item) and not _is_run(item):
            return self.bare.read(item)
        return self.runs.read(item)

    def state(self) -> Json:
        turns = self.bare.turns
        return {"runs": self.runs.state(), "bare": [turns.iteration, turns.idx, self.bare.answering]}


def _reader(state: Json, options: Options) -> _Lines:
    runs = runs_from(state and state["runs"], options.history)
    iteration, idx, answering = state["bare"] if state else (0, 0, False)
    return _Lines(runs, Conversation(turns=Turns(iteration=iteration, idx=idx), answering=answering))


def _read(document: Json, options: Options) -> Iterator[Read]:
    if isinstance(document, list) and mostly(document, is_message):
        yield from read_messages(document)
    elif isinstance(document, list):
        runs = Runs(history=options.history)
        for place, item in enumerate(document):
            yield from runs.read(item, place)
    else:
        yield from (read._replace(run="") if isinstance(read, Event) else read for read in Runs("all").read(document))


def read_messages(
    messages: Iterable[Json], *, run: str = "", extra: Mapping[str, Json] | None = None
) -> Iterator[Read]:
    """The messages of one run as events."""
    conversation = Conversation(turns=Turns(run=run), extra=extra or {})
    for place, message in enumerate(messages):
        yield from conversation.read(message, place)


ROWS: tuple[Format, ...] = (
    Format(name="chat", shape="lines", recognises=_recognise_lines, reader=_reader),
    Format(name="chat", shape="document", recognises=_recognise_document, read=_read),
)
