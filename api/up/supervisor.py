"""`runatlas up`: the whole product on one machine, as one tree of processes that lives and ends together.

This process runs the worker and the watcher in one event loop. The Prefect server is its child, so is the HTTP API, which
answers at once whatever the worker does, and so is each run. All that the tree writes lies in `home`: the state, Prefect's own database, the logs, and the lock that keeps
a second `up` away.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from uuid import UUID

from api.auth import require_token_beyond_loopback
from api.up.browser import open_page
from api.up.home import hand_down, held, listening, output_in, reach_loopback_directly, settled, shorten_all, url_of
from api.up.managed_process import Child
from api.up.prefect_app import sign_in_url
from api.up.prefect_server import PrefectServer, adopt_environment, expect_usable
from components.errors import RunAtlasError
from components.http_client import answers
from components.projector.kernels import compile_in_background
from components.redact import public_text
from components.settings import Settings
from flows.deploy import DeployCommand, deploy, is_registered_before

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

drain_within_s = 40.0  # Prefect kills a run that does not give up after 30
housekeeping_every_s = 60.0
worker_runs = 4  # at once
worker_rests_s = 5.0  # before another one follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One start of the product: its settings, where its faces are, and who is told."""

    settings: Settings
    prefect: str  # address of the UI; the server's API lies below /api
    prefect_socket: socket.socket | None  # bound; None: somebody else runs the server
    api: str
    socket: socket.socket  # the API's, bound
    lock: TextIO
    terminal: TextIO
    began: float
    demo: bool
    open_browser: bool

    @property
    def logs(self) -> Path:
        return self.settings.home / "logs"

    def say(self, text: str) -> None:
        """Tells the person at the terminal, who may have gone."""
        with suppress(OSError, ValueError):
            self.terminal.write(f"{text}\n")

    @property
    def prefect_sign_in(self) -> str:
        """The address to open: it signs the browser in where the server is ours. For the terminal alone, not for logs."""
        if self.prefect_socket is None:
            return self.prefect
        return sign_in_url(self.prefect, os.environ["PREFECT_API_AUTH_STRING"])

    def maps_of(self, dataset: str) -> str:
        return f"{self.api}/atlas/{dataset}/  (without WebGPU: {self.api}/map/{dataset})"


def run_up(settings: Settings, *, demo: bool = False, open_browser: bool = False) -> int:
    """Starts everything, says so, and serves until Ctrl-C, SIGTERM or the death of a part.

    Gives the exit status: 0 after a wanted stop, 1 where something could not start or died; the reason is on stderr.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        settings = settled(settings)
        with held(settings.home) as lock, output_in(settings.home / "logs" / "up.log") as terminal:
            product = _prepare(settings, lock, terminal, began, demo=demo, open_browser=open_browser)
            status = _served(product)
            is_told = _all_is_told()
    except RunAtlasError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    if not is_told:
        os._exit(status)  # Prefect would go on for a minute telling its last log lines to a server that is gone
    return status


def _served(product: Product) -> int:
    """`_with_server`, but what nobody foresaw goes to the log, and the terminal hears where that is."""
    try:
        return _with_server(product)
    except (RunAtlasError, KeyboardInterrupt):
        raise
    except Exception as error:
        logger.exception("up failed.")
        told = public_text(str(error).strip().splitlines()[0]) if str(error).strip() else "no reason given"
        product.say(f"Could not go on: {type(error).__name__}: {told}. {product.logs / 'up.log'} has the details.")
        return 1


def _all_is_told() -> bool:
    """Have log lines and events that this process sends to the server been sent? Tries for a few seconds at most."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    left = [service.drain_all(timeout=3.0) for service in (APILogWorker, EventsWorker)]
    return not any(unsent for _, unsent in left)  # type: ignore[misc]


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _prepare(
    settings: Settings, lock: TextIO, terminal: TextIO, began: float, *, demo: bool, open_browser: bool
) -> Product:
    """Takes the ports, and tells this process and its children where everything is. Comes before Prefect's import."""
    require_token_beyond_loopback(settings)
    api = _listen(settings.api.host, settings.api.port, "The API", terminal)
    prefect_socket = None
    if settings.prefect.api_url:
        prefect = settings.prefect.api_url.rstrip("/").removesuffix("/api")
    else:
        prefect_socket = _listen(settings.prefect.host, settings.prefect.port, "The Prefect server", terminal)
        prefect = url_of(settings.prefect.host, prefect_socket.getsockname()[1])
        adopt_environment(settings.home / "prefect", prefect)
        reach_loopback_directly(settings.prefect.host)  # bound here, so it is this machine whatever its name
    api_port = api.getsockname()[1]
    reach_loopback_directly(settings.api.host)
    os.environ["PREFECT_API_URL"] = f"{prefect}/api"
    told = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": api_port}),
            "prefect": settings.prefect.model_copy(update={"api_url": f"{prefect}/api"}),
        }
    )
    hand_down(told)
    return Product(
        settings=told,
        prefect=prefect,
        prefect_socket=prefect_socket,
        api=url_of(settings.api.host, api_port),
        socket=api,
        lock=lock,
        terminal=terminal,
        began=began,
        demo=demo,
        open_browser=open_browser,
    )


