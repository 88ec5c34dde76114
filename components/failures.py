"""Which records tell of a failure, and of what class: from what the log says, and from well-known shapes of text.

What the log says comes first: an exit code (also where only the text holds it), an error flag, the status of a span. An exit code
of 0 is no failure, whatever was printed. Only where the log says nothing, the text decides, and then by what stands at its
beginning or end: files that are shown often speak of errors. Its precision, judged by hand, is in `docs/failures.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from components.contracts import Json

DECLINED: Final = "declined"
HEAD_CHARS: Final = 2_000
TAIL_CHARS: Final = 2_000
NEAR_CHARS: Final = 300  # that are looked at for a word before an expression is tried
LONGEST_JSON: Final = 20_000  # characters of a result that is searched for an error of its own
LONGEST_NOTICE: Final = 400  # characters of a text that only says what went wrong
TRACEBACK: Final = "Traceback (most recent call last)"
EXIT_KEYS: Final = ("exit_code", "exit_status", "returncode")
JUDGED: Final = frozenset({"tool_result", "error", "span"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """`kind` is the class of what went wrong; what a person declined is of a class, but no failure."""

    kind: str

    @property
    def failed(self) -> bool:
        """Did something fail, other than a person's consent?"""
        return self.kind != DECLINED


def failure_of(type: str, text: str, extra: Mapping[str, Json]) -> Failure | None:
    """The failure that a record tells of; None where it tells of none.

    >>> failure_of("tool_result", "bash: ponyc: command not found", {})
    Failure(kind='command not found')
    >>> failure_of("tool_result", "Traceback (most recent call last):", {"exit_code": 0})
    >>> failure_of("error", "The user doesn't want to proceed with this tool use.", {}).failed
    False
    """
    if type not in JUDGED:
        return None
    if type == "span":
        return _span_failure(extra)
    head, tail = text[:HEAD_CHARS], text[-TAIL_CHARS:]
    if _may_be_declined(head[:NEAR_CHARS]) and _DECLINED.match(head):
        return Failure(kind=DECLINED)
    exit_code = _exit_code(head, tail, extra)
    if exit_code == 0:
        return None
    if exit_code is not None and exit_code > 0:
        return _exit_failure(exit_code, head, tail)
    if type == "error":
        return None if text in _NO_ERRORS else Failure(kind=_kind(head, tail, otherwise=_flagged(extra)))
    return _shown_failure(text, head, tail)


def _may_be_declined(near: str) -> bool:
    return "user" in near or "User" in near or "ermission" in near or "approval" in near or "multiple op" in near


def _span_failure(extra: Mapping[str, Json]) -> Failure | None:
    if extra.get("status") != "ERROR":
        return None
    message = extra.get("status_message") or extra.get("stacktrace")
    text = message if isinstance(message, str) else ""
    return Failure(kind=_kind(text[:HEAD_CHARS], text[-TAIL_CHARS:], otherwise="error status"))


def _flagged(extra: Mapping[str, Json]) -> str:
    return "tool error" if extra.get("tool") or extra.get("tool_call_id") or extra.get("call_id") else "error"


# --- exit codes ------------------------------------------------------------------------------------------------------


def _exit_code(head: str, tail: str, extra: Mapping[str, Json]) -> int | None:
    for key in EXIT_KEYS:
        if isinstance(code := extra.get(key), int) and not isinstance(code, bool):
            return code
    last = tail[-200:]
    found = ("code" in head[:NEAR_CHARS] and _EXIT_AT_START.match(head)) or (
        "code" in last and _EXIT_AT_END.search(last)
    )
    return int(next(code for code in found.groups() if code)) if found else None


def _exit_failure(code: int, head: str, tail: str) -> Failure | None:
    """A command that ended with 1 and printed nothing mostly searched and found nothing."""
    if code == 1 and not _printed(head):
        return None
    known = {124: "timeout", 126: "permission denied", 127: "command not found", 137: "killed", 143: "killed"}
    return Failure(kind=known.get(code) or _kind(head, tail, otherwise="exit code"))


def _printed(head: str) -> str:
    if len(head) == HEAD_CHARS:
        return head
    bare = _EXIT_AT_END.sub("", _EXIT_AT_START.sub("", head))
    return re.sub(r"</?output>|Output:|^OBSERVATION:", "", bare).strip()


_EXIT_AT_START: Final = re.compile(
    r"\s*(?:<returncode>\s*(-?\d+)\s*</returncode>"
    r"|exit ?code:? (-?\d+)\b"
    r"|(?:Chunk ID: \w+\n)?(?:Wall time: [\d.]+ seconds\n)?Process exited with code (-?\d+)(?:\nOriginal token count: \d+)?\n?)",
    re.IGNORECASE,
)
_EXIT_AT_END: Final = re.compile(
    r"(?:\[Command finished with exit code (-?\d+)\]|exited? (?:with )?(?:exit )?code:? (-?\d+)\.?"
    r"|with exit code (-?\d+)\.?)\s*(?:</\w+>\s*)*\Z"
)

# --- texts that say it themselves ------------------------------------------------------------------------------------


