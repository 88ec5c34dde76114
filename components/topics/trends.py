"""How topics changed between two snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from components.contracts import Topic

Trend = Literal["new", "returned", "growing", "fading", "steady"]

GROWING_RATIO: Final = 1.5  # of the share among new records to the share before
FADING_RATIO: Final = 0.5
SIGNIFICANT: Final = 0.01  # probability of so many, or so few, records of a topic if its share had stayed the same


def trends(
    now: Sequence[Topic], before: Sequence[Topic], *, since: int, rows_now: int, rows_before: int
) -> list[Trend]:
    """The trend of each topic of `now`, whose snapshot has `rows_now` records, after snapshot `since`.

    A topic grows or fades if its share of the new records differs clearly from its share before (binomial test).
    """
    sizes = {topic.id: topic.size for topic in before}
    return [_trend(topic, sizes.get(topic.id, 0), since, rows_now - rows_before, rows_before) for topic in now]


def _trend(topic: Topic, size_before: int, since: int, n_new: int, rows_before: int) -> Trend:
    from scipy.stats import binom

    returned = any(event.event == "returned" and event.snapshot > since for event in topic.lineage)
    if returned or topic.born > since:
        return "returned" if returned else "new"
    if n_new <= 0 or not rows_before:
        return "steady"
    share, added = size_before / rows_before, topic.size - size_before
    if added >= GROWING_RATIO * share * n_new and binom.sf(added - 1, n_new, share) < SIGNIFICANT:
        return "growing"
    if added <= FADING_RATIO * share * n_new and binom.cdf(max(added, 0), n_new, share) < SIGNIFICANT:
        return "fading"
    return "steady"
