"""What every route has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.atlas_site import AtlasSites
from api.health import Monitor
from api.map_data import Maps
from api.prefect_client import PrefectRuns
from api.state import State
from components.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    settings: Settings
    state: State
    prefect: PrefectRuns
    monitor: Monitor
    maps: Maps
    atlas: AtlasSites


def open_dependencies(settings: Settings) -> Dependencies:
    """Everything the routes need; opens nothing yet."""
    state, prefect = State(settings), PrefectRuns(settings)
    return Dependencies(
        settings=settings,
        state=state,
        prefect=prefect,
        monitor=Monitor(settings, state),
        maps=Maps(settings.cache),
        atlas=AtlasSites(settings.cache),
    )


def _dependencies(request: Request) -> Dependencies:
    deps = request.app.state.dependencies
    assert isinstance(deps, Dependencies)
    return deps


Deps = Annotated[Dependencies, Depends(_dependencies)]
