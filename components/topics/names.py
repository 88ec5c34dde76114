"""Names for topics from the words of their records, without any model of language.

A topic is named after the tool that most of its records belong to, if there is one, and after phrases that many of its
records share and few other topics have: class-based TF-IDF (Grootendorst 2022, section 3.3), counted once a record, so that
one long text can't name a topic, and over runs, so that a name in a single run can't either.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import NameSource
from components.topics.words import STOP_WORDS, names_of_code, phrases_of

MAX_PHRASES: Final = 2
MAX_WORDS: Final = 4  # of all phrases of a name together
DOMINANT_SHARE: Final = 0.5  # of a topic's weight is one text, which then names it alone
MIN_SHARE: Final = 0.3  # of a topic's records have the phrase
COMMON_SHARE: Final = 0.6  # of a topic's records share a tool or a type, from which on it is part of the name
CANDIDATES: Final = 8  # phrases that are compared with the topic's vectors
CLOSENESS_WEIGHT: Final = 1.0  # of a difference in cosine, in the exponent
LONGER_WEIGHT: Final = 1.35  # of each further word of a phrase
BROKEN_WEIGHT: Final = 0.9  # of each stop word within
CODE_WEIGHT: Final = 0.3  # of names of files and functions, which say less than words
CODE = re.compile(r"[._]|\d")
EVERYWHERE: Final = 0.2  # of all topics have a phrase: it says nothing
MAX_NAME_CHARS: Final = 60
EXCERPT_CHARS: Final = 40  # of a text in place of words
ROW_TYPE: Final = "row"
UNSPOKEN_TYPES: Final = frozenset(("assistant", "user", "system", "reasoning", "span", ROW_TYPE))

ClosenessOf = Callable[
    [Sequence[tuple[int, str]]], NDArray[np.float32]
]  # of phrases to topics, by number: cosines (n,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some typical records of a topic: parallel sequences. `tools` are empty where a record has none.

    `weights` tell how much each counts, all the same if there are none.
    """

    texts: Sequence[str]
    types: Sequence[str]
    tools: Sequence[str]
    runs: Sequence[str]
    weights: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name and one sentence on it, and where they come from."""

    name: str
    description: str
    source: NameSource


def keyword_names(
    samples: Sequence[Sample],
    closeness_of: ClosenessOf | None = None,
    *,
    taken: Collection[str] = (),
    min_share: float = MIN_SHARE,
) -> list[Name]:
    """One name for each topic, none of them twice or in `taken`, from phrases that `min_share` of its records have.

    `closeness_of` tells how close phrases are to the vectors of a topic, by its number.
    """
    shares = [_shares(sample, min_share) for sample in samples]
    spread = Counter(phrase for share in shares for phrase in share)
    candidates = [_candidates(share, spread, len(samples)) for share in shares]
    if closeness_of is not None:
        candidates = _reranked(candidates, closeness_of)
    names = [_name(sample, found) for sample, found in zip(samples, candidates, strict=True)]
    return _told_apart(names, samples, candidates, taken)


def _shares(sample: Sample, min_share: float) -> dict[str, float]:
    """Phrases that many records have, and their share by weight; they occur in several texts and, if there are, runs."""
    weights = sample.weights or [1.0] * len(sample.texts)
    found: dict[str, _Occurrences] = {}
    tool_words = {word for tool in sample.tools for word in _tool_words(tool)}
    rows = zip(sample.texts, sample.types, sample.tools, sample.runs, weights, strict=True)
    for text, type, tool, run, weight in rows:
        plain = _without_tool(text, tool)
        for phrase in phrases_of(plain) | (names_of_code(plain) if type != "span" else set()):
            found.setdefault(phrase, _Occurrences()).add(weight, run)
    total, n, n_runs = sum(weights), len(sample.texts), len(set(sample.runs))
    is_common = {
        phrase: one.weight >= min_share * total
        and (n <= 2 or one.heaviest >= DOMINANT_SHARE * total or (one.n > 1 and (n_runs < 3 or len(one.runs) > 1)))
        for phrase, one in found.items()
    }
    return {
        phrase: one.weight / total
        for phrase, one in found.items()
        if is_common[phrase] and not set(phrase.split()) <= tool_words
    }


class _Occurrences:
    """In how many texts a phrase occurs, of which weights and in which runs."""

    def __init__(self) -> None:
        self.n, self.weight, self.heaviest = 0, 0.0, 0.0
        self.runs: set[str] = set()

    def add(self, weight: float, run: str) -> None:
        self.n += 1
        self.weight += weight
        self.heaviest = max(self.heaviest, weight)
        self.runs.add(run)


def _without_tool(text: str, tool: str) -> str:
    """The text of a tool call behind the tool's name."""
    return text[len(tool) :] if tool and text.startswith(tool) else text


