"""Every invariant of a dataset, checked: in the store, in the newest snapshot, and in what makes searches of it quick."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from components.contracts import Check
from components.errors import NotFound
from components.search.lists import check_lists, search_cache
from components.snapshot.read import open_snapshot
from components.snapshot.verify import no_snapshot, verify_dataset
from components.store import Store


def verify(store: Store, dataset: str, dataset_id: int, *, output: Path, cache: Path) -> list[Check]:
    """All checks of one dataset; none of them writes, none raises on damage."""
    checks = verify_dataset(store, dataset, dataset_id, output)
    with suppress(NotFound, *no_snapshot):  # one of the checks says that it is missing
        checks.append(check_lists(open_snapshot(output), search_cache(cache, output)))
    return checks
