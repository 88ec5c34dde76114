"""Events that other things wait for: enough records wait, a map drifts. `prefect.yaml` says what they start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

threshold_reached = "runatlas.threshold-reached"
map_drifted = "runatlas.map-drifted"


def resource_of(dataset: str) -> dict[str, str]:
    """The resource that a dataset's events are about, as triggers match it."""
    return {
        "prefect.resource.id": f"runatlas.dataset.{dataset}",
        "prefect.resource.name": dataset,
        "prefect.resource.role": "dataset",
    }


def announce_threshold(dataset: str, *, unindexed: int, threshold: int) -> bool:
    """True where so many records wait that an index is due; then whoever listens is told.

    Told again by each load for as long as it is so: an event that got lost, or found an index at its end, is made good
    by the next one.
    """
    if unindexed < threshold:
        return False
    _emit(threshold_reached, dataset, {"unindexed": unindexed, "threshold": threshold})
    logger.info("%d records of %s wait (threshold %d): asked for an index.", unindexed, dataset, threshold)
    return True


def announce_drift(dataset: str, *, drift: float | None, limit: float) -> bool:
    """True where so large a share of the new records lies off the map that a recompute is worth thinking of."""
    if drift is None or drift < limit:
        return False
    _emit(map_drifted, dataset, {"drift": drift, "limit": limit})
    logger.warning(
        "%.0f %% of the records placed on the map of %s lie off it: index with recompute to draw it anew.",
        100 * drift,
        dataset,
    )
    return True


def _emit(event: str, dataset: str, payload: Mapping[str, Any]) -> None:
    from prefect.events import emit_event

    emit_event(event=event, resource=resource_of(dataset), payload={"dataset": dataset, **payload})
