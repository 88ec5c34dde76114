"""The values of topics: what is kept of each between two fits of a map, and what happened to it.

A row is a distinct vector of the fitted map. Topics form a tree: those of the finest level hold rows, those of the
levels above hold topics. All ids come from one counter that only grows, so an id never means two things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]  # (n,), the cluster or topic of each row; NOISE and WAITING are negative
Points = NDArray[np.float32]  # (n, d), positions in d dimensions
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

NOISE: Final = -1  # belongs to no topic; also "no topic" and "no parent" where an id is expected
WAITING: Final = -2  # a row that was not part of the previous fit
LEAF: Final = 3  # the finest level; 0, 1 and 2 have about 10, 30 and 100 topics

EventKind = Literal["new", "split from", "merged into", "ended", "returned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to the topic `id`; `other` is what it was split from or merged into.

    `from_noise`: a new topic that was found among rows without a topic, and not because its theme arrived.
    """

    kind: EventKind
    id: int
    other: int = NOISE
    from_noise: bool = False


def _no_rows() -> NDArray[np.float16]:
    return np.empty((0, 0), np.float16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topic:
    """One topic as of the last fit.

    `centroid` (dim,) is the mean of its rows at unit length; `ghosts` (g, dim) are some of its rows, which recognise
    the theme should it return after the topic has ended. `cooldown`: refits during which it is neither split nor
    merged. A pinned topic was merged by a person and is never split.
    """

    id: int
    level: int = LEAF
    parent: int = NOISE
    size: int
    centroid: NDArray[np.float32]
    ghosts: NDArray[np.float16] = field(default_factory=_no_rows)
    is_ended: bool = False
    merged_into: int = NOISE
    cooldown: int = 0
    is_pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopicState:
    """All topics by ascending id, ended ones included, and the next free id.

    `far`: a row whose fifth neighbour is farther than this cosine distance belongs to no topic. `first_rows`: rows of
    the clustering from scratch that the topics go back to.
    """

    topics: Sequence[Topic] = ()
    next_id: int = 0
    far: float = np.inf
    first_rows: int = 0

    @property
    def leaves(self) -> list[Topic]:
        """The topics that hold rows, those that ended left out."""
        return [topic for topic in self.topics if topic.level == LEAF and not topic.is_ended]

    @property
    def ended(self) -> list[Topic]:
        """Topics of the finest level that ended and may return."""
        return [one for one in self.topics if one.level == LEAF and one.is_ended and one.merged_into == NOISE]

    def of_level(self, level: int) -> list[Topic]:
        """The topics of a level, those that ended left out."""
        return [topic for topic in self.topics if topic.level == level and not topic.is_ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """The new state, the topic of each row (n,), and what happened, in the order in which it happened."""

    state: TopicState
    labels: Labels
    events: Sequence[Event]
