"""Which records a search considers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

KNOWN_EXTRAS = ("tool", "model", "project", "outcome")  # extra fields with filters of their own in HTTP


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """All must hold; several values of one filter are alternatives. `filename` is a glob, `run` a whole filename.

    `topic` are ids of topics or of groups of them, -1 for none. `since` is included, `until` is not; times without a zone are UTC. `new_since` is the number of a snapshot; `extra` compares values as text.
    """

    type: Sequence[str] = ()
    filename: Sequence[str] = ()
    run: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    topic: Sequence[int] = ()
    new_since: int | None = None
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Filters()
