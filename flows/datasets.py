"""Which datasets a flow run is for, and which of them it leaves out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from prefect.context import FlowRunContext

from components.errors import LeaseHeld, RunAtlasError
from components.settings import Settings
from components.store import Store
from components.store.runs import every
from flows.runs import is_automatic

logger = logging.getLogger(__name__)
T = TypeVar("T")

held_back_because = (
    "its index was cancelled and nothing new has been loaded since; the next new records, or a request by a user, "
    "resume it"
)


def dataset_of(given: str) -> str:
    """The dataset that the current run is for: every one where a schedule started it without naming any."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is not None and run.auto_scheduled and "dataset" not in run.parameters:
        return every
    return given


def run_name() -> str:
    """The name of the current flow run in the UI."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    assert context.parameters is not None
    return f"{context.flow.name} {dataset_of(str(context.parameters['dataset']))}"


def known_datasets(settings: Settings, store: Store) -> list[str]:
    """Names of all datasets that the settings or the store know."""
    return sorted({*settings.datasets, *store.datasets.ids()})


def held_back(store: Store) -> set[str]:
    """Datasets that the current run leaves out: a user cancelled their index, and this run was not started by a user."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not is_automatic(run):
        return set()
    names = {name for name in store.datasets.ids() if store.runs.is_held_back(name)}
    for name in sorted(names):
        logger.info("%s is left out: %s.", name, held_back_because)
    return names


def for_each(names: Iterable[str], do: Callable[[str], T]) -> list[T]:
    """The results of `do` for each name. A failure does not stop the others; the first error is raised at the end."""
    results: list[T] = []
    errors: list[RunAtlasError] = []
    for name in names:
        try:
            results.append(do(name))
        except LeaseHeld as held:
            logger.info("%s", held)
        except RunAtlasError as error:
            logger.error("%s: %s", name, error)  # noqa: TRY400 - the first one is raised below
            errors.append(error)
    if errors:
        raise errors[0]
    return results