def _shown_failure(text: str, head: str, tail: str) -> Failure | None:
    """Of a result without a flag or an exit code: what stands at its beginning, or a traceback at its end."""
    bare = head.lstrip()
    if bare[:1] in _PREFIXED:
        bare = _PREFIX.sub("", bare, count=1)
    if bare[:1] == "{" and len(text) <= LONGEST_JSON:
        return _json_failure(text)
    if _OPENING.match(bare) or (len(text) <= LONGEST_NOTICE and _is_notice(text)):
        return Failure(kind=_kind(head, tail, otherwise="tool error"))
    if TRACEBACK in tail and _ENDS_IN_TRACEBACK.search(tail):
        return Failure(kind=_kind(head, tail, otherwise="exception"))
    last = tail[-300:]
    if "make" in last and _MAKE_FAILED.search(last):
        return Failure(kind=_kind(head, tail, otherwise="exit code"))
    if "===" in last and ("failed" in last or "error" in last) and _TESTS_FAILED.search(last):
        return Failure(kind="tests failed")
    return None


def _is_notice(text: str) -> bool:
    words = text.lower()
    return ("time" in words or "parameter" in words or "is not a" in words) and _NOTICE.search(words) is not None


def _json_failure(text: str) -> Failure | None:
    """Of a result that is a JSON object: what it says of itself."""
    if not _JSON_HINT.search(text):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    is_flagged = value.get("isError") is True or value.get("is_error") is True or value.get("success") is False
    if not is_flagged and (error in (None, "", False, {}, []) or value.get("success") is True):
        return None
    said = error if isinstance(error, str) else text
    return Failure(kind=_kind(said[:HEAD_CHARS], "", otherwise="tool error"))


def _kind(head: str, tail: str, *, otherwise: str) -> str:
    """The first class whose shape the text has, at its beginning or its end."""
    text = head if len(head) < HEAD_CHARS else f"{head}\n{tail}"
    if TRACEBACK in text and not _SHAPES["tests failed"].search(
        text
    ):  # what was raised says it, not the code around it
        raised = _RAISED.findall(text[text.rfind(TRACEBACK) :])
        return _first_of(_OF_EXCEPTIONS, raised[-1] if raised else "") or "exception"
    return _first_of(_SHAPES, text) or otherwise


def _first_of(kinds: Iterable[str], text: str) -> str:
    words = text.lower()
    return next((kind for kind in kinds if _has_shape(kind, words, text)), "")


def _has_shape(kind: str, words: str, text: str) -> bool:
    return any(word in words for word in _WORDS[kind]) and _SHAPES[kind].search(text) is not None


