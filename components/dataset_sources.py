"""The sources of a dataset: listed with their origin, and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.locations import without_credentials, without_password
from components.retry import retry_while_busy
from components.settings import Settings
from components.sources.specs import covers, remembered_spec
from components.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSource:
    """A source of a dataset, and where it is set."""

    source: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSources:
    """What was forgotten: the sources as given, the files or tables below them, the records that leave the map."""

    sources: list[str]
    files: int
    records: int


def list_sources(settings: Settings, dataset: str, sources: Sequence[str]) -> list[ListedSource]:
    """Where each of the `sources` of a dataset is set; URLs without credentials."""
    configured = set(map(without_password, settings.dataset(dataset).sources))
    return [
        ListedSource(
            source=without_credentials(spec),
            origin="set in the settings" if spec in configured else "remembered from a load",
        )
        for spec in sources
    ]


def remove_sources(
    store: Store,
    dataset: str,
    dataset_id: int,
    configured: Sequence[str],
    sources: Sequence[str],
    *,
    with_records: bool,
) -> RemovedSources:
    """Forget remembered sources; with their records or without.

    Raises `NotFound` for one that is not remembered, `BadSetting` for one that is `configured`.
    """
    remembered = store.datasets.sources(dataset_id)
    specs = [remembered_spec(source, remembered, configured, dataset) for source in sources]
    rest = [spec for spec in (*configured, *remembered) if spec not in specs]

    def is_left(location: str) -> bool:
        return any(covers(spec, location) for spec in specs) and not any(covers(spec, location) for spec in rest)

    entries = [entry for entry in store.ledger.entries(dataset_id) if is_left(entry.location)]
    records = retry_while_busy(
        lambda: store.ledger.remove(
            dataset_id, specs, [entry.source_id for entry in entries], with_records=with_records
        )
    )
    return RemovedSources(sources=list(sources), files=len(entries), records=records)
