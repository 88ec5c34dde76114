"""The encoding of an uploaded table: by its mark, by being valid UTF-8, or by what its letters make plausible."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKS: Final = (  # in this order: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WESTERN: Final = "cp1252"
CODE_PAGES: Final = (  # that spreadsheets and systems save in; rare ones would often look as plausible
    *("cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "koi8_r"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
BLOCK_BYTES: Final = 1 << 16
SAMPLE_BYTES: Final = 1 << 18  # around bytes beyond ASCII
FEW: Final = 0.1  # bytes that are not UTF-8, per character beyond ASCII: damage of a file that is UTF-8 otherwise
LETTERS_BEYOND_ASCII: Final = 0.4  # of all letters: more than in any language that cp1252 is for
SYMBOLS_IN_WORDS: Final = 0.02  # of all characters beyond ASCII; in cp1252 none stands between letters
_beyond_ascii = re.compile(rb"[^\r\n]{0,60}[\x80-\xff]+[^\r\n]{0,60}")
LITTLE_NOISE: Final = 0.03
RARER: Final = 0.05  # of coherence, that a code page needs more than the one before it
USUAL_SIGNS: Final = frozenset(
    "\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026\u20ac\u00ab\u00bb\u00a0\u00b0\u2116\u3002\u3001\uff0c\uff1f\uff01"
)
_word = re.compile(r"[^\W\d_]+")
_between_letters = re.compile(r"[^\W\d_]([^\w\s'\u2019\u2018\u2013\u2014\u00b7\x00-\x7f])[^\W\d_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How bytes become text: the codec, and the mark before the text. Bytes that the codec lacks survive a round trip."""

    codec: str
    mark: bytes = b""
    is_damaged: bool = False  # some bytes are not what the codec expects

    @property
    def errors(self) -> str:
        """How codecs treat bytes that they lack."""
        return "replace" if self.codec.startswith(("utf-16", "utf-32")) else "surrogateescape"

    @property
    def charset(self) -> str:
        """The name in a Content-Type."""
        if self.mark and self.codec.startswith(("utf-16", "utf-32")):
            return self.codec[:6]
        return {"cp1252": "windows-1252"}.get(self.codec, self.codec)


def detect_encoding(file: Path) -> Encoding:
    """The encoding of a file of text."""
    with file.open("rb") as opened:
        head = opened.read(BLOCK_BYTES)
    for mark, codec in MARKS:
        if head.startswith(mark):
            return Encoding(codec=codec, mark=mark)
    if wide := _wide(head):
        return Encoding(codec=wide)
    if _is_utf8(file):
        return Encoding(codec="utf-8")
    sample = _sample(file)
    if _is_damaged_utf8(sample):
        return Encoding(codec="utf-8", is_damaged=True)
    return Encoding(codec=WESTERN if _is_western(sample) else _guessed(sample))


def _wide(head: bytes) -> str:
    """UTF-16 without a mark has a NUL in every other byte of plain text; "" if it is not that."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = max(1, len(head) // 2)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else ""


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            yield block


def _is_utf8(file: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in _blocks(file):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _sample(file: Path) -> bytes:
    found, size = [], 0
    for block in _blocks(file):
        for piece in _beyond_ascii.findall(block):
            found.append(piece)
            size += len(piece)
        if size > SAMPLE_BYTES:
            break
    return b"\n".join(found)


def _is_damaged_utf8(sample: bytes) -> bool:
    text = sample.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= c <= "\udcff" for c in text)
    return broken <= FEW * sum(c > "\x7f" and not "\udc80" <= c <= "\udcff" for c in text)


def _is_western(sample: bytes) -> bool:
    """Do the bytes read as cp1252 make words of a language that uses it?

    >>> _is_western("Das hängt, à la carte, 70 €".encode("cp1252")), _is_western("Привет".encode("cp1251"))
    (True, False)
    >>> _is_western("łódź, część, źle, książka".encode("cp1250"))
    False
    """
    text = sample.decode(WESTERN, "replace")
    letters = [c for c in text if c.isalpha()]
    beyond = sum(c > "\x7f" for c in text)
    if sum(c > "\x7f" for c in letters) > LETTERS_BEYOND_ASCII * max(1, len(letters)):
        return False
    return len(_between_letters.findall(text)) <= SYMBOLS_IN_WORDS * beyond


def _guessed(sample: bytes) -> str:
    """The code page that makes words of the bytes, and of several the one whose letters are as frequent as in a language."""
    from charset_normalizer import from_bytes

    noise = {codec: found for codec in CODE_PAGES if (found := _noise(sample, codec)) is not None}
    if not noise:
        return WESTERN
    least = min(noise.values())
    coherence = {match.encoding: match.coherence for match in from_bytes(sample, cp_isolation=list(CODE_PAGES))}
    plausible = [codec for codec in CODE_PAGES if noise.get(codec, 1.0) <= least + LITTLE_NOISE]
    return max(plausible, key=lambda codec: coherence.get(codec, 0.0) - RARER * CODE_PAGES.index(codec))


def _noise(sample: bytes, codec: str) -> float | None:
    """Signs that a code page is the wrong one, per character beyond ASCII; None where it lacks some of the bytes."""
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError:
        return None
    beyond = [c for c in text if c > "\x7f"]
    strange = sum(not c.isalpha() and c not in USUAL_SIGNS for c in beyond)
    switches = sum(not word.istitle() and not word.islower() and not word.isupper() for word in _word.findall(text))
    return (strange + switches + len(_between_letters.findall(text))) / max(1, len(beyond))