_DECLINED: Final = re.compile(
    r"\s*(?:The user doesn't want to (?:proceed|take this action)|\[Request interrupted by user|This (?:Bash )?command (?:requires approval|contains multiple operations)"
    r"|\w+ requested permissions? to\b[^\n]*haven't granted|Permission to use [^\n]* has been denied"
    r"|(?:The )?[Uu]ser (?:rejected|declined|denied|cancell?ed)\b|(?:Tool (?:call|use) )?(?:rejected|declined|cancell?ed) by (?:the )?user)"
)
_NO_ERRORS: Final = frozenset({"No response requested."})
_PREFIXED: Final = ("O", "<")  # what a prefix begins with
_PREFIX: Final = re.compile(r"(?:OBSERVATION:|Observation:|<tool_use_error>|<output>|Output:|<tool_response>)?\s*")
_OPENING: Final = re.compile(
    r"(?:ERROR|Error|error|fatal|FATAL|Fatal error|Exception|Failed)(?::|\s+\w+ing\b|\[\w+\]:)"
    r"|(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::|\n|\Z)"
    r"|Traceback \(most recent call last\)"
    r"|npm (?:ERR!|error)"
    r"|(?:(?:/\w+)*/)?(?:ba|z|da|k|c)?sh(?:: (?:line )?\d+)?: [^\n]*(?:not found|No such file or directory|[Pp]ermission denied|syntax error)"
    r"|[\w.+-]{1,30}: [^\n]{0,300}: (?:No such file or directory|Permission denied|Is a directory|Not a directory)(?:\n|\Z)"
    r"|[\w.+-]{1,30}: (?:command not found|can't open file)\b"
    r"|(?:Invalid|Missing|Unknown) (?:`?\w+`? )?(?:parameter|argument|tool|path|command|option)s?\b"
    r"|No replacement was performed|String to replace not found|Your proposed edit has introduced"
    r"|HTTP(?: [Ee]rror)? [45]\d\d\b|Request failed with status code"
)
_NOTICE: Final = re.compile(
    r"\b(?:execution timed out|command timed out|timed out (?:after|before|waiting)|timeout (?:exceeded|after|expired))"
    r"|parameter '?\w+'? (?:is|of) \w+.{0,60}(?:required|expected)|is not a (?:recognized|known) (?:command|tool|function)"
)
_ENDS_IN_TRACEBACK: Final = re.compile(
    r"(?m)^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)+?(?:[A-Za-z_][\w.]*)(?::.*)?(?:\n(?!\n)[^\n]*){0,12}\s*\Z"
)
_TESTS_FAILED: Final = re.compile(
    r"(?m)^={3,} .{0,200}?\b[1-9]\d* (?:failed|errors?)\b.{0,200}? in [\d.]+s.{0,20}?=+\s*(?:</\w+>\s*|\[[^\n]*\]\s*)?\Z"
)
_MAKE_FAILED: Final = re.compile(r"(?m)^make(?:\[\d+\])?: \*\*\* .*Error \d+\s*\Z")
_JSON_HINT: Final = re.compile(r'"(?:error|isError|is_error|success)"\s*:')
_RAISED: Final = re.compile(r"(?m)^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*)?$")
_SHAPES: Final = {
    kind: re.compile(shape)
    for kind, shape in (
        ("edit not applied", (r"String to replace not found|Your proposed edit has introduced|No replacement was performed|File has not been read yet"
         r"|matches of the string to replace|File has been (?:unexpectedly )?modified|did not appear verbatim")),
        ("rate limit", r"(?i)rate.?limit|too many requests|\b429\b.{0,40}(?:error|request)|quota exceeded|overloaded_error"),
        ("timeout", r"(?i)\btimed out\b|TimeoutError|TimeoutExpired|\bTimeout\b(?: exceeded|$|\n)|deadline exceeded|(?:code|Error:?) 504"),
        ("too long", r"(?i)exceeds? (?:the )?maximum (?:allowed )?(?:tokens|length|size)|context.length.exceeded|prompt is too long"),
        ("command not found", r"command not found|is not recognized as an internal|: not found\s*$|executable file not found"),
        ("permission denied", r"(?i)permission denied|PermissionError:|EACCES|operation not permitted|access denied|(?:code|HTTP) 403|was blocked"),
        ("tests failed", r"(?m)^={3,} .{0,300}?\b[1-9]\d* failed\b|Tests?:? +[1-9]\d* failed|FAILED \([a-z]+=\d|\b--- FAIL:"),
        ("import error", r"ModuleNotFoundError|ImportError|Cannot find module|No module named"),
        ("syntax error", r"SyntaxError|IndentationError|(?i:syntax error|parse error)"),
        ("file not found", (r"(?i)no such file or directory|FileNotFoundError|ENOENT|(?:file|path|directory) (?:does not|doesn't) exist"
         r"|no matches found|can't open file")),
        ("invalid arguments", (r"(?i)InputValidationError|(?:parameter|argument)s?\b.{0,80}(?:required|expected|not allowed|invalid|missing|unexpected)"
         r"|(?:invalid|missing|unknown|required) (?:`?\w+`? )?(?:parameter|argument|option)|no such tool")),
        ("connection", (r"(?i)connection (?:refused|reset|error|aborted|closed)|ECONNREFUSED|ECONNRESET|ENOTFOUND|could not resolve host"
         r"|network is unreachable|ConnectionError|ConnectError")),
        ("http error", r"(?i)status code [45]\d\d|HTTP(?: error)?:? [45]\d\d|API Error:? [45]\d\d"),
        ("cancelled", r"(?m)^(?:[a-z_.]+\.)?(?:CancelledError|KeyboardInterrupt)\b"),
        ("out of memory", r"MemoryError|(?i:out of memory)|OOMKilled"),
        ("merge conflict", r"CONFLICT \(|Merge conflict"),
        ("exception", r"Traceback \(most recent call last\)|(?m:^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)\b)|panicked at|panic: "),
    )
}  # fmt: skip
_OF_EXCEPTIONS: Final = (
    *("rate limit", "timeout", "permission denied", "import error", "syntax error", "file not found", "connection"),
    *("cancelled", "out of memory"),
)
_WORDS: Final = {  # of which a text must have one before the expression of its class is tried: ten times as quick
    "edit not applied": (
        "to replace",
        "edit has introduced",
        "no replacement",
        "has not been read",
        "modified",
        "verbatim",
    ),
    "rate limit": (
        "rate limit",
        "rate-limit",
        "rate_limit",
        "ratelimit",
        "too many requests",
        "429",
        "quota",
        "overloaded",
    ),
    "timeout": ("timed out", "timeout", "deadline", "504"),
    "too long": ("maximum", "context", "too long"),
    "command not found": ("not found", "not recognized"),
    "permission denied": ("permi", "eacces", "access denied", "403", "blocked"),
    "tests failed": ("failed", "fail:"),
    "import error": ("import", "module"),
    "syntax error": ("syntaxerror", "indentationerror", "syntax error", "parse error"),
    "file not found": ("no such file", "filenotfound", "enoent", "exist", "no matches", "open file"),
    "invalid arguments": ("validation", "parameter", "argument", "option", "no such tool"),
    "connection": ("connect", "conn", "notfound", "resolve host", "network"),
    "http error": ("status code", "http", "api error"),
    "cancelled": ("cancellederror", "keyboardinterrupt"),
    "out of memory": ("memory", "oomkilled"),
    "merge conflict": ("conflict",),
    "exception": ("traceback", "error", "exception", "panic"),
}