def _listen(host: str, wanted: int, who: str, terminal: TextIO) -> socket.socket:
    opened = listening(host, wanted)
    port = opened.getsockname()[1]
    if wanted not in {port, 0}:
        terminal.write(f"Port {wanted} is taken: {who} listens on {port} this time.\n")
    return opened


def _with_server(product: Product) -> int:
    """The server first, then all that talks to it; and down again in the other order."""
    web = Child(["-m", "api", "--fd", str(product.socket.fileno())], inherits=[product.socket.fileno()])
    compile_in_background(product.settings.shared_cache)  # for the first map on this machine
    try:
        return _with_api(product, web)
    finally:
        web.stop()


def _with_api(product: Product, web: Child) -> int:
    if product.prefect_socket is None:
        return asyncio.run(_conduct(product, web, None))
    product.say(f"Starting the Prefect server on {product.prefect} …")
    asked = product.settings.prefect
    log = product.logs / "prefect-server.log"
    server = PrefectServer(product.prefect_socket, asked.host, log, allowed_hosts=asked.allowed_hosts)
    command = None if is_registered_before(product.settings) else DeployCommand()
    try:
        importlib.import_module("prefect.workers.process")  # slow, and the server boots on the other core meanwhile
        server.wait_until_healthy(product.prefect)
        status = asyncio.run(_conduct(product, web, server, command))
        _all_is_told()
        return status
    finally:
        if command is not None:
            command.close()
        server.stop()


