"""The body of `/health`, made from what the monitor knows: numbers per dataset, and reasons for being degraded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from api.monitor import PrefectState, StoreState
from api.prefect_client import Run
from api.probe import Probe
from components.redact import public_text

if TYPE_CHECKING:
    from components.store import DatasetStatus
    from components.store.lease import Holder
    from components.store.runs import RunInfo

our_version = version("runatlas")
crashed_after_s = 15.0  # without a heartbeat; an index sends one every two


def health_json(
    store: Probe[StoreState], prefect: Probe[PrefectState], drift_warn: float, *, model_loaded: bool = False
) -> dict[str, Any]:
    """The body of `/health`; a dataset with a `drift` of at least `drift_warn` is degraded.

    `datasets_in_memory` are uploaded datasets that are kept; `model_loaded`: this process has an embedding model open.
    """
    known, flows = store.value, prefect.value
    datasets = known.datasets if known else {}
    active = flows.active if flows and not prefect.problem else ()
    reasons = [f"database: {store.problem}"] if store.problem else []
    reasons += prefect_reasons(prefect)
    if known and not store.problem:
        reasons += [*dataset_reasons(known, drift_warn), *load_reasons(known)]
    return {
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "indexing": any(_is_indexing(status.indexing) for status in datasets.values()),
        "loading": bool(known and known.loading) or any(_is_running(run, "load") for run in active),
        "queued": sum(run.type in {"SCHEDULED", "PENDING"} for run in active),
        "datasets": {name: dataset_json(status) for name, status in datasets.items()},
        "datasets_in_memory": known.n_surveys if known else 0,
        "model_loaded": model_loaded,
        "prefect": probe_json(prefect),
        "database": probe_json(store),
        "version": our_version,
    }


def probe_json(probe: Probe[Any]) -> dict[str, Any]:
    """Whether a service answers, and the age of this result in seconds."""
    problem, age_s = probe.problem, probe.age_s
    return {"reachable": problem is None, "problem": problem, "age_s": None if age_s is None else round(age_s, 1)}


def dataset_json(status: DatasetStatus) -> dict[str, Any]:
    """One dataset's numbers, for `/health` and `/datasets`."""
    holder, is_indexing = status.indexing, _is_indexing(status.indexing)
    return {
        "records": status.records,
        "unindexed": status.unindexed,
        "failed": status.failed,
        "defects": status.defects,
        "model": status.model,
        "layout": status.layout,
        "drift": status.drift,
        "snapshot": status.snapshot,
        "rows": status.rows,
        "indexing": is_indexing,
        "step": holder.step if is_indexing else None,
        "progress": percent(holder.step, holder.done, holder.total) if is_indexing else None,
    }


# --- reasons -------------------------------------------------------------------------------------------------------


def prefect_reasons(prefect: Probe[PrefectState]) -> Iterator[str]:
    """What is wrong with the Prefect server."""
    if prefect.problem:
        yield f"prefect: {prefect.problem}"
    elif prefect.value and prefect.value.missing:
        names = ", ".join(prefect.value.missing)
        yield f"prefect: {names} not registered. Run `prefect deploy --all` or `runatlas up`"


def dataset_reasons(known: StoreState, drift_warn: float) -> Iterator[str]:
    """What is wrong with the indexes and the maps."""
    for name, status in known.datasets.items():
        reason = index_problem(status.indexing, known.last_index.get(name))
        if reason:
            yield f"{name}: {reason}"
        if status.drift is not None and status.drift >= drift_warn:
            share = f"{status.drift:.0%} of the new records do not fit the map"
            yield f"{name}: {share}; consider `runatlas index -d {name} --recompute`"


def index_problem(holder: Holder, last: RunInfo | None) -> str | None:
    """What is wrong with the index of a dataset; None if it runs, succeeded, or was stopped by a user."""
    if holder.is_held and not _is_indexing(holder):
        return silent_holder(holder)
    if holder.is_stale or (last is not None and last.state == "crashed" and not holder.is_held):
        return "the last index crashed; the next one resumes where it stopped"
    if last is not None and last.state == "failed":
        return f"the last index failed: {public_text(last.error or 'no reason recorded')}"
    return None


def silent_holder(holder: Holder) -> str:
    """Describes an index that sends no heartbeats and still holds its dataset."""
    free_at = datetime.now(UTC) + timedelta(seconds=holder.free_in_s)
    return (
        f"the index of {holder.owner} has sent no heartbeat for {holder.silent_s:.0f} s and has probably crashed; "
        f"the next run takes over at {free_at:%H:%M:%S} UTC and resumes where it stopped"
    )


def load_reasons(known: StoreState) -> Iterator[str]:
    """What is wrong with the loads, one reason per dataset: how the last one ended, or sources that can't be read."""
    for name in sorted({*known.last_load, *known.broken}):
        problem, broken = load_problem(known.last_load.get(name)), known.broken.get(name, [])
        if problem:
            yield f"{name}: {problem}"
        elif broken:
            n = f"{len(broken)} sources" if len(broken) > 1 else "a source"
            yield f"{name}: {n} can't be read: {_source_problem(broken[0].source, broken[0].reason)}"


def load_problem(last: RunInfo | None) -> str | None:
    """What went wrong in the last load; None if it succeeded or was stopped by a user."""
    if last is None:
        return None
    if last.state == "crashed":
        return "the last load crashed; the next one resumes where it stopped"
    if last.state == "failed":
        return f"the last load failed: {public_text(_first_line(last.error or 'no reason recorded'))}"
    sources = last.report.get("sources", {}) if isinstance(last.report, dict) else {}
    done = sum(sources.get(outcome, 0) for outcome in ("loaded", "resumed", "skipped", "not_ready"))
    if sources.get("failed", 0) and not done:
        first = next(iter(last.report.get("problems", [])), {"source": "its sources", "reason": "no reason recorded"})
        return f"the last load could not read any source: {_source_problem(first['source'], first['reason'])}"
    return None


def _source_problem(source: str, reason: str) -> str:
    return public_text(f"{source}: {_first_line(reason)}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _is_running(run: Run, flow: str) -> bool:
    return run.flow == flow and run.type == "RUNNING"


def _is_indexing(holder: Holder) -> bool:
    """Does an index hold the dataset and send heartbeats?"""
    return holder.is_held and holder.silent_s < crashed_after_s


# --- progress ------------------------------------------------------------------------------------------------------

step_shares = {  # percent of an index that is done when a step starts, and when it ends
    "fetch": (0, 2),
    "embed": (2, 80),
    "fit": (80, 95),
    "refit": (80, 95),
    "place": (80, 95),
    "transform": (80, 95),
    "project": (80, 95),
    "publish": (95, 100),
}


def percent(step: str, done: int, total: int) -> int:
    """Progress of a whole run from the progress of its step, 0 to 99; only the run's state says 100.

    >>> percent("embed", 50, 100), percent("read", 50, 100), percent("embed", 0, 0)
    (41, 50, 2)
    """
    first, last = step_shares.get(step, (0, 100))
    share = min(1.0, done / total) if total > 0 else 0.0
    return min(99, int(first + (last - first) * share))
