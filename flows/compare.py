"""The compare flow: what tells two sets of runs apart, as an artifact; a schedule of it compares this week with last week."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow

from components.compare.opening import request_of_result
from components.compare.report import Comparison
from components.errors import BadSetting
from components.pipeline import Pipeline
from components.private import private_umask
from components.settings import load_settings
from flows.comparison_artifact import show_comparison
from flows.datasets import run_name
from flows.picture import difference_png
from flows.recorder import record_flow_run
from flows.steps import run_as_task

logger = logging.getLogger("flows.compare")  # Prefect runs this file under another module name


@flow(name="compare", flow_run_name=run_name)
def compare(dataset: str = "default", a: list[str] | None = None, b: list[str] | None = None) -> dict[str, Any]:
    """
    Compare two sets of runs: which behaviours are more frequent in one of them.

    Args:
        dataset: Name of the dataset.
        a: Filters of the first set, each as NAME=VALUE: outcome=fail, model=NAME, since=7d, type=error, any extra field.
        b: Filters of the second set, for instance since=14d and until=7d. Empty: all other runs.
    """
    settings = load_settings()
    with private_umask(settings), Pipeline(settings, run_step=run_as_task) as pipeline:
        with record_flow_run(pipeline.store, dataset, "compare") as recorder:
            if not a:
                raise BadSetting("Set a has no filters: give some, for instance outcome=fail.")
            found = run_as_task("compare", lambda _: pipeline.compare(dataset, a=a, b=b or ()))
            recorder.report = short_report(dataset, found)
        run_as_task("picture", lambda _: show_result(pipeline, dataset, found))
    return recorder.report


def short_report(dataset: str, found: Comparison) -> dict[str, Any]:
    """The result without its lists; the API has all of it under its id."""
    whole = found.as_dict()
    kept = ("id", "snapshot", "a", "b", "p", "p_within_tasks", "significant", "summary")
    return {"dataset": dataset, **{name: whole[name] for name in kept}}


def show_result(pipeline: Pipeline, dataset: str, found: Comparison) -> None:
    """The lists, counts and a picture among the run's artifacts; the verdict in its log."""
    picture = None
    try:
        picture = difference_png(
            pipeline, dataset, found, request_of_result(found, pipeline.effective_settings().dataset(dataset).task)
        )
    except Exception:
        logger.warning("The difference could not be drawn as a picture.", exc_info=True)
    show_comparison(dataset, found, picture, api=pipeline.settings.api.address)
    for line in found.as_dict()["summary"]:
        logger.info("%s", line)


if __name__ == "__main__":
    compare()
