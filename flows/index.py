"""The index flow: embed what waits, place it, publish it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from components.contracts import IndexReport
from components.errors import LeaseHeld
from components.private import private_umask
from components.settings import Settings, load_settings
from components.store import Store
from components.wiring import open_store
from flows import artifacts, tasks
from flows.events import announce_drift
from flows.recorder import Told
from flows.runs import note_cancelled, turned_away


@flow(name="index", flow_run_name=tasks.run_name)
def index(
    dataset: str = "default", recompute: bool = False, retry_failed: bool = False
) -> IndexReport | State[IndexReport]:
    """
    Embed the records that wait, place them on the map and publish a snapshot, until nothing waits.

    Args:
        dataset: Name of the dataset; "*" takes every known dataset, one after the other.
        recompute: Draw the map anew from all records, laid over the old one. A change of model needs it too.
        retry_failed: Try again the records that could not be embedded before.
    """
    settings = load_settings()
    dataset = tasks.dataset_of(dataset)
    with private_umask(settings), closing(open_store(settings)) as store:
        note_cancelled(store)
        held_back = tasks.held_back(store)
        if dataset in held_back:
            return Completed(name="HeldBack", message=f"{dataset}: {tasks.held_back_because}.")
        try:
            with Told(store, dataset, "index") as told:
                if dataset == tasks.every:
                    names = [name for name in store.ledger.datasets() if name not in held_back]
                    report = index_all(settings, store, told, names, recompute=recompute, retry_failed=retry_failed)
                else:
                    names = [dataset]
                    report = index_one(settings, store, told, dataset, recompute=recompute, retry_failed=retry_failed)
                index_others(settings, store, done=set(names))
                return report
        except LeaseHeld as held:
            return Completed(name="Joined", message=f"{held}")


def index_all(
    settings: Settings, store: Store, told: Told, names: Iterable[str], *, recompute: bool, retry_failed: bool
) -> IndexReport:
    """These datasets in turn; one that fails does not keep the others."""

    def one(name: str) -> IndexReport:
        with Told(store, name, "index", part_of=tasks.every) as part:
            return index_one(settings, store, part, name, recompute=recompute, retry_failed=retry_failed)

    total = artifacts.total_index(tasks.for_each(names, one))
    told.report = asdict(total)
    return total


def index_others(settings: Settings, store: Store, done: set[str]) -> None:
    """Datasets that came to be due or were asked for meanwhile, by runs that found this one at work.

    Of one that is `done` only what was asked beyond going on is still to do: a recompute, another try of what failed.
    """
    heard: set[str] = set()

    def one(name: str) -> None:
        with Told(store, name, "index", part_of=",".join(sorted(done))) as part:
            index_one(settings, store, part, name, recompute=False, retry_failed=False)

    while True:
        asked = turned_away()
        others = {name for name in tasks.due(settings, store, asked) if name not in done}
        others.update(tasks.wished_for(store, asked, heard))
        if not others:
            return
        done.update(others)
        tasks.for_each(sorted(others), one)


def index_one(
    settings: Settings, store: Store, told: Told, dataset: str, *, recompute: bool, retry_failed: bool
) -> IndexReport:
    """Fetch, embed, place, publish, until nothing waits. Raises `LeaseHeld` while another index of it runs."""
    with tasks.open_index(settings, store, told, dataset, recompute=recompute, retry_failed=retry_failed) as run:
        while True:
            for batch in tasks.fetch_unindexed(run).tasks:
                tasks.embed(run, batch)
            tasks.place(run)
            tasks.publish(run)
            if run.indexing.is_done():
                break
        report = tasks.report_index(run)
    tasks.show_picture(settings, report)
    announce_drift(dataset, drift=report.drift, limit=settings.project.drift_warn)
    return report


if __name__ == "__main__":
    index()