def _candidates(shares: Mapping[str, float], spread: Counter[str], n_topics: int) -> list[tuple[str, float]]:
    """The best phrases and their scores, best first. A phrase within a longer one that is as frequent gives way to it."""
    scores: dict[str, float] = {}
    for phrase, share in shares.items():
        if n_topics >= 10 and spread[phrase] > EVERYWHERE * n_topics:
            continue
        rarity = math.log((n_topics + 1) / spread[phrase]) if n_topics > 1 else 1.0
        words = phrase.split()
        spoken = [word for word in words if word not in STOP_WORDS]
        longer = LONGER_WEIGHT ** (len(spoken) - 1) * BROKEN_WEIGHT ** (len(words) - len(spoken))
        scores[phrase] = share * (0.3 + rarity) ** 2 * longer
        if CODE.search(phrase):
            scores[phrase] *= CODE_WEIGHT
    best = sorted(scores, key=lambda phrase: (-scores[phrase], -len(phrase), phrase))
    kept: list[tuple[str, float]] = []
    for phrase in best:
        container = next((other for other, _ in kept if phrase in other), None)
        if container is None or shares[phrase] > 1.5 * shares[container]:
            kept.append((phrase, scores[phrase]))
        if len(kept) == CANDIDATES:
            break
    return kept


def _reranked(
    candidates: Sequence[list[tuple[str, float]]], closeness_of: ClosenessOf
) -> list[list[tuple[str, float]]]:
    """The candidates by their score and their closeness to the topic, each relative to the topic's best."""
    pairs = [(topic, phrase) for topic, found in enumerate(candidates) for phrase, _ in found]
    closeness = dict(zip(pairs, closeness_of(pairs).tolist(), strict=True)) if pairs else {}
    reranked = []
    for topic, found in enumerate(candidates):
        top_score = max((score for _, score in found), default=1.0) or 1.0
        top_closeness = max((closeness[topic, phrase] for phrase, _ in found), default=1.0)
        scored = [
            (phrase, score / top_score * math.exp(CLOSENESS_WEIGHT * (closeness[topic, phrase] - top_closeness)))
            for phrase, score in found
        ]
        reranked.append(sorted(scored, key=lambda one: (-one[1], one[0])))
    return reranked


def _name(sample: Sample, candidates: Sequence[tuple[str, float]], *, n_phrases: int = MAX_PHRASES) -> Name:
    kind = _kind(sample)
    phrases = _chosen(candidates, n_phrases)
    description = _description(sample, [phrase for phrase, _ in candidates[:6]])
    if phrases:
        name = ", ".join(phrases)
        return Name(name=_cut(f"{kind}: {name}" if kind else name), description=description, source="keywords")
    excerpt = _excerpt(sample)
    return Name(name=_cut(f"{kind}: {excerpt}" if kind else excerpt), description=description, source="fallback")


def _chosen(candidates: Sequence[tuple[str, float]], n_phrases: int) -> list[str]:
    """The best phrases that share no word, as many as fit."""
    chosen: list[str] = []
    stems: set[str] = set()
    for phrase, score in candidates:
        words = {word[:5] for word in phrase.split() if word not in STOP_WORDS}
        n_words = sum(len(one.split()) for one in chosen) + len(phrase.split())
        is_weak = bool(chosen) and score < 0.25 * candidates[0][1]
        if not words & stems and (not chosen or n_words <= MAX_WORDS) and not is_weak:
            chosen.append(phrase)
            stems |= words
        if len(chosen) == n_phrases:
            break
    return chosen


