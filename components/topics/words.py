"""Words and phrases of a record's text that a name can be made of; code, data and markup are left out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

TEXT_CHARS: Final = 1_500  # of a text: its beginning says what it is about
PHRASE_WORDS: Final = 3
SPACELESS_CHARS: Final = range(2, 7)  # letters of a phrase in a script that puts no spaces between words
MAX_RUN_CHARS: Final = 40  # of such a script, without punctuation, that is cut into phrases

GAP: Final = "\n"  # between words that can't be part of one phrase
CODE = re.compile(
    r"""
    https?://\S+                              # addresses
    | \S*[/\\]\S+[/\\]\S*                     # paths
    | "[\w.\- ]{1,40}"\s*:                    # keys of JSON
    | \b[\w.]+=\S*                            # attributes of spans, and keys with values of log lines
    | <[^<>\s][^<>]{0,200}>                   # tags
    | [A-Za-z0-9+/=_\-]{25,}                  # tokens, digests, base64
    | \b\w*\d\w*\b                            # anything with a digit: hex, versions, identifiers
    | \b\w+(?:[._]\w+)+(?:\(\))?              # dotted and underscored names of code
    """,
    re.VERBOSE,
)
END = re.compile(r"[^\w\s'\u2019-]+|\s-+\s")  # of a phrase: punctuation, or a dash, unlike a hyphen
WORD = re.compile(r"[^\W\d_]{1,24}(?:['\u2019-][^\W\d_]{1,12})*")
HUMP = re.compile(r"[a-z][A-Z]")
HEX = re.compile(r"[a-f]+")
SPACELESS = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")  # Thai, Japanese, Chinese
ENGLISH = """
about above after again against all also although always am an and any anything are aren't as at be because been
before being below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't done
down during each either else etc even ever every few first for from further get gets getting give given go goes
going good got had has hasn't have haven't having he hello her here hers hi him his how however i'd i'll i'm i've
if in into is isn't it it's its itself just know last least less let let's like ll look looks made make makes many
may maybe me might more most much must my need needs never new next no nor not nothing now of off ok okay on once
one only onto or other our out over own per please put rather re really right run said same say says see seems
several shall she should show shows since so some something still such sure take than thank thanks that that's the
their them then there there's these they thing things this those three through thus to together too toward try
trying two under until up upon us use used uses using ve very via want wants was wasn't way we we'll we're well
were what when where whether which while who whom whose why will with within without won't would yes yet you you'll
you're your yours a i
"""
CODE_WORDS = """
args async await bool break case class const continue def default dict elif enum eval exec export extends false
final finally float fn foo func function global im impl import include init instanceof int interface io js json kwargs
lambda len let list main max min module mut namespace nan nil nonlocal none null num obj object param params pass
pre print private protected pub public py raise return returns self set static std stderr stdin stdout str string
struct super sys this throw throws true tuple txt type types undefined utf val value values var void yaml yield
com http https html org www amp div gt href lt nbsp px quot span src
"""
TRANSCRIPT_WORDS = """
action analysis answer assistant chunk command commands content count description duration exited exit id input
keystrokes ledger message observation output original plan process prompt reason response result role sec seconds status system
task text thought token tokens tool user wall time ms utc am pm attributes unset
"""
STOP_WORDS = frozenset(ENGLISH.split()) | frozenset(CODE_WORDS.split()) | frozenset(TRANSCRIPT_WORDS.split())
SHORT_WORDS = frozenset(("ai", "ui", "db", "ci", "pr", "os", "ip", "tv", "uk", "us"))
KNOWN_ACRONYMS = """
api app atm aws bug cli cpu css csv dns ftp gcp gif git gpu gui ide ios irs jpg jwt key llm log map npm orm pdf pin png rpc
sdk sim sms sql ssh ssl svg tag tar tax tcp tdd tls udp uri url usb vat vpn xml zip
"""
ACRONYMS = frozenset(KNOWN_ACRONYMS.split())  # three capitals that are words; others are codes, as of airports
HOME_FOLDER = re.compile(r"/(?:Users|home)/[^/\s\"']+(?:/(?:[Ww]ork\w*|repos|projects|code|src|dev))?")
NAME_OF_CODE = re.compile(
    r"(?<=[/\\])[A-Za-z][\w-]{2,30}(?:\.[a-z]{1,5})?\b|\b[a-z][a-z0-9]+(?:_[a-z0-9]+)+\b|\b[\w-]{3,30}\.[a-z]{2,4}\b"
)


def phrases_of(text: str) -> frozenset[str]:
    """Words and phrases of up to three words in lower case, neither beginning nor ending with a stop word.

    >>> sorted(phrases_of('Fix the parser: {"path": "/src/lib/a.py"} in 3f2a9c'))
    ['fix', 'fix the parser', 'parser']
    >>> "退款" in phrases_of("请尽快退款")
    True
    """
    found: set[str] = set()
    for piece in END.sub(GAP, CODE.sub(GAP, text[:TEXT_CHARS])).split(GAP):
        words = [word for word in WORD.findall(piece) if not HUMP.search(word)]
        for run in SPACELESS.findall(piece):
            found |= _parts(run[:MAX_RUN_CHARS])
        spaced = [word for word in words if not SPACELESS.match(word)]
        found |= _phrases([word.lower() if not _is_short_code(word) else "" for word in spaced])
    return frozenset(found)


def names_of_code(text: str) -> frozenset[str]:
    """Names of files, folders, functions and variables in a text: for topics that share no other words.

    >>> sorted(names_of_code("edit /home/ann/app/main.py and call load_users"))
    ['app', 'load_users', 'main.py']
    """
    return frozenset(NAME_OF_CODE.findall(HOME_FOLDER.sub("", text[:TEXT_CHARS])))


def _is_short_code(word: str) -> bool:
    """Three capitals that are no known word."""
    return len(word) == 3 and word.isupper() and word.lower() not in ACRONYMS


def _phrases(words: list[str]) -> set[str]:
    found: set[str] = set()
    for start, first in enumerate(words):
        if is_readable(first):
            for end in range(start, min(start + PHRASE_WORDS, len(words))):
                if is_readable(words[end]) and len(set(words[start : end + 1])) == end + 1 - start:
                    found.add(" ".join(words[start : end + 1]))
    return found


def _parts(run: str) -> set[str]:
    """All parts of a text without spaces; the longest that many texts share are its words."""
    return {run[at : at + n] for n in SPACELESS_CHARS for at in range(len(run) - n + 1)}


@lru_cache(maxsize=65_536)  # logs repeat the same words
def is_readable(word: str) -> bool:
    """Is this a word that says something: no stop word, no hexadecimal number, no row of equal letters?"""
    if len(word) < 3:
        return word in SHORT_WORDS
    return word not in STOP_WORDS and not HEX.fullmatch(word) and len(set(word)) > 2
