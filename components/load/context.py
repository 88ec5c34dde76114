"""What all steps of one load read, and what became of each source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from components.contracts import DataSource
from components.credentials import Credentials
from components.locations import absolute, without_password
from components.retry import retry_while_busy
from components.settings import DatasetSettings
from components.store import Store

Outcome = Literal["loaded", "resumed", "skipped", "not_ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadContext:
    """One load of one dataset. `given` are the sources it was started with; without any, it loads all that are known."""

    store: Store
    source: DataSource
    dataset: str
    settings: DatasetSettings
    credentials: Credentials
    given: Sequence[str] = ()
    format: str = ""  # read as this format; empty: detected
    verify: bool = False

    @property
    def options(self) -> str:
        """Changes when a setting changes that a source which failed before might now be read with."""
        spelled = repr((self.format, sorted(self.settings.columns.items()), self.settings.history))
        if self.settings.corpus:
            spelled += self.settings.corpus.spelled()
        return hashlib.sha256(spelled.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOutcome:
    """What became of one source in one load."""

    source: str
    outcome: Outcome
    reason: str = ""
    is_known: bool = False  # an earlier load has reported the same reason
    new: int = 0
    existing: int = 0
    superseded: int = 0
    defects: int = 0
    size_bytes: int = 0
    skipped_by_rule: Mapping[str, int] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)  # kind -> secrets replaced
    warning: str = ""  # it was read, but gave suspiciously little


class GivenSources:
    """The sources that a load was started with, until later loads know them: once something of each could be read."""

    def __init__(self, context: LoadContext) -> None:
        self._context = context
        self._specs = set(map(context.credentials.completed, context.given))

    def __sub__(self, specs: set[str]) -> set[str]:
        return self._specs - specs

    def remember(self, dataset_id: int, specs: set[str]) -> None:
        """Lets later loads of the dataset load these as well; specs that were not given are ignored."""
        if fresh := sorted(specs & self._specs):
            self._specs.difference_update(fresh)
            paths = list(map(absolute, fresh))
            self._context.credentials.keep(paths)
            bare = [without_password(spec) for spec in paths]
            retry_while_busy(lambda: self._context.store.datasets.remember(dataset_id, bare))
