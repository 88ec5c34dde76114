"""The four stages of a survey, as the API calls them, and how far it is."""

from __future__ import annotations

from typing import Final, Literal

Stage = Literal["embedding", "clustering", "analyzing", "building_terrain"]

STEPS: Final[dict[str, tuple[Stage, int, int]]] = {  # step -> its stage, percent when it begins and when it ends
    "parse": ("embedding", 0, 5),
    "fetch": ("embedding", 5, 6),
    "embed": ("embedding", 6, 55),
    "fit": ("clustering", 55, 75),
    "refit": ("clustering", 55, 75),
    "place": ("clustering", 75, 78),
    "keep positions": ("clustering", 78, 80),
    "publish": ("clustering", 80, 85),
    "sample": ("analyzing", 85, 88),
    "label": ("analyzing", 88, 98),
    "terrain": ("building_terrain", 98, 99),
}


def stage_of(step: str) -> Stage | None:
    """The stage of a step; None for a step that belongs to the stage before it."""
    return STEPS[step][0] if step in STEPS else None


def percent(step: str, done: int, total: int) -> int:
    """Progress of the whole survey, 0 to 99; only a completed one is at 100.

    >>> percent("embed", 50, 100), percent("parse", 0, 0), percent("terrain", 1, 1)
    (30, 0, 99)
    """
    if step not in STEPS:
        return 0
    _, first, last = STEPS[step]
    share = min(1.0, done / total) if total > 0 else 0.0
    return int(first + (last - first) * share)
