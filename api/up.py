"""`runatlas up`: the whole product on one machine, as one tree of processes that lives and ends together.

This process runs the worker, the HTTP API and the watcher in one event loop; the Prefect server is its child, and so is
each run. Everything that the tree writes lies in `home`: the state, Prefect's own database, the logs, and the lock that
keeps a second `up` away.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from components.errors import BadSetting, RunAtlasError, ServiceUnavailable
from components.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

start_within_s = 120.0  # the first start of a server makes its database
stop_within_s = 45.0  # for runs to give up what they do; Prefect kills them after 30
log_limit_bytes = 10 << 20
keep_runs_s = 7 * 24 * 3600  # what Prefect remembers of runs, their logs and artifacts
keep_events = "P2D"
foreign_prefect = ("PREFECT_PROFILE", "PREFECT_API_KEY", "PREFECT_API_URL", "PREFECT_PROFILES_PATH", "PREFECT_UI_URL")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the three faces of a running product are."""

    prefect: str  # the UI, and below /api the server's API
    api: str

    def map_of(self, dataset: str) -> str:
        return f"{self.api}/map/{dataset}"

    def atlas_of(self, dataset: str) -> str:
        return f"{self.api}/atlas/{dataset}/"


class AlreadyRuns(RunAtlasError):
    """Another `up` holds this home."""


def run_up(settings: Settings, *, demo: bool = False, open_browser: bool = False) -> int:
    """Starts everything, says so, and serves until Ctrl-C, SIGTERM or the death of a part.

    Gives the exit status: 0 after a wanted stop, 1 where something could not start or died; the message is on stderr.
    """
    began = time.monotonic()
    try:
        settings = settled(settings)
        with held(settings.home) as lock, _output_in(settings.home / "logs" / "up.log") as terminal:
            return _serve(settings, _Start(lock, terminal, began, demo=demo, open_browser=open_browser))
    except RunAtlasError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


# --- before anything starts ------------------------------------------------------------------------------------


def settled(settings: Settings) -> Settings:
    """The same settings with absolute paths, as processes that start in another folder need them."""
    home = settings.home.expanduser().absolute()
    datasets = {
        name: dataset.model_copy(update={"sources": tuple(_absolute(source) for source in dataset.sources)})
        for name, dataset in settings.datasets.items()
    }
    return settings.model_copy(update={"home": home, "datasets": datasets})


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path(source).expanduser().absolute())


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as `RUNATLAS_*` variables, so that runs work with what `up` was given, wherever they start.

    >>> environment_of(Settings(home=Path("/srv/runatlas")))["RUNATLAS_HOME"]
    '/srv/runatlas'
    """
    plain = json.loads(settings.model_dump_json())
    return {
        f"RUNATLAS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in plain.items()
        if value is not None
    }


@contextlib.contextmanager
def held(home: Path) -> Iterator[TextIO]:
    """The open lock file of this home, ours alone. Raises `AlreadyRuns` with the other one's addresses."""
    import fcntl

    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        lock = (home / "up.pid").open("a+", encoding="utf-8")
    except OSError as error:
        raise BadSetting(
            f"{home} can't be written ({error.strerror}): give another folder as RUNATLAS_HOME, or make it writable."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise AlreadyRuns(f"runatlas already runs on {home}: {_told(lock.read())}") from None
        try:
            yield lock
        finally:
            lock.truncate(0)


def _told(text: str) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(text)
        return f"process {told['pid']}, API {told['api']}, Prefect UI {told['prefect']}."
    return "it is just starting."


def free_port(host: str, wanted: int) -> int:
    """`wanted` where nobody listens on it, else a port that is free now. Raises `BadSetting` for an unusable host."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except socket.gaierror as error:
                raise BadSetting(f"{host!r} is no address of this machine: {error.strerror}.") from error
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BadSetting(f"No port can be had on {host!r}: is it an address of this machine?")


@contextlib.contextmanager
def _output_in(log: Path) -> Iterator[TextIO]:
    """The terminal, for our few words; all else that this process and its runs print goes to the log."""
    shorten(log)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with log.open("ab", buffering=0) as file, os.fdopen(os.dup(1), "w", buffering=1) as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(before, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def shorten(log: Path, limit_bytes: int = log_limit_bytes) -> None:
    """A log beyond its limit goes to `NAME.1`; those who write to it write on, to the emptied file."""
    if log.exists() and log.stat().st_size > limit_bytes:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


# --- the Prefect server ----------------------------------------------------------------------------------------


def prefect_environment(home: Path) -> dict[str, str]:
    """What Prefect is told in this tree; what the user set by hand comes first."""
    ours = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # leases in memory are lost with a server restart, and the runs that hold them crash
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(keep_runs_s),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": keep_events,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    return {name: os.environ.get(name, value) for name, value in ours.items()}


class PrefectServer:
    """The server as a child that dies with us."""

    def __init__(self, host: str, port: int, log: Path) -> None:
        shorten(log)
        environment = {name: value for name, value in os.environ.items() if name not in foreign_prefect}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
        self._log = log
        with log.open("ab") as output:
            # its own session: Ctrl-C in a terminal is for us, who stop the server last
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs yet
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until_healthy(self, url: str) -> None:
        """Returns once the server answers. Raises `ServiceUnavailable` with the end of its log where it does not."""
        end = time.monotonic() + start_within_s
        while time.monotonic() < end:
            if self.has_ended:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ServiceUnavailable(f"The Prefect server did not start; {self._log} ends with:\n" + "\n".join(tail))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent is gone, however it went; elsewhere the next start finds the port taken."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


# --- the tree --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    lock: TextIO
    terminal: TextIO
    began: float
    demo: bool
    open_browser: bool

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody may be listening any more
            self.terminal.write(f"{text}\n")
            self.terminal.flush()


def _serve(settings: Settings, start: _Start) -> int:
    """Server first, then all that talks to it; and down again in the other order."""
    api_port = _port(settings.api.host, settings.api.port, "The API", start.say)
    signal.signal(signal.SIGTERM, _as_interrupt)
    if settings.prefect.api_url:
        url = settings.prefect.api_url.rstrip("/").removesuffix("/api")
        return asyncio.run(_conduct(_told_where(settings, url, api_port), None, start))
    port = _port(settings.prefect.host, settings.prefect.port, "The Prefect server", start.say)
    url = _url(settings.prefect.host, port)
    os.environ.update(prefect_environment(settings.home))
    for name in foreign_prefect:
        os.environ.pop(name, None)
    start.say(f"Starting the Prefect server on {url} …")
    server = PrefectServer(settings.prefect.host, port, settings.home / "logs" / "prefect-server.log")
    try:
        settings = _told_where(settings, url, api_port)
        _import_while_waiting()
        server.wait_until_healthy(url)
        return asyncio.run(_conduct(settings, server, start))
    finally:
        server.stop()


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _port(host: str, wanted: int, who: str, say: Say) -> int:
    port = free_port(host, wanted)
    if wanted not in {port, 0}:
        say(f"Port {wanted} is taken: {who} listens on {port} this time.")
    return port


def _url(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def _told_where(settings: Settings, prefect_url: str, api_port: int) -> Settings:
    """The settings with what was found out; this process and all its children are told. Comes before Prefect's import."""
    settings = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": api_port}),
            "prefect": settings.prefect.model_copy(update={"api_url": f"{prefect_url}/api"}),
        }
    )
    os.environ.update(environment_of(settings))
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    os.environ["PREFECT_API_URL"] = f"{prefect_url}/api"
    return settings


