"""Embed and place on a Dask or Ray cluster, through Prefect's task runners.

Tasks carry ids; workers read texts, vectors and the layout from the database. They write vectors to it under the fence of
the index, and hand positions back, 17 bytes a vector. A worker that is killed costs its task in part: the cluster runs it
again, which embeds the texts that have no vector yet, or places the same vectors at the same bits. Workers need the same
installation, and the same settings in their environment.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL
from prefect.tasks import Task

from components.errors import BadSetting
from components.index import maps
from components.index.batches import EmbedBatch, EmbedOutcome
from components.index.cluster import Cluster
from components.settings import EmbedSettings, load_settings
from components.wiring import embed_batch, open_projector, open_store
from flows.steps import is_last_try, retry_options

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

    from components.index.maps import PlacedVectors
    from components.index.plan import Ids

poll_s = 1.0  # between looks whether the index is to stop
T = TypeVar("T")


def open_cluster(settings: EmbedSettings) -> Cluster | None:
    """What embeds and places on the cluster of the settings; None: the process of the index does.

    Raises `BadSetting` where the cluster's package is not installed, or without a Prefect server, which tasks on a
    cluster report to.
    """
    if settings.runner == "threads":
        return None
    if not PREFECT_API_URL.value():
        raise BadSetting(
            f"embed.runner = {settings.runner!r} needs a Prefect server that the workers can reach: set PREFECT_API_URL."
        )
    try:
        _open_runner(settings)
    except ImportError as error:
        raise BadSetting(
            f"embed.runner = {settings.runner!r} needs a package that is not installed: pip install 'runatlas[{settings.runner}]'."
        ) from error
    return TaskCluster(settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCluster:
    """A `Cluster` of Prefect's tasks; one on this machine is started for each step and ends with it."""

    settings: EmbedSettings

    def embed(
        self, dataset: str, fence_token: int, batches: Sequence[EmbedBatch], while_waiting: Callable[[], None]
    ) -> Iterator[EmbedOutcome]:
        """What embedding each batch did, in their order."""
        common = {"dataset": dataset, "fence_token": fence_token, "retries": self.settings.retries}
        tasks = [
            (f"embed batch {batch.no}, {len(batch.seqs)} texts", {**common, "batch": batch.to_json()})
            for batch in batches
        ]
        return self._run("embed", _embed, tasks, while_waiting)

    def place(
        self, dataset: str, layout_id: int, chunks: Sequence[Ids], while_waiting: Callable[[], None]
    ) -> Iterator[PlacedVectors]:
        """Where the vectors of each chunk are placed, in their order."""
        common = {"dataset": dataset, "layout_id": layout_id}
        tasks = [
            (f"place chunk {no}, {len(chunk)} vectors", {**common, "vector_ids": _packed(chunk)})
            for no, chunk in enumerate(chunks, 1)
        ]
        return self._run("place", _place, tasks, while_waiting)

    def _run(
        self,
        name: str,
        do: Callable[..., T],
        tasks: Sequence[tuple[str, dict[str, Any]]],
        while_waiting: Callable[[], None],
    ) -> Iterator[T]:
        """`do(**parameters)` of each task, a label and its parameters, on the cluster; results in their order."""
        options = retry_options(self.settings.retries, self.settings.backoff_s)
        with _open_runner(self.settings) as runner:
            futures: list[PrefectFuture[T]] = []
            try:
                for label, parameters in tasks:
                    one = Task(do, name=name, task_run_name=label, cache_policy=NO_CACHE, **options)
                    futures.append(runner.submit(one, parameters))
                for future in futures:
                    yield _result(future, while_waiting)
            finally:
                for future in futures:
                    _cancel(future)


def _open_runner(settings: EmbedSettings) -> TaskRunner[Any]:
    return _open_dask(settings) if settings.runner == "dask" else _open_ray(settings)


def _open_dask(settings: EmbedSettings) -> TaskRunner[Any]:
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.cluster:
        return DaskTaskRunner(address=settings.cluster)
    own = {"n_workers": settings.workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=own)


def _open_ray(settings: EmbedSettings) -> TaskRunner[Any]:
    from prefect_ray.task_runners import RayTaskRunner

    options: dict[str, Any] = {"log_to_driver": False}
    if not settings.cluster:
        options |= {"num_cpus": settings.workers, "include_dashboard": False}
    cluster: TaskRunner[Any] = RayTaskRunner(address=settings.cluster or None, init_kwargs=options)
    return cluster


def _embed(dataset: str, fence_token: int, batch: str, retries: int) -> EmbedOutcome:
    """On a worker of the cluster: embed what has no vector yet."""
    is_last = is_last_try(retries)
    return embed_batch(load_settings(), dataset, fence_token, EmbedBatch.from_json(batch), is_last_try=is_last)


def _place(dataset: str, layout_id: int, vector_ids: str) -> PlacedVectors:
    """On a worker of the cluster: place vectors."""
    settings = load_settings()
    with closing(open_store(settings)) as store:
        info = store.layouts.get(layout_id)
        dim = store.vectors.model(info.model_id)[1]
        folder = maps.map_folder(settings.cache, dataset, info)
        opened = maps.open_map(store, open_projector(settings), folder, info, dim)
        return maps.place_in_turn(store, opened, _unpacked(vector_ids), dim)


def _packed(ids: Ids) -> str:
    """Ids as one text: Prefect looks into each item of a list."""
    return base64.b64encode(ids.astype("<i8").tobytes()).decode()


def _unpacked(ids: str) -> Ids:
    return np.frombuffer(base64.b64decode(ids), "<i8").astype(np.int64)


def _result(future: PrefectFuture[T], while_waiting: Callable[[], None]) -> T:
    while True:
        while_waiting()
        with suppress(TimeoutError):
            return future.result(timeout=poll_s)


def _cancel(future: PrefectFuture[Any]) -> None:
    """Stop a task that still runs; its lease has ended, so it could write nothing more anyway."""
    wrapped: Any = getattr(future, "wrapped_future", None)
    if hasattr(wrapped, "cancel"):
        wrapped.cancel()
    elif wrapped is not None:
        import ray

        ray.cancel(wrapped, force=False)
