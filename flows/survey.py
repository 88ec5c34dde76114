"""The survey flow: the terrain of an uploaded table."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components.errors import LeaseHeld, NotFound
from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import load_settings
from flows import artifacts
from flows.datasets import run_name
from flows.recorder import record_flow_run
from flows.steps import run_as_task

logger = logging.getLogger("flows.survey")  # Prefect runs this file under another module name


@flow(name="survey", flow_run_name=run_name)
def survey(dataset: str) -> dict[str, Any] | State[Any]:
    """
    Make the terrain of an uploaded table: store its rows, embed and cluster them, name the hills. It continues where an
    earlier run stopped.

    Args:
        dataset: The `dataset_id` of the upload.
    """
    settings = load_settings()
    with private_umask(settings), Pipeline(settings, run_step=run_as_task) as pipeline:
        try:
            report = pipeline.surveys.run(dataset, record=record_flow_run)
        except LeaseHeld as held:
            return Completed(name="Joined", message=f"{held}")
        except NotFound as gone:
            return Completed(name="Deleted", message=f"{gone}")
    run_as_task("report", lambda _: artifacts.show_survey(report))
    logger.info("%s", artifacts.survey_line(report))
    return {"dataset": dataset, "hills": report.hills, "rows": report.rows}
