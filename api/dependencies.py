"""What the routes depend on; FastAPI passes it as `deps: Deps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.atlas_site import AtlasSites
from api.map_cache import MapCache
from api.monitor import Monitor
from api.prefect_client import PrefectRuns
from api.receiving import Receiving
from api.search_cache import SearchCache
from api.state import State
from api.survey_runs import LocalSurveys
from components.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """One set per application."""

    settings: Settings
    state: State
    prefect: PrefectRuns
    monitor: Monitor
    maps: MapCache
    atlas: AtlasSites
    searches: SearchCache
    receiving: Receiving
    surveys: LocalSurveys


def open_dependencies(settings: Settings) -> Dependencies:
    """Dependencies that open database and Prefect client at their first use."""
    state, prefect = State(settings), PrefectRuns(settings)
    return Dependencies(
        settings=settings,
        state=state,
        prefect=prefect,
        monitor=Monitor(settings, state),
        maps=MapCache(settings.cache),
        atlas=AtlasSites(settings.cache),
        searches=SearchCache(settings, state),
        receiving=Receiving(settings, state),
        surveys=LocalSurveys(settings, state),
    )


async def _dependencies(request: Request) -> Dependencies:
    deps = request.app.state.dependencies
    assert isinstance(deps, Dependencies)
    return deps


Deps = Annotated[Dependencies, Depends(_dependencies)]
