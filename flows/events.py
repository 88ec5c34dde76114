"""Events for triggers and automations: enough records are pending, a map drifts. `prefect.yaml` has what they start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from components.contracts import TopicReport

logger = logging.getLogger(__name__)

threshold_reached = "runatlas.threshold-reached"
map_drifted = "runatlas.map-drifted"
topic_new = "runatlas.topic.new"
topic_returned = "runatlas.topic.returned"
renewal_advised = "runatlas.topics.renewal-advised"


def resource_of(dataset: str) -> dict[str, str]:
    """The resource that a dataset's events are about, as triggers match it."""
    return {
        "prefect.resource.id": f"runatlas.dataset.{dataset}",
        "prefect.resource.name": dataset,
        "prefect.resource.role": "dataset",
    }


def announce_threshold(dataset: str, *, unindexed: int, threshold: int) -> bool:
    """Emits an event if so many records are pending that an index is due, and returns whether it is.

    Each load emits it again while that is so: the next event makes up for one that was lost.
    """
    if unindexed < threshold:
        return False
    _emit(threshold_reached, dataset, {"unindexed": unindexed, "threshold": threshold})
    logger.info("%d records of %s are pending (threshold %d): an index is requested.", unindexed, dataset, threshold)
    return True


def announce_drift(dataset: str, *, drift: float | None, limit: float) -> bool:
    """Emits an event if a large share of the new records is off the map, and returns whether it is."""
    if drift is None or drift < limit:
        return False
    _emit(map_drifted, dataset, {"drift": drift, "limit": limit})
    logger.warning(
        "%.0f %% of the records placed on the map of %s are off it: index with recompute to rebuild it.",
        100 * drift,
        dataset,
    )
    return True


def announce_topics(dataset: str, topics: TopicReport | None) -> None:
    """Emits an event for each topic that is new or has returned, and one if topics are worth renewing."""
    if topics is None:
        return
    for event, found in ((topic_new, {**topics.new, **topics.split}), (topic_returned, topics.returned)):
        for id, name in found.items():
            _emit(event, dataset, {"topic": int(id), "name": name})
    if topics.renewal_advised:
        _emit(renewal_advised, dataset, {"topics": topics.active})
        logger.info("Topics of %s would be finer if they were renewed: index with renew_topics.", dataset)


def _emit(event: str, dataset: str, payload: Mapping[str, Any]) -> None:
    from prefect.events import emit_event

    emit_event(event=event, resource=resource_of(dataset), payload={"dataset": dataset, **payload})
