"""What a Claude Code session repeats: lines that a resumed session writes once more, and text that is streamed.

A reader's memory is written with every cursor, so both keep digests, of the latest lines and of the open response alone.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from isal.isal_zlib import crc32

from components.contracts import Json
from components.sources.formats.deduplication import short_digest

MAX_LINES: Final = 4_096  # that are recognised when they come again
NUMBER_BYTES: Final = 6  # of a line: one in 10^10 lines is taken for another
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

    known: dict[int, None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Json) -> SeenLines:
        """The memory that `state` describes."""
        raw = base64.b64decode(state) if isinstance(state, str) else b""
        found = (int.from_bytes(raw[at : at + NUMBER_BYTES], "big") for at in range(0, len(raw), NUMBER_BYTES))
        return cls(dict.fromkeys(found))

    def state(self) -> str:
        """Plain JSON from which an equal one is made."""
        return base64.b64encode(b"".join(number.to_bytes(NUMBER_BYTES, "big") for number in self.known)).decode()

    def is_new(self, item: Mapping[str, Json], message: Mapping[str, Json]) -> bool:
        """Was no such line read before? One without a uuid, or with more text than before, is new."""
        uuid = item.get("uuid")
        if not isinstance(uuid, str):
            return True
        number = _number(uuid, _length(message.get("content")))
        if number in self.known:
            return False
        self.known[number] = None
        if len(self.known) > MAX_LINES:
            del self.known[next(iter(self.known))]
        return True


def _number(uuid: str, length: int) -> int:
    """48 bits of a uuid of any version, and of the length."""
    try:
        bits = (int(uuid[:8], 16) << 16) ^ int(uuid[-12:], 16)
    except ValueError:
        bits = int(short_digest(uuid, size=NUMBER_BYTES), 16)
    return (bits ^ (length * 2_654_435_761)) & (1 << 8 * NUMBER_BYTES) - 1


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
    known[kind] = [len(text), _checksum(text)]
    if before is None:
        return text
    n, digest = before
    if n < SHORTEST_STREAM or len(text) < n or _checksum(text[:n]) != digest:
        return text
    return text[n:]


def _checksum(text: str) -> int:
    return int(crc32(text.encode("utf-8", "surrogatepass")))