def _kind(sample: Sample) -> str:
    """The tool that most records belong to, as calls or results; otherwise a type that tells something, or ""."""
    tool, n_tool = Counter(sample.tools).most_common(1)[0] if sample.tools else ("", 0)
    type, n_type = Counter(sample.types).most_common(1)[0] if sample.types else ("", 0)
    n = max(1, len(sample.texts))
    second = [one for one, count in Counter(sample.tools).most_common(2)[1:] if one and count >= 0.2 * n]
    n_second = sum(one in second for one in sample.tools)
    if tool and n_tool + n_second >= COMMON_SHARE * n:
        named = [tool] if n_tool >= COMMON_SHARE * n else [tool, *second]
        spoken = " / ".join(" ".join(_tool_words(one, lower=False)) or one for one in named)
        part = {"tool_call": "calls", "tool_result": "results"}.get(type, "") if n_type >= COMMON_SHARE * n else ""
        return f"{spoken} {part}".strip()
    if type == "span" and n_type >= COMMON_SHARE * n:
        return f"{_operation(sample.texts)} spans".strip()
    if type and n_type >= COMMON_SHARE * n and type not in UNSPOKEN_TYPES:
        return _plural(type)
    return ""


def _operation(texts: Sequence[str]) -> str:
    """The operation of most spans, else their service, else ""; texts begin with the service and the operation.

    >>> _operation(["shop app.db.Pool.query OK in <10ms"])
    'Pool.query'
    """
    for at in (1, 0):
        words = [".".join(words[at].split(".")[-2:]) for text in texts if len(words := text.split(maxsplit=2)) > 1]
        if words:
            word, n = Counter(words).most_common(1)[0]
            if n >= COMMON_SHARE * len(texts):
                return word
    return ""


def _plural(type: str) -> str:
    plain = type.replace("_", " ").strip()
    return (
        plain if plain.endswith("s") else plain + ("es" if plain.endswith("ch") else "s") if plain.isascii() else plain
    )


def _tool_words(tool: str, *, lower: bool = True) -> list[str]:
    """The words of a tool's name.

    >>> _tool_words("get_reservationDetails")
    ['get', 'reservation', 'details']
    """
    last = re.split(r"__|[.:/]", tool)[-1]
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[^\W\d_]+", last)
    return [word.lower() for word in words] if lower or len(words) > 1 else words


def _excerpt(sample: Sample) -> str:
    """The beginning of the most typical text, in quotes."""
    text = " ".join(_without_tool(sample.texts[0], sample.tools[0]).split()) if sample.texts else "untitled"
    return f"\u201c{text[:EXCERPT_CHARS].rstrip()}{'…' if len(text) > EXCERPT_CHARS else ''}\u201d"


def _description(sample: Sample, phrases: Sequence[str]) -> str:
    """What the records are, and more of their words."""
    n = max(1, len(sample.types))
    shares = [f"{type.replace('_', ' ')} {count / n:.0%}" for type, count in Counter(sample.types).most_common(2)]
    tools = [tool for tool, count in Counter(sample.tools).most_common(2) if tool and count >= 0.2 * n]
    if set(sample.types) == {ROW_TYPE}:  # rows of a table are nothing but that
        return ", ".join(phrases)
    parts = [", ".join(shares), *(["tools: " + ", ".join(tools)] if tools else [])]
    return "; ".join([*parts, *(["words: " + ", ".join(phrases)] if phrases else [])])


def _told_apart(
    names: Sequence[Name],
    samples: Sequence[Sample],
    candidates: Sequence[Sequence[tuple[str, float]]],
    others: Collection[str],
) -> list[Name]:
    """The names, where several topics would have the same one with the phrases that tell them apart, or a number."""
    found: list[Name] = []
    taken: Counter[str] = Counter(others)
    for name, sample, phrases in zip(names, samples, candidates, strict=True):
        rest = list(phrases)
        chosen = name
        while taken[chosen.name] and len(rest) > 1:
            rest = rest[1:]
            chosen = _name(sample, rest)
        if taken[chosen.name]:
            chosen = Name(
                name=f"{name.name} ({taken[name.name] + 1})", description=name.description, source=name.source
            )
            taken[name.name] += 1
        taken[chosen.name] += 1
        found.append(chosen)
    return found


def _cut(name: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return plain if len(plain) <= MAX_NAME_CHARS else plain[: MAX_NAME_CHARS - 1].rstrip(" ,:") + "…"
