"""The result of a comparison, as JSON and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from components.compare.permute import SIGNIFICANT
from components.compare.topics import TopicDifference
from components.contracts import TOPIC_LEVEL

CHANCE_Q = 0.2  # of a list item or topic that is worth a mention
SHOWN_CHARS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSize:
    """A set: its filters, runs, records of agents, tasks that are known, and the median of distinct texts a run."""

    filters: Sequence[str]
    runs: int
    records: int
    tasks: int
    median_texts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A behaviour to read about: the record in its middle, and runs of both sets that have something like it.

    `p` is family-wise, `q` the expected share of chance in the list up to here; `interval` is 95 % of the difference of
    shares (A minus B), too good since the item was chosen for it. `examples` are ids of other records of it.
    """

    id: str
    side: str
    runs_a: int
    runs_b: int
    q: float
    text: str
    p: float
    p_within_tasks: float | None
    score: float
    interval: tuple[float, float]
    filename: str
    type: str
    explained_by: Sequence[str]
    examples: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What tells two sets of runs apart in a snapshot. `p_within_tasks` is None where no task has runs of both sets.

    `needed` is how many like runs of A alone, and of B alone, would be significant at this size; None: no number would.
    """

    snapshot: int
    a: SetSize
    b: SetSize
    p: float
    p_within_tasks: float | None
    needed: Mapping[str, int | None]
    topics: Sequence[TopicDifference]
    reading: Sequence[Reading]
    cautions: Sequence[str]
    id: str = ""

    @property
    def is_significant(self) -> bool:
        """Is there a behaviour that chance would hardly show?"""
        return self.p <= SIGNIFICANT

    def lines(self, limit: int = 10) -> Iterator[str]:
        """For a terminal: summary, list and topics, at most so many of each."""
        return lines(self, limit)

    def as_dict(self) -> dict[str, Any]:
        """As JSON, with the summary in words."""
        return {**asdict(self), "significant": self.is_significant, "summary": list(summary(self))}


def is_of_its_side(one: Reading, n_a: int, n_b: int) -> bool:
    """Do more of the side's runs show it, as the list says? The run in whose words it is counts here, and not in the score."""
    more = one.runs_a * n_b - one.runs_b * n_a
    return more > 0 if one.side == "a" else more < 0


