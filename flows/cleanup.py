"""The cleanup flow: uploads that are too old or too many are deleted; surveys that crashed are started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prefect import flow

from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import load_settings
from flows.runs import start_run

logger = logging.getLogger("flows.cleanup")  # Prefect runs this file under another module name


@flow(name="cleanup")
def cleanup() -> dict[str, Any]:
    """Delete uploads that are too old or too many, with everything that is theirs; start surveys that crashed again."""
    settings = load_settings()
    with private_umask(settings), Pipeline(settings) as pipeline:
        done = pipeline.surveys.clean_up()
    for dropped in done.dropped:
        logger.info("%s was deleted: %d records.", dropped.dataset, dropped.records)
    if done.stalled:
        asyncio.run(_start(done.stalled))
    return asdict(done)


async def _start(datasets: Sequence[str]) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for dataset in datasets:
            logger.info("The survey of %s crashed; it is started again.", dataset)
            await start_run(client, "survey/survey", {"dataset": dataset}, tags=["resumed"])
