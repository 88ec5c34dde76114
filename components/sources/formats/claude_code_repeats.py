"""What a Claude Code session repeats: lines that a resumed session writes once more, and text that is streamed.

A reader's memory is written with every cursor, so both keep digests, of the latest lines and of the open response alone.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from components.contracts import Json
from components.sources.formats.deduplication import short_digest

MAX_LINES: Final = 4_096  # that are recognised when they come again
DIGEST_BYTES: Final = 6  # of a line: one in 10^10 lines is taken for another
SHORTEST_STREAM: Final = 4  # characters; a shorter text may begin another one by chance
_WRAPPERS: Final = (  # what the program writes in the user's name
    r"command-[a-z]+|local-command-[a-z]+|bash-std(?:out|err)|ide_[a-z_]+|system-reminder|task-notification"
    r"|user-prompt-submit-hook|session-start-hook"
)
_WRAPPED: Final = re.compile(rf"\s*(?:<({_WRAPPERS})\b[^>]*>.*?</\1>\s*)+", re.DOTALL)
_TYPED_ARGUMENTS: Final = re.compile(r"<command-args>\s*[^<\s]")


def is_wrapper(text: str) -> bool:
    """Did the program write it in the user's name? A command with arguments was typed by a person.

    >>> is_wrapper("<ide_opened_file>a.py</ide_opened_file>"), is_wrapper("<b>why</b> is it bold?")
    (True, False)
    >>> is_wrapper("<command-name>/review</command-name><command-args>the last commit</command-args>")
    False
    """
    if text.lstrip()[:1] != "<" or not _WRAPPED.fullmatch(text):
        return False
    return not _TYPED_ARGUMENTS.search(text)


@dataclass(slots=True)
class SeenLines:
    """The latest lines of a session, by uuid and length of what they say."""

    digests: dict[bytes, None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Json) -> SeenLines:
        """The memory that `state` describes."""
        raw = base64.b64decode(state) if isinstance(state, str) else b""
        found = (raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))
        return cls(dict.fromkeys(found))

    def state(self) -> str:
        """Plain JSON from which an equal one is made."""
        return base64.b64encode(b"".join(self.digests)).decode()

    def is_new(self, item: Mapping[str, Json], message: Mapping[str, Json]) -> bool:
        """Was no such line read before? One without a uuid, or with more text than before, is new."""
        uuid = item.get("uuid")
        if not isinstance(uuid, str):
            return True
        key = blake2b(f"{uuid} {_length(message.get('content'))}".encode("utf-8", "replace"), digest_size=DIGEST_BYTES)
        if (digest := key.digest()) in self.digests:
            return False
        self.digests[digest] = None
        if len(self.digests) > MAX_LINES:
            del self.digests[next(iter(self.digests))]
        return True


def _length(content: Json) -> int:
    """A number that grows with what a line says: it is streamed at its end."""
    if type(content) is not list or not content:
        return len(content) if type(content) is str else 0
    last = content[-1]
    text = (last.get("text") or last.get("thinking")) if type(last) is dict else last
    return 1_000_003 * len(content) + (len(text) if type(text) is str else 0)


def unstreamed(known: dict[str, Json], kind: str, text: str) -> str:
    """What is new of a text of one response, where its lines repeat what was streamed before; "" for nothing.

    `known` is what is remembered of the response, and is brought up to date: kind of block -> length and digest.

    >>> known = {}
    >>> [unstreamed(known, "text", text) for text in ("Let me", "Let me look.", "Let me look.", "Done.")]
    ['Let me', ' look.', '', 'Done.']
    """
    before = known.get(kind)
    known[kind] = [len(text), short_digest(text)]
    if before is None:
        return text
    n, digest = before
    if n < SHORTEST_STREAM or len(text) < n or short_digest(text[:n]) != digest:
        return text
    return text[n:]
