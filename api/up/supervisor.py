"""`runatlas up`: all services on one machine, as one tree of processes that starts and ends together.

This process runs the worker and the watcher in one event loop. The Prefect server is a child process, so are the HTTP
API, which responds whatever the worker does, and each run. Everything that they write is below `home`: the database,
Prefect's own database, the logs, and the lock against a second `up`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

from api.up.browser import open_page
from api.up.demo import finish_demo, start_demo
from api.up.environment import with_absolute_paths
from api.up.first_start import ask_at_first_start
from api.up.home import announce, locked
from api.up.logs import output_to
from api.up.managed_process import ManagedProcess
from api.up.prefect_server import PrefectServer, expect_usable
from api.up.product import Product, prepare
from api.up.services import rotate_logs, run_watcher, run_worker
from components.errors import RunAtlasError
from components.http_client import answers
from components.projector.kernels import compile_in_background
from components.redact import public_text
from components.settings import Settings
from flows.deploy import DeployCommand, deploy, is_registered_before
from flows.runs import drain, reconcile, skip_overdue

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

drain_within_s = 40.0  # Prefect kills a run that does not stop within 30
flush_within_s = 3.0  # for log lines and events that Prefect's client has not sent yet


def run_up(settings: Settings, *, demo: bool = False, open_browser: bool = False) -> int:
    """Start everything, print the addresses, and serve until Ctrl-C, SIGTERM or the failure of a service.

    The exit status: 0 after a requested stop, 1 where something could not start or failed; the reason is on stderr.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = with_absolute_paths(settings)
        with locked(settings.home) as lock:
            if not demo:
                ask_at_first_start(settings)
            started_s = time.monotonic()
            with output_to(settings.home / "logs" / "up.log") as terminal:
                product = prepare(settings, lock, terminal, started_s, demo=demo, open_browser=open_browser)
                status = _serve_and_report(product)
                is_flushed = _flush_prefect_client()
    except RunAtlasError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    if not is_flushed:
        os._exit(status)  # Prefect would try for a minute to send its last log lines to a server that is gone
    return status


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _serve_and_report(product: Product) -> int:
    """The exit status of `_serve`. An unexpected error goes to the log, and the terminal gets a line about it."""
    try:
        return _serve(product)
    except (RunAtlasError, KeyboardInterrupt):
        raise
    except Exception as error:
        logger.exception("up failed.")
        reason = public_text(str(error).strip().splitlines()[0]) if str(error).strip() else "no reason given"
        product.say(f"runatlas failed: {type(error).__name__}: {reason}. Details: {product.logs / 'up.log'}")
        return 1


