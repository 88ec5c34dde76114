"""Follows JSON line by line: may the lines so far be the beginning of a value?"""

from __future__ import annotations

import re
from typing import Final, Literal

from components.sources.json_search import BLANKS

MAX_DEPTH: Final = 200  # of records that go over several lines; logs nest some 20 levels

_STRING_REST: Final = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_TOKEN: Final = re.compile(
    rf"[{BLANKS}]+|[{{}}\[\]:,]"
    r'|"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<closed>"?)'
    r"|-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity",
    re.DOTALL,
)
_CUT_TOKEN: Final = re.compile(r"[-+.\w]*")


class Prefix:
    """The state of a JSON value of which some lines were fed: open containers, and which token may follow."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.expects = "top"
        self.in_string = False

    def feed(self, text: str, *, is_last: bool = False) -> Literal["open", "closed", "broken"]:
        """`open`: a value continues behind the line. `closed`: it ends within it. `broken`: no value can begin so.

        `is_last`: the text stops in the middle of a line, so that a token may be cut.
        """
        at = 0
        if self.in_string:
            rest = _STRING_REST.match(text)
            if rest is None or not rest[1]:
                return "open"
            self.in_string = False
            self._take('"')
            at = rest.end()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                return "open" if is_last and self.stack and _CUT_TOKEN.fullmatch(text, at) else "broken"
            at = token.end()
            if token[0][0] == '"' and not token["closed"]:
                self.in_string = self.expects in ("key", "key or end", "value", "value or end")
                return "open" if self.in_string else "broken"
            if token[0][0] not in "\x00\xef\xbb\xbf \t\r\n" and not self._take(token[0][0]):
                return "broken"
        return "open" if self.stack else "closed"

    def _take(self, mark: str) -> bool:
        """Follow one token, given by its first character; False if it can't follow here."""
        if mark in "}]":
            return self._close(mark)
        if mark == ",":
            if self.stack and self.expects != "separator":
                return False
            self.expects = ("key" if self.stack[-1] == "{" else "value") if self.stack else "top"
            return True
        if mark == ":":
            expected, self.expects = self.expects, "value"
            return expected == "colon"
        if mark == '"' and self.expects in ("key", "key or end"):
            self.expects = "colon"
            return True
        return self._open_value(mark)

    def _open_value(self, mark: str) -> bool:
        if self.expects not in ("value", "value or end") and not (self.expects == "top" and mark in "{["):
            return False
        if mark in "{[":
            self.stack.append(mark)
            self.expects = "key or end" if mark == "{" else "value or end"
            return len(self.stack) <= MAX_DEPTH
        self.expects = "separator"
        return True

    def _close(self, mark: str) -> bool:
        opener, or_end = ("{", "key or end") if mark == "}" else ("[", "value or end")
        if not self.stack or self.stack[-1] != opener or self.expects not in ("separator", or_end):
            return False
        self.stack.pop()
        self.expects = "separator" if self.stack else "top"
        return True
