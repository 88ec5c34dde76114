"""The services that run in the process of `up`: worker, watcher, log rotation."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from api.up.logs import rotate_all
from components.retry import retry_while_busy
from components.settings import Settings
from components.wiring import open_store
from flows.deploy import work_pool
from flows.runs import load_when_changed, watched_sources
from flows.watch import watch

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger(__name__)

rotate_logs_every_s = 60.0
max_runs = 4  # that the worker executes at once
worker_restart_s = 5.0  # wait before a failed worker is restarted
start_run_within_s = 60.0


async def run_worker(closing: asyncio.Event, *, restarts: bool) -> None:
    """Execute scheduled runs; once `closing` is set, none is taken any more, and waiting runs stay for the next start.

    A worker gives up when the server is away for long. `restarts`: start another one, since the server comes back.
    """
    while True:
        try:
            return await _run_one_worker(closing)
        except Exception:
            if not restarts:
                raise
            logger.exception("The worker stopped unexpectedly; restarting it.")
            await asyncio.sleep(worker_restart_s)


async def _run_one_worker(closing: asyncio.Event) -> None:
    from prefect.workers.process import ProcessWorker

    name = f"runatlas on {socket.gethostname()}"
    worker = ProcessWorker(work_pool_name=work_pool, name=name, limit=max_runs)
    submit = worker.get_and_submit_flow_runs

    async def submit_unless_closing() -> list[FlowRun]:
        return [] if closing.is_set() else await submit()

    worker.get_and_submit_flow_runs = submit_unless_closing  # type: ignore[method-assign]
    await worker.start()


async def rotate_logs(logs: Path) -> None:
    """Keep the log files below their size limit, until cancelled."""
    while True:
        await asyncio.sleep(rotate_logs_every_s)
        rotate_all(logs)


async def run_watcher(settings: Settings, client: PrefectClient) -> None:
    """Start a load run whenever files or rows change, until cancelled."""
    if not settings.watch.enabled:
        await asyncio.Event().wait()
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def load(dataset: str) -> None:
        started = asyncio.run_coroutine_threadsafe(load_when_changed(client, dataset), loop)
        logger.info("Dataset %s changed; load run %s includes it.", dataset, started.result(start_run_within_s))

    def watch_all() -> None:
        store = retry_while_busy(lambda: open_store(settings))

        def sources() -> dict[str, tuple[str, ...]]:
            return retry_while_busy(lambda: watched_sources(settings, store))

        try:
            try:
                if any(sources().values()):
                    load("*")  # changes since the last stop
            except Exception:
                logger.exception("Could not start the initial load; the next change or poll starts one.")
            watch(settings, load, stop, sources=sources)
        finally:
            store.close()

    try:
        await asyncio.to_thread(watch_all)
    finally:
        stop.set()
