"""One run as `/runs/{id}` describes it: from what Prefect knows, and from the run records in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from api.health import percent
from api.prefect_client import Run
from components.redact import public_text, public_values

if TYPE_CHECKING:
    from components.store.runs import RunInfo

every_dataset = "*"  # the dataset of a run through all of them


def run_json(id: str, run: Run | None, records: Mapping[str, RunInfo]) -> dict[str, Any]:
    """The body of `/runs/{id}`. `records`: by dataset; several for a run through all datasets."""
    single = next(iter(records.values())) if len(records) == 1 else None
    dataset = single.dataset if single else str(run.parameters.get("dataset", "default")) if run else every_dataset
    started = (run.started if run else None) or min((one.started_at for one in records.values()), default=None)
    finished = (run.ended if run else None) or (single.finished_at if single else None)
    steps = {name: one.step for name, one in records.items() if one.finished_at is None}
    errors = [f"{name}: {public_text(one.error)}" for name, one in records.items() if one.error]
    return {
        "flow_run_id": id,
        "flow": run.flow if run else next((one.kind for one in records.values()), None),
        "name": run.name if run else None,
        "dataset": dataset,
        "state": run.state if run else single.state.capitalize() if single else None,
        "message": public_text(run.message) if run else None,
        "progress": progress(run, list(records.values())),
        "step": next(iter(steps.values()), None),
        "report": report(records),
        "error": "; ".join(errors) or None,
        "created_by": (run.created_by or None) if run else None,
        "started": started.isoformat() if started else None,
        "finished": finished.isoformat() if finished else None,
        "url": run.url if run else None,
        "links": links(id, dataset),
    }


def progress(run: Run | None, records: Sequence[RunInfo]) -> int:
    """Percent: 0 before the start, 100 only after success."""
    if (run and run.type == "COMPLETED") or (records and all(one.state == "done" for one in records)):
        return 100
    shares = [100 if one.state == "done" else percent(one.step, one.done, one.total) for one in records]
    return min(99, sum(shares) // len(shares)) if shares else 0


def report(records: Mapping[str, RunInfo]) -> Any:
    """The run's report without absolute paths; one report per dataset for a run through several."""
    reports = {name: public_values(one.report) for name, one in records.items() if one.report is not None}
    return (
        next(iter(reports.values())) if len(records) == 1 and reports else ({"datasets": reports} if reports else None)
    )


def links(id: str, dataset: str) -> dict[str, str]:
    """Where the run and its result are."""
    if dataset == every_dataset:
        return {"run": f"/runs/{id}"}
    return {"run": f"/runs/{id}", "map": f"/map/{dataset}", "atlas": f"/atlas/{dataset}/"}
