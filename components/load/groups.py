"""Groups of sources that are loaded as one step: an orchestrator pays for each step, and a retry repeats one."""

from __future__ import annotations

from collections.abc import Sequence

from components.contracts import Locator

max_groups = 100  # in a load; a task costs the Prefect server 40 ms and 20 KiB
group_bytes = 16 << 20  # small sources are read together up to this much
group_sources = 200


def by_size(locators: Sequence[Locator]) -> list[list[Locator]]:
    """The locators in groups, order kept: a big source alone, small ones together, at most about a hundred groups."""
    total = sum(locator.size_bytes for locator in locators)
    most_bytes = max(group_bytes, total // max_groups)
    most_sources = max(group_sources, -(-len(locators) // max_groups))
    groups: list[list[Locator]] = []
    filled = 0
    for locator in locators:
        if not groups or filled + locator.size_bytes > most_bytes or len(groups[-1]) == most_sources:
            groups.append([])
            filled = 0
        groups[-1].append(locator)
        filled += locator.size_bytes
    return groups


def label_of(group: Sequence[Locator]) -> str:
    """The name of a group in user interfaces."""
    first = group[0].key
    return first if len(group) == 1 else f"{first} and {len(group) - 1} more"