def _import_while_waiting() -> None:
    """The slow imports run while the server boots on the other core."""
    for name in ("uvicorn", "prefect.workers.process", "api.http"):
        importlib.import_module(name)


async def _conduct(settings: Settings, server: PrefectServer | None, start: _Start) -> int:
    """Runs the parts until one ends or a signal comes. The exit status."""
    import uvicorn
    from prefect import get_client

    from api.http import create_app
    from flows.deploy import deploy

    addresses = Addresses(
        prefect=str(settings.prefect.api_url).removesuffix("/api"), api=_url(settings.api.host, settings.api.port)
    )
    async with get_client() as client:
        if server is not None:
            await reconcile(client)
        await deploy(client, settings)
        web = uvicorn.Server(
            uvicorn.Config(create_app(settings), host=settings.api.host, port=settings.api.port, log_level="warning")
        )
        web.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # signals are ours
        parts = {"worker": _worker(settings), "API": web.serve(), "watcher": _watcher(settings, client)}
        if server is not None:
            parts["Prefect server"] = _until_it_ends(server)
        tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        tasks.append(asyncio.create_task(_housekeeping(settings), name="housekeeping"))
        try:
            return await _until_stopped(settings, start, addresses, client, web, tasks)
        finally:
            if server is None or not server.has_ended:
                await drain(client, only_ours=server is None)
            web.should_exit = True
            for task in tasks:
                if task.get_name() != "API":
                    task.cancel()
            await asyncio.wait(tasks, timeout=10)


async def _until_stopped(
    settings: Settings,
    start: _Start,
    addresses: Addresses,
    client: PrefectClient,
    web: Any,
    tasks: list[asyncio.Task[None]],
) -> int:
    stop = asyncio.Event()
    while not web.started and not any(task.done() for task in tasks):
        await asyncio.sleep(0.05)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not any(task.done() for task in tasks):
        _tell_ready(settings, start, addresses)
    waiting = [asyncio.create_task(stop.wait(), name="stop"), *tasks]
    demo = asyncio.create_task(_demo(client, start, addresses)) if start.demo else None
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if demo is not None:
        demo.cancel()
    if stop.is_set():
        start.say("Stopping …")
        return 0
    for task in done:
        error = None if task.cancelled() else task.exception()
        start.say(
            f"The {task.get_name()} ended{f': {error}' if error else ''}; stopping everything. See {_logs(settings)}."
        )
    waiting[0].cancel()
    return 1