def from_dict(raw: Mapping[str, Any]) -> Comparison:
    """The comparison that `as_dict` made this of, or its JSON."""
    known = {one.name: raw[one.name] for one in fields(Comparison)}
    return Comparison(
        **known
        | {
            "a": SetSize(**_tuples(raw["a"])),
            "b": SetSize(**_tuples(raw["b"])),
            "topics": tuple(TopicDifference(**one) for one in raw["topics"]),
            "reading": tuple(Reading(**_tuples(one)) for one in raw["reading"]),
            "cautions": tuple(raw["cautions"]),
        }
    )


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def newcombe(a: int, n_a: int, b: int, n_b: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a / n_a - b / n_b (Newcombe 1998, method 10).

    >>> [round(end, 3) for end in newcombe(56, 70, 48, 80)]
    [0.052, 0.334]
    """
    (p_a, low_a, high_a), (p_b, low_b, high_b) = _wilson(a, n_a, z), _wilson(b, n_b, z)
    low = p_a - p_b - np.hypot(p_a - low_a, high_b - p_b)
    return round(float(low), 4), round(float(p_a - p_b + np.hypot(high_a - p_a, p_b - low_b)), 4)


def _wilson(x: int, n: int, z: float) -> tuple[float, float, float]:
    """The share x / n, and the ends of Wilson's interval of it."""
    p = x / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


# --- in words ----------------------------------------------------------------------------------------------------


def summary(found: Comparison) -> Iterator[str]:
    """What was found, in sentences: the verdict, what it would take, and what else could explain it."""
    a, b = found.a, found.b
    yield f"{_named(a)} (a) against {_named(b)} (b), snapshot {found.snapshot}."
    yield _verdict(found)
    yield _power(found)
    yield from found.cautions


def _named(chosen: SetSize) -> str:
    if not chosen.filters:
        return f"all {chosen.runs:,} other runs" if chosen.runs > 1 else "the only other run"
    return f"{chosen.runs:,} {'runs' if chosen.runs > 1 else 'run'} with {', '.join(chosen.filters)}"


def _verdict(found: Comparison) -> str:
    significant = [one for one in found.reading if one.p <= SIGNIFICANT]
    if not found.reading:
        return "No difference was found: no behaviour is denser in one of the sets."
    if not significant:
        return (
            f"No difference is proven (p = {found.p:.3f}): chance alone shows one as clear as the first item that often. "
            "What follows is a reading list and no proof."
        )
    sides = [sum(one.side == side for one in significant) for side in "ab"]
    text = (
        f"{len(significant)} {'behaviour tells' if len(significant) == 1 else 'behaviours tell'} the sets apart (p <= {SIGNIFICANT}): "
        f"{sides[0]} more frequent in a, {sides[1]} in b."
    )
    if found.p_within_tasks is None:
        return f"{text} No task has runs of both sets, so it may be the tasks that differ, not the runs."
    if found.p_within_tasks > SIGNIFICANT:
        return (
            f"{text} Among runs of the same task nothing is proven (p = {found.p_within_tasks:.3f}): "
            "much of the difference may be which tasks each set has."
        )
    return f"{text} A difference remains among runs of the same task (p = {found.p_within_tasks:.3f})."


def _power(found: Comparison) -> str:
    needed = [found.needed["a"], found.needed["b"]]
    if None in needed:
        return "With so few runs no finding can be significant: the list says what to read, and proves nothing."
    return (
        f"At this size a behaviour is significant from about {needed[0]} runs of a and none of b, or {needed[1]} of b and none of "
        "a, if what they say is alike and unlike all else. Only part of the runs that do the same say it alike, so take two to "
        "four times as many. What fewer runs do may be in the list, or missing."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SideList:
    """What to read of one set, the clearest first, and a heading for it."""

    side: str
    heading: str
    items: Sequence[Reading]


def by_side(found: Comparison) -> list[SideList]:
    """The reading list of each set that has one. Who asks about one set has to read half as far as in both lists as one."""
    lists = []
    for side, chosen in (("a", found.a), ("b", found.b)):
        items = [one for one in found.reading if one.side == side]
        if items:
            name = ", ".join(chosen.filters) or "all other runs"
            lists.append(SideList(side=side, heading=f"More frequent in {side} ({name}):", items=items))
    return lists


def counts_in_words(one: Reading, found: Comparison) -> str:
    """In how many runs of each set."""
    sides = [("a", one.runs_a, found.a.runs), ("b", one.runs_b, found.b.runs)]
    (first, n, of), (other, n_other, of_other) = sides if one.side == "a" else sides[::-1]
    text = f"in at least {n:,} of {of:,} runs of {first} and in {n_other:,} of {of_other:,} of {other}"
    return f"{text}; {' and '.join(one.explained_by)} may explain most of it" if one.explained_by else text


def lines(found: Comparison, limit: int = 10) -> Iterator[str]:
    """For a terminal: the summary, the list to read, the topics. Texts are cut; control characters are the caller's."""
    yield from summary(found)
    for part in by_side(found):
        yield part.heading
        for n, one in enumerate(part.items[:limit], 1):
            low, high = (100 * end for end in one.interval)
            mark = "*" if one.p <= SIGNIFICANT else " "
            yield (
                f"{n:>3}{mark} p {one.p:.3f}  q {one.q:.2f}  {counts_in_words(one, found)}; a minus b {low:+.0f} to {high:+.0f} points"
            )
            yield f"      {one.id}  {excerpt(one.text)}"
        if len(part.items) > limit:
            yield f"     … and {len(part.items) - limit:,} more; `--limit` or `--json` shows them."
    if found.reading:
        yield f"* significant. Intervals are optimistic: the items were chosen for their difference. q <= {CHANCE_Q} is worth reading."
    topics = differing_topics(found)
    if topics:
        yield f"Topics whose share of runs differs (q <= {CHANCE_Q}):"
    for topic in topics[:limit]:
        yield f"  {topic.id:>6}  q {topic.q:.3f}  {topic_in_words(topic, found)}  {topic.name}"


def differing_topics(found: Comparison) -> list[TopicDifference]:
    """The topics (no groups of them) whose difference is hardly chance."""
    return [one for one in found.topics if one.q <= CHANCE_Q and one.level == TOPIC_LEVEL]


def topic_in_words(topic: TopicDifference, found: Comparison) -> str:
    """Lift and runs of a topic."""
    return f"lift {topic.lift:.2f}: {topic.runs_a:,} of {found.a.runs:,} runs of a, {topic.runs_b:,} of {found.b.runs:,} of b"


def excerpt(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line[:SHOWN_CHARS] + "…" if len(line) > SHOWN_CHARS else line
