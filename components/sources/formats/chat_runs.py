"""The runs of a chat log, read one by one: their names, and which of them go on with an earlier conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from isal.isal_zlib import crc32

from components.contracts import Defect, Event, Json
from components.sources.formats.chat_items import (
    RUN_KEYS,
    SESSION_KEYS,
    all_answers,
    answers_of,
    compared,
    error_of,
    is_answer,
    messages_of,
    meta_of,
    preamble_of,
)
from components.sources.formats.contract import Read, Turns
from components.sources.formats.defects import REPEATED, excerpt
from components.sources.formats.message_parts import time_of
from components.sources.formats.messages import Conversation

PAIRS: Final = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))  # answers that were compared
ITEM_KEYS: Final = ("id", "uuid", "traj_id", "run_id", "conv_id", *SESSION_KEYS)
MAX_NAMES: Final = 10_000  # run names remembered to keep them apart; later ones get the run's number
MAX_OPEN: Final = 32  # conversations a request log may weave together


@dataclass(slots=True)
class OpenConversation:
    """A conversation that a later item may go on with: how many messages were read, and how far the numbering was.

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
class ChatRuns:
    """Reads runs one by one, names them, and leaves out what a request log repeats of a conversation.

    A conversation is known by a digest over what its messages became, so an answer and its later repetition in a
    request are the same message in whatever form they are logged.
    """

    history: str
    n: int = 0
    names: dict[str, int] = field(default_factory=dict)
    open: list[OpenConversation] = field(default_factory=list)  # the latest last

    def read(self, item: Json, place: int = 0) -> list[Read]:
        """What is new in one run (or one request with its answer)."""
        messages, answers = ([] if is_answer(item) else messages_of(item)), all_answers(item)
        for pair in PAIRS:
            if isinstance(item, dict) and pair[0] in item and pair[1] in item:
                messages, answers = compared(messages or [], *(answers_of(item[key]) for key in pair))
        error = error_of(item) if not answers else ""
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
            self._remember(
                OpenConversation(name, identity, mark, n, chain[-1], turns.iteration, turns.idx) if chain else None
            )
            return self._begin(identity, name, parts)
        self.open.remove(before)
        shift = before.idx - _count(parts[: before.n], before.iteration)
        idx = turns.idx + shift if turns.iteration == before.iteration else turns.idx
        self._remember(OpenConversation(before.name, identity, mark, n, chain[-1], turns.iteration, idx))
        return _rest(parts, before, shift)

    def _known(self, identity: str, mark: str, chain: Sequence[str]) -> OpenConversation | None:
        """The conversation that an item continues: its messages begin with all of that conversation.

        An item that adds nothing is another run that went alike, unless it has the id of the item before it: then
        it is the same item, written twice.
        """
        known = [o for o in self.open if o.identity == identity and o.n <= len(chain) and chain[o.n - 1] == o.digest]
        going_on = [o for o in known if o.n < len(chain) or (mark and o.mark == mark)]
        return max(going_on, key=lambda o: o.n, default=None)

    def _remember(self, now: OpenConversation | None) -> None:
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


def runs_from(state: Json, history: str) -> ChatRuns:
    """A reader that resumes where `state` was taken; None starts at the beginning."""
    if not state:
        return ChatRuns(history=history)
    return ChatRuns(
        history=history, n=state["n"], names=dict(state["names"]), open=[OpenConversation(**o) for o in state["open"]]
    )


def _repeats(conversation: Conversation, answer: Json, last: list[Read]) -> bool:
    """Is the answer the message that the messages end with?"""
    apart = Conversation(turns=Turns(), answering=conversation.answering)
    texts = _texts_of(apart.read(answer))
    return bool(texts) and texts == _texts_of(last)


def _texts_of(part: Iterable[Read]) -> list[tuple[str, str]]:
    """Types and texts of a message, in whatever form it is logged: requests drop the reasoning of the answers they repeat."""
    return [(read.type, read.text) for read in part if isinstance(read, Event) and read.type != "reasoning"]


def _chain(parts: Iterable[list[Read]]) -> list[str]:
    """For each message a digest of everything up to it: a checksum and the length."""
    checksum, length, chain = 0, 0, []
    for part in parts:
        for read in part:
            if isinstance(read, Event) and read.type != "reasoning":
                text = read.text.encode("utf-8", "surrogatepass")
                length += len(text) + 1
                checksum = crc32(text, crc32(read.type.encode("utf-8", "surrogatepass"), checksum))
        chain.append(f"{checksum:x}-{length:x}")
    return chain


def _count(parts: Iterable[list[Read]], iteration: int) -> int:
    return sum(isinstance(read, Event) and read.iteration == iteration for part in parts for read in part)


def _rest(parts: Sequence[list[Read]], before: OpenConversation, shift: int) -> list[Read]:
    """What follows the messages already read, under the name and numbers of their conversation."""
    got: list[Read] = [REPEATED] * before.n
    for part in parts[before.n :]:
        for read in part:
            if isinstance(read, Event):
                idx = read.idx_in_iteration + (shift if read.iteration == before.iteration else 0)
                got.append(read._replace(run=before.name, idx_in_iteration=idx))
            else:
                got.append(read)
    return got