def _tell_ready(settings: Settings, start: _Start, addresses: Addresses) -> None:
    start.lock.truncate(0)
    start.lock.write(json.dumps({"pid": os.getpid(), "api": addresses.api, "prefect": addresses.prefect}))
    start.lock.flush()
    dataset = "demo" if start.demo else next(iter(settings.datasets), "default")
    start.say(
        f"runatlas is ready ({time.monotonic() - start.began:.1f} s).\n"
        f"  Prefect UI  {addresses.prefect}\n"
        f"  API         {addresses.api}/docs\n"
        f"  Map         {addresses.atlas_of(dataset)}  (without WebGPU: {addresses.map_of(dataset)})\n"
        f"Logs are in {_logs(settings)}. Ctrl-C stops everything."
    )
    if start.open_browser and not start.demo:
        webbrowser.open(addresses.map_of(dataset))


def _logs(settings: Settings) -> Path:
    return settings.home / "logs"


# --- the parts -------------------------------------------------------------------------------------------------


async def _worker(settings: Settings) -> None:
    from prefect.workers.process import ProcessWorker

    name = f"runatlas {socket.gethostname()}"
    await ProcessWorker(work_pool_name=settings.prefect.work_pool, name=name, limit=4).start()


async def _until_it_ends(server: PrefectServer) -> None:
    while not server.has_ended:
        await asyncio.sleep(0.5)


async def _housekeeping(settings: Settings) -> None:
    while True:
        await asyncio.sleep(60)
        for log in _logs(settings).glob("*.log"):
            shorten(log)


async def _watcher(settings: Settings, client: PrefectClient) -> None:
    """Starts a load where files or rows changed, unless one stands ready that will see them."""
    from flows.triggers import load_when_changed, watched_sources
    from flows.watch import watch

    if not settings.watch.enabled:
        await asyncio.Event().wait()
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def on_change(dataset: str) -> None:
        asyncio.run_coroutine_threadsafe(load_when_changed(client, dataset), loop).result(60)

    thread = threading.Thread(
        target=watch,
        args=(settings, on_change, stop),
        kwargs={"sources": lambda: watched_sources(settings)},
        daemon=True,
    )
    thread.start()
    try:
        while thread.is_alive():
            await asyncio.sleep(1)
    finally:
        stop.set()


async def _demo(client: PrefectClient, start: _Start, addresses: Addresses) -> None:
    """Loads and indexes the sample logs through the deployments, as any trigger would."""
    from components.samples import sample_folder

    start.say("Loading and indexing the sample logs …")
    steps: list[tuple[str, dict[str, Any]]] = [
        ("load/load", {"dataset": "demo", "sources": [str(sample_folder())]}),
        ("index/index", {"dataset": "demo"}),
    ]
    for deployment, parameters in steps:
        state = await _ran(client, deployment, parameters)
        if not state.is_completed():
            start.say(f"The demo's {deployment.partition('/')[0]} is {state.name}: {state.message or 'see its run.'}")
            return
    start.say(f"The demo is on the map: {addresses.atlas_of('demo')}  (without WebGPU: {addresses.map_of('demo')})")
    if start.open_browser:
        webbrowser.open(addresses.map_of("demo"))


async def _ran(client: PrefectClient, deployment: str, parameters: Mapping[str, Any]) -> State[Any]:
    from flows.triggers import start_run

    run = await start_run(client, deployment, parameters, tags=["demo"])
    while True:
        state = (await client.read_flow_run(run)).state
        if state is not None and state.is_final():
            return state
        await asyncio.sleep(0.5)


# --- runs that were left, runs that are left -------------------------------------------------------------------


async def active_runs(client: PrefectClient) -> list[FlowRun]:
    """Runs of our deployments that a worker has taken and not finished."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterTags,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    taken = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    return await client.read_flow_runs(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=["runatlas"])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=taken))),
    )


async def reconcile(client: PrefectClient) -> None:
    """Marks runs as crashed that a dead `up` left: before our worker starts, nothing can be running on our server."""
    from prefect.client.schemas.objects import State, StateType

    for run in await active_runs(client):
        state: State[Any] = State(
            type=StateType.CRASHED, name="Crashed", message="runatlas was stopped hard while it ran."
        )
        await client.set_flow_run_state(run.id, state, force=True)


async def drain(client: PrefectClient, *, only_ours: bool) -> None:
    """Cancels what runs and waits until it has given up: a worker that just ends leaves its runs Running for ever."""
    from prefect.client.schemas.objects import State, StateType

    async def left() -> list[FlowRun]:
        return [run for run in await active_runs(client) if not only_ours or _is_below_us(run.infrastructure_pid)]

    with contextlib.suppress(Exception):  # a server that went away keeps nobody from stopping
        for run in await left():
            state: State[Any] = State(
                type=StateType.CANCELLING, name="Cancelling", message="runatlas is being stopped."
            )
            await client.set_flow_run_state(run.id, state)
        end = time.monotonic() + stop_within_s
        while time.monotonic() < end and await left():
            await asyncio.sleep(0.3)


def _is_below_us(infrastructure: str | None) -> bool:
    import psutil

    number = (infrastructure or "").rpartition(":")[2]
    return number.isdigit() and int(number) in {child.pid for child in psutil.Process().children(recursive=True)}