def _flush_prefect_client() -> bool:
    """Whether all log lines and events of this process were sent to the server, within a few seconds."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    left = [service.drain_all(timeout=flush_within_s) for service in (APILogWorker, EventsWorker)]
    return not any(unsent for _, unsent in left)  # type: ignore[misc]


def _serve(product: Product) -> int:
    """Start the API, then Prefect, then what depends on it; stop in reverse order. The exit status."""
    descriptor = product.api_socket.fileno()
    api = ManagedProcess(["-m", "api", "--fd", str(descriptor)], inherits=[descriptor])
    compile_in_background(product.settings.shared_cache)  # for the first map on this machine
    try:
        if product.prefect_socket is None:
            return asyncio.run(_run_services(product, api, None))
        return _serve_with_prefect(product, api)
    finally:
        api.stop()


def _serve_with_prefect(product: Product, api: ManagedProcess) -> int:
    assert product.prefect_socket is not None
    product.say(f"Starting the Prefect server on {product.prefect} …")
    given = product.settings.prefect
    log = product.logs / "prefect-server.log"
    server = PrefectServer(product.prefect_socket, given.host, log, allowed_hosts=given.allowed_hosts)
    command = None if is_registered_before(product.settings) else DeployCommand()
    try:
        importlib.import_module("prefect.workers.process")  # slow; the server starts on another core meanwhile
        server.wait_until_healthy(product.prefect)
        status = asyncio.run(_run_services(product, api, server, command))
        _flush_prefect_client()
        return status
    finally:
        if command is not None:
            command.close()
        server.stop()


async def _run_services(
    product: Product, api: ManagedProcess, server: PrefectServer | None, command: DeployCommand | None = None
) -> int:
    """Register the deployments, then run all services until one ends or a signal comes. The exit status."""
    from prefect import get_client

    stop, closing = asyncio.Event(), asyncio.Event()
    _stop_on_signals(stop)
    async with get_client() as client:
        if server is not None and (n := await reconcile(client)):
            product.say(f"{n} unfinished runs of an earlier start were marked as crashed.")
        if server is None:
            await expect_usable(client)
        await deploy(client, product.settings, command)
        demo = await start_demo(product, client) if product.demo else None
        if n := await asyncio.to_thread(skip_overdue):
            product.say(f"{n} scheduled runs that were due while runatlas was stopped were skipped.")
        services: dict[str, Coroutine[Any, Any, None]] = {
            "worker": run_worker(closing, restarts=server is not None),
            "API": api.wait(),
            "watcher": run_watcher(product.settings, client),
            "log rotation": rotate_logs(product.logs),
        }
        if server is not None:
            services["Prefect server"] = server.keep_running(product.prefect, product.say)
        tasks = [asyncio.create_task(service, name=name) for name, service in services.items()]
        try:
            return await _wait_for_end(product, client, tasks, stop, demo)
        finally:
            closing.set()
            await _stop_services(client, server, tasks)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on Ctrl-C and SIGTERM.

    A terminal sends Ctrl-C to all its processes, also to runs, which have to be cancelled in order instead. Child
    processes inherit the signals that the main thread of their parent blocks. So the main thread blocks SIGINT, and
    another thread receives it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def receive_signals() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        threading.Event().wait()

    threading.Thread(target=receive_signals, name="signals", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


async def _wait_for_end(
    product: Product, client: PrefectClient, tasks: list[asyncio.Task[None]], stop: asyncio.Event, demo: UUID | None
) -> int:
    """Print the addresses when all is ready, and wait for `stop` or the end of a service. The exit status."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    ready = asyncio.create_task(_announce_ready(product, client, demo), name="ready")
    await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, stopped):
        task.cancel()
    if stop.is_set():
        product.say("Stopping …")
        return 0
    for task in tasks:
        if task.done():
            error = "" if task.cancelled() or task.exception() is None else f": {task.exception()}"
            product.say(
                f"The {task.get_name()} stopped unexpectedly{error}. Stopping all services. Logs: {product.logs}"
            )
    return 1


async def _announce_ready(product: Product, client: PrefectClient, demo: UUID | None) -> None:
    while not await asyncio.to_thread(answers, f"{product.api}/health", timeout_s=5):  # noqa: ASYNC110 - a process, not a task
        await asyncio.sleep(0.05)
    announce(product.lock, api=product.api, prefect=product.prefect)
    product.say(
        f"runatlas is ready ({time.monotonic() - product.started_s:.1f} s).\n"
        f"  Prefect UI  {product.prefect_sign_in}\n"
        f"  API         {product.api}/docs\n"
        f"  Map         {product.maps_of(product.dataset)}\n"
        f"Logs: {product.logs}\n"
        "Press Ctrl-C to stop."
    )
    if demo is not None:
        await finish_demo(product, client, demo)
    if product.open_browser:
        open_page(f"{product.api}/map/{product.dataset}")


async def _stop_services(client: PrefectClient, server: PrefectServer | None, tasks: list[asyncio.Task[None]]) -> None:
    """Stop the runs first, while worker and server can still end them; then the services."""
    ours = None if server else {child.pid for child in psutil.Process().children(recursive=True)}
    if server is None or not server.has_ended:
        with suppress(Exception):  # a server that does not respond must not prevent the stop
            async with asyncio.timeout(drain_within_s + 2):
                await drain(client, within_s=drain_within_s, below=ours)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)
