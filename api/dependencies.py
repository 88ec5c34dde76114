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
class Doors:
    settings: Settings
    state: State
    prefect: PrefectRuns
    monitor: Monitor
    maps: Maps
    atlas: AtlasSites


def open_doors(settings: Settings) -> Doors:
    """Everything the routes need; opens nothing yet."""
    state, prefect = State(settings), PrefectRuns(settings)
    return Doors(
        settings=settings,
        state=state,
        prefect=prefect,
        monitor=Monitor(settings, state),
        maps=Maps(settings.cache),
        atlas=AtlasSites(settings.cache),
    )


def _doors(request: Request) -> Doors:
    doors = request.app.state.doors
    assert isinstance(doors, Doors)
    return doors


Here = Annotated[Doors, Depends(_doors)]
