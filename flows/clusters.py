"""Embed the batches of an index on a Dask or Ray cluster, through Prefect's task runners.

Tasks carry ids; workers read texts from the database and write vectors to it, under the fence of the index. A worker that
is killed costs its batch in part: the cluster runs the task again, which embeds the texts that have no vector yet. Workers
need the same installation, and the same settings in their environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL
from prefect.tasks import Task

from components.errors import BadSetting
from components.index.batches import BatchRunner, EmbedBatch, EmbedOutcome
from components.settings import EmbedSettings, load_settings
from components.wiring import embed_batch
from flows.steps import is_last_try, retry_options

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

poll_s = 1.0  # between looks whether the index is to stop


def batch_runner(settings: EmbedSettings) -> BatchRunner | None:
    """What embeds batches on the cluster of the settings; None: the process of the index does.

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
        open_cluster = _open_dask if settings.runner == "dask" else _open_ray
        open_cluster(settings)
    except ImportError as error:
        raise BadSetting(
            f"embed.runner = {settings.runner!r} needs a package that is not installed: pip install 'runatlas[{settings.runner}]'."
        ) from error

    def run(
        dataset: str, fence_token: int, batches: Sequence[EmbedBatch], while_waiting: Callable[[], None]
    ) -> Iterator[EmbedOutcome]:
        with open_cluster(settings) as cluster:
            futures = [_submitted(cluster, settings, dataset, fence_token, batch) for batch in batches]
            try:
                for future in futures:
                    yield _outcome(future, while_waiting)
            finally:
                for future in futures:
                    _cancel(future)

    return run


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


def _submitted(
    cluster: TaskRunner[Any], settings: EmbedSettings, dataset: str, fence_token: int, batch: EmbedBatch
) -> PrefectFuture[EmbedOutcome]:
    label = f"embed batch {batch.no}, {len(batch.seqs)} texts"
    one: Task[..., EmbedOutcome] = Task(
        _embed,
        name="embed",
        task_run_name=label,
        cache_policy=NO_CACHE,
        **retry_options(settings.retries, settings.backoff_s),
    )
    parameters = {"dataset": dataset, "fence_token": fence_token, "batch": batch.to_json(), "retries": settings.retries}
    future: PrefectFuture[EmbedOutcome] = cluster.submit(one, parameters)
    return future


def _embed(dataset: str, fence_token: int, batch: str, retries: int) -> EmbedOutcome:
    """On a worker of the cluster: embed what has no vector yet."""
    is_last = is_last_try(retries)
    return embed_batch(load_settings(), dataset, fence_token, EmbedBatch.from_json(batch), is_last_try=is_last)


def _outcome(future: PrefectFuture[EmbedOutcome], while_waiting: Callable[[], None]) -> EmbedOutcome:
    while True:
        while_waiting()
        with suppress(TimeoutError):
            return future.result(timeout=poll_s)


def _cancel(future: PrefectFuture[EmbedOutcome]) -> None:
    """Stop a task that still runs; its lease has ended, so it could write nothing more anyway."""
    wrapped: Any = getattr(future, "wrapped_future", None)
    if hasattr(wrapped, "cancel"):
        wrapped.cancel()
    elif wrapped is not None:
        import ray

        ray.cancel(wrapped, force=False)
