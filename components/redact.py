"""Secrets and local paths out of texts.

Known shapes of secrets become a mark such as `[redacted: github-token]` before anything is stored. One scan for a few
dozen literals (Aho-Corasick) decides which rules look at a text; nearly always none does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from components.contracts import Json
from components.secret_rules import RULES, Rule

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick, BytesAhoCorasick

_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@'\"]+@")
_PATH: Final = re.compile(  # not the address of a call, as in `GET /api/status/a`
    r"(?<![\w.:/~-])(?<!GET )(?<!POST )(?<!DELETE )(?:[A-Za-z]:\\|/)(?:[^\s'\"/\\,;)]+[/\\])+([^\s'\"/\\,;)]*)"
)
_NEEDS_AT: Final = RULES[-1]  # its literals are everywhere; a text without an `@` holds none of it


_Search = Callable[[str], list[tuple[int, int, int]]]


def _search() -> _Search:
    return _matcher().find_matches_as_indexes


@dataclass(slots=True)
class Redactor:
    """Redacts the texts of one source. `found` counts by kind what was redacted since `take`, `total` everything."""

    found: Counter[str] = field(default_factory=Counter)
    total: int = 0
    _literals_in: _Search = field(default_factory=_search)

    def redact(self, text: str) -> str:
        """The text with a mark in the place of each secret.

        >>> Redactor().redact("git clone https://me:hunter2@example.com/x")
        'git clone https://me:[redacted: url-password]@example.com/x'
        """
        if not self._literals_in(text) and not _may_hold_password(text):
            return text
        given = text
        for rule, at in _rules_for(text):
            pattern = _compiled(rule)
            if pattern.search(text, max(0, at - _LOOK_BACK) if text is given else 0):
                text = pattern.sub(partial(self._replaced, rule), text)
        return text

    def suspects(self, spelled: bytes) -> bool:
        """May this JSON hold a secret? False only where it holds none."""
        return bool(_bytes_matcher().find_matches_as_indexes(spelled)) or (b"@" in spelled and b"://" in spelled)

    def redact_values(self, value: Json, depth: int = 0) -> Json:
        """The same JSON, every string in it redacted, also those that only their key shows to be secret."""
        if isinstance(value, str):
            return self.redact(value)
        if depth > _DEEPEST:
            spelled = str(value)
            redacted = self.redact(spelled)
            return value if redacted == spelled else redacted
        if isinstance(value, dict):
            return {
                self.redact(key) if isinstance(key, str) else key: self._redacted_under(key, one, depth)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.redact_values(one, depth + 1) for one in value]
        return value

    def take(self) -> dict[str, int]:
        """Kind -> how many were redacted since the last call."""
        found = dict(self.found)
        self.found.clear()
        return found

    def _redacted_under(self, key: Json, value: Json, depth: int) -> Json:
        if not isinstance(value, str) or not isinstance(key, str):
            return self.redact_values(value, depth + 1)
        value = self.redact(value)
        named = f"{key}: "
        both = named + value
        redacted = self.redact(both)
        return redacted[len(named) :] if redacted.startswith(named) else value

    def _replaced(self, rule: Rule, match: re.Match[str]) -> str:
        if not rule.is_secret(match["secret"]):
            return match[0]
        self.found[rule.kind] += 1
        self.total += 1
        begin, end = match.start("secret") - match.start(), match.end("secret") - match.start()
        return f"{match[0][:begin]}[redacted: {rule.kind}]{match[0][end:]}"


_DEEPEST: Final = 64
_LOOK_BACK: Final = 64  # a match begins at most so many characters before its literal


def _rules_for(text: str) -> Sequence[tuple[Rule, int]]:
    """The rules that may find something in this text, in their order, and the offset of their first literal."""
    first: dict[int, int] = {}
    for literal, start, _ in _matcher().find_matches_as_indexes(text, overlapping=True):
        for n in _owners()[literal]:
            first.setdefault(n, start)
    chosen = [(RULES[n], first[n]) for n in sorted(first)]
    if _may_hold_password(text):
        chosen.append((_NEEDS_AT, 0))
    return chosen


def _may_hold_password(text: str) -> bool:
    return "@" in text and ("://" in text or r":\/\/" in text)


@cache
def _compiled(rule: Rule) -> re.Pattern[str]:
    return re.compile(rule.pattern(), rule.flags)


@cache
def _literals() -> Sequence[str]:
    return list(dict.fromkeys(literal for rule in RULES if rule is not _NEEDS_AT for literal in rule.literals))


@cache
def _owners() -> Sequence[Sequence[int]]:
    """Literal -> the rules that it calls."""
    return [[n for n, rule in enumerate(RULES) if literal in rule.literals] for literal in _literals()]


@cache
def _matcher() -> AhoCorasick:
    from ahocorasick_rs import AhoCorasick, Implementation

    return AhoCorasick(_literals(), implementation=Implementation.DFA)  # twice as fast as what it would choose itself


@cache
def _bytes_matcher() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick, Implementation

    return BytesAhoCorasick([literal.encode() for literal in _literals()], implementation=Implementation.DFA)


def public_text(text: str) -> str:
    """`text` as it may leave the machine: absolute paths cut to their last name, credentials in URLs removed.

    >>> public_text("postgresql://me:secret@db/x: no /home/me/logs/a.jsonl")
    'postgresql://…@db/x: no …/a.jsonl'
    >>> public_text("GET /api/status/a shows its progress.")
    'GET /api/status/a shows its progress.'
    """
    return _PATH.sub(r"…/\1", _CREDENTIALS.sub("…@", text))


def public_values(value: Json) -> Json:
    """The same JSON, every string in it a `public_text`."""
    match value:
        case str():
            return public_text(value)
        case dict():
            return {key: public_values(inner) for key, inner in value.items()}
        case list():
            return [public_values(inner) for inner in value]
    return value