async def _conduct(
    product: Product, web: Child, server: PrefectServer | None, command: DeployCommand | None = None
) -> int:
    """Registers the deployments, then runs all parts until one ends or a signal comes. The exit status."""
    from prefect import get_client

    from flows.runs import reconcile, skip_overdue

    stop, closing = asyncio.Event(), asyncio.Event()
    _stop_on_signals(stop)
    async with get_client() as client:
        if server is not None and (n := await reconcile(client)):
            product.say(f"{n} runs were left by an earlier start and are marked as crashed.")
        if server is None:
            await expect_usable(client)
        await deploy(client, product.settings, command)
        demo = await _start_demo(product, client) if product.demo else None
        if n := await asyncio.to_thread(skip_overdue):
            product.say(f"{n} runs that schedules had planned for the time of the stop are skipped.")
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "worker": _worker(closing, outlives_errors=server is not None),
            "API": web.end(),
            "watcher": _watcher(product.settings, client),
            "housekeeping": _housekeeping(product.logs),
        }
        if server is not None:
            parts["Prefect server"] = server.keep_running(product.prefect, product.say)
        tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        try:
            return await _serve(product, client, tasks, stop, demo)
        finally:
            closing.set()
            await _end(client, server, tasks)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C and SIGTERM set `stop`.

    A terminal sends Ctrl-C to every process in it, runs too, which are to be cancelled in order instead. Children
    inherit what their parent's main thread blocks, so that thread blocks it and another one takes it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def take_signals() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        threading.Event().wait()

    threading.Thread(target=take_signals, name="signals", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


async def _serve(
    product: Product, client: PrefectClient, tasks: list[asyncio.Task[None]], stop: asyncio.Event, demo: UUID | None
) -> int:
    """Tells that all is ready, and waits for the end. The exit status."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    ready = asyncio.create_task(_ready(product, client, demo), name="ready")
    await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, stopped):
        task.cancel()
    if stop.is_set():
        product.say("Stopping …")
        return 0
    for task in tasks:
        if task.done():
            error = "" if task.cancelled() or task.exception() is None else f": {task.exception()}"
            product.say(f"The {task.get_name()} ended{error}. Stopping everything; the logs are in {product.logs}.")
    return 1


async def _ready(product: Product, client: PrefectClient, demo: UUID | None) -> None:
    while not await asyncio.to_thread(answers, f"{product.api}/health", timeout_s=5):  # noqa: ASYNC110 - a process, not a task
        await asyncio.sleep(0.05)
    product.lock.truncate(0)
    product.lock.write(json.dumps({"pid": os.getpid(), "api": product.api, "prefect": product.prefect}))
    product.lock.flush()
    dataset = "demo" if product.demo else next(iter(product.settings.datasets), "default")
    product.say(
        f"runatlas is ready ({time.monotonic() - product.began:.1f} s).\n"
        f"  Prefect UI  {product.prefect_sign_in}\n"
        f"  API         {product.api}/docs\n"
        f"  Map         {product.maps_of(dataset)}\n"
        f"Logs are in {product.logs}. Ctrl-C stops everything."
    )
    if demo is not None:
        await _demo(product, client, demo)
    if product.open_browser:
        open_page(f"{product.api}/map/{dataset}")


async def _end(client: PrefectClient, server: PrefectServer | None, tasks: list[asyncio.Task[None]]) -> None:
    """Runs first, while worker and server can still end them; then the parts."""
    import psutil

    from flows.runs import drain

    ours = None if server else {child.pid for child in psutil.Process().children(recursive=True)}
    if server is None or not server.has_ended:
        with suppress(Exception):  # a server that does not answer keeps nobody from stopping
            async with asyncio.timeout(drain_within_s + 2):
                await drain(client, within_s=drain_within_s, below=ours)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)


# --- the parts -------------------------------------------------------------------------------------------------


async def _worker(closing: asyncio.Event, *, outlives_errors: bool) -> None:
    """Runs what is scheduled; once `closing` is set it takes up nothing more, and what waits is for the next start.

    A worker gives up when the server is away for long. Where the server is ours and comes back, another one follows.
    """
    while True:
        try:
            return await _one_worker(closing)
        except Exception:
            if not outlives_errors:
                raise
            logger.exception("The worker ended; another one is started.")
            await asyncio.sleep(worker_rests_s)


async def _one_worker(closing: asyncio.Event) -> None:
    from prefect.workers.process import ProcessWorker

    from flows.deploy import work_pool

    name = f"runatlas on {socket.gethostname()}"
    worker = ProcessWorker(work_pool_name=work_pool, name=name, limit=worker_runs)
    take_up = worker.get_and_submit_flow_runs

    async def take_up_unless_closing() -> list[FlowRun]:
        return [] if closing.is_set() else await take_up()

    worker.get_and_submit_flow_runs = take_up_unless_closing  # type: ignore[method-assign]
    await worker.start()


async def _housekeeping(logs: Path) -> None:
    while True:
        await asyncio.sleep(housekeeping_every_s)
        shorten_all(logs)


async def _watcher(settings: Settings, client: PrefectClient) -> None:
    """Starts a load where files or rows changed."""
    from components.retry import retry_while_busy
    from components.wiring import open_store
    from flows.runs import load_when_changed, watched_sources
    from flows.watch import watch

    if not settings.watch.enabled:
        await asyncio.Event().wait()
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def on_change(dataset: str) -> None:
        run = asyncio.run_coroutine_threadsafe(load_when_changed(client, dataset), loop).result(60)
        logger.info("%s changed: load %s takes it.", dataset, run)

    def watch_all() -> None:
        store = retry_while_busy(lambda: open_store(settings))

        def sources() -> dict[str, tuple[str, ...]]:
            return retry_while_busy(lambda: watched_sources(settings, store))

        try:
            try:
                if any(sources().values()):
                    on_change("*")  # what changed while nobody watched
            except Exception:
                logger.exception("The first load could not be started; the next change or poll makes it good.")
            watch(settings, on_change, stop, sources=sources)
        finally:
            store.close()

    try:
        await asyncio.to_thread(watch_all)
    finally:
        stop.set()


async def _start_demo(product: Product, client: PrefectClient) -> UUID:
    """The run that loads the sample logs, and what else has changed; started before the worker, which looks for runs
    only every few seconds.
    """
    from flows.runs import start_run

    await asyncio.to_thread(_remember_samples, product.settings)
    return await start_run(client, "load/load", {"dataset": "*"}, tags=["demo"])


async def _demo(product: Product, client: PrefectClient, load: UUID) -> None:
    """Indexes the sample logs once they are loaded, through the deployments, as any trigger would."""
    from flows.runs import end_of

    product.say("Loading and indexing the sample logs …")
    await end_of(client, load)
    indexed = await _ran(client, "index/index", {"dataset": "demo"})
    if indexed.is_completed():
        product.say(f"The demo is on the map: {product.maps_of('demo')}")
    else:
        product.say(f"The demo is not on the map: {indexed.name}, {indexed.message or 'see its run.'}")


def _remember_samples(settings: Settings) -> None:
    """Makes the sample logs a source of the dataset: runs read nothing that is none."""
    from components.retry import retry_while_busy
    from components.samples import sample_folder
    from components.wiring import open_store

    with closing(retry_while_busy(lambda: open_store(settings))) as store:
        number = retry_while_busy(lambda: store.ledger.dataset_id("demo", create=True))
        assert number is not None
        retry_while_busy(lambda: store.ledger.remember(number, [str(sample_folder())]))


async def _ran(client: PrefectClient, deployment: str, parameters: Mapping[str, Any]) -> State[Any]:
    """The final state of a run of this deployment; one that was turned away waits for the run that is at work."""
    from flows.runs import at_work, end_of, start_run, was_turned_away

    while True:
        state = await end_of(client, await start_run(client, deployment, parameters, tags=["demo"]))
        if not was_turned_away(state):
            return state
        for run in await at_work(client, deployment.partition("/")[0]):
            await end_of(client, run.id)
