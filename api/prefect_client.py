"""A client for Prefect: start, find and read runs of the deployments in `prefect.yaml`.

Every call is bounded: a server that is down is reported in about a second, one that hangs in five. A busy server, whose
database is locked for a moment, is retried within that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from api.problems import Problem
from components.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

T = TypeVar("T")

answer_within_s = 5.0
busy_statuses = frozenset({429, 500, 502, 503, 504})  # SQLite locked by another writer is 503, in some places 500
max_attempts, first_wait_s, max_wait_s = 7, 0.1, 1.4  # while the server is busy; the waits double
deployments = ("load/load", "index/index")  # without which nothing works


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One flow run. `type` is Prefect's state type (SCHEDULED, PENDING, RUNNING, COMPLETED, …), `state` its name."""

    id: str
    name: str
    flow: str
    state: str
    type: str
    message: str
    url: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None
    created_by: str = ""


class PrefectRuns:
    """Runs on the Prefect server. The client is opened at the first call, once per event loop; no call waits long."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.prefect
        self._client: PrefectClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()

    def api_url(self) -> str:
        """The address of the server's API: our setting, else Prefect's own, else that of the server which `up` starts."""
        from prefect.settings import PREFECT_API_URL

        configured = self._settings.api_url or PREFECT_API_URL.value()
        return str(configured or f"http://{self._settings.host}:{self._settings.port}/api").rstrip("/")

    async def start(self, deployment: str, parameters: Mapping[str, Any], key: str | None) -> Run:
        """A new run of `deployment`, or the one that the same idempotency `key` started before."""
        # every attempt uses the same key, so one that created a run and seemed to fail creates no second one
        key = key or uuid4().hex

        async def start(client: PrefectClient) -> Run:
            found = await client.read_deployment_by_name(deployment)
            run = await client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters), idempotency_key=key, tags=["http"]
            )
            return self._run(run, deployment.split("/", maxsplit=1)[0])

        return await self._call(start)

    async def active(self, flows: Sequence[str] = ("load", "index")) -> list[Run]:
        """Runs that are due and not finished, newest first; schedules' rows for later days are not among them."""
        from prefect.client.schemas import filters
        from prefect.client.schemas.sorting import FlowRunSort

        unfinished = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_unfinished())),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        )

        async def active(client: PrefectClient) -> list[Run]:
            by_id = {flow.id: flow.name for flow in await client.read_flows(flow_filter=_named(flows))}
            runs = await client.read_flow_runs(
                flow_filter=_named(flows), flow_run_filter=unfinished, sort=FlowRunSort.EXPECTED_START_TIME_DESC
            )
            return [self._run(run, by_id.get(run.flow_id, "")) for run in runs]

        return await self._call(active)

    async def read(self, run_id: UUID) -> Run | None:
        """One run, or None where the server knows no such run."""
        from prefect.exceptions import ObjectNotFound

        async def read(client: PrefectClient) -> Run | None:
            try:
                run = await client.read_flow_run(run_id)
            except ObjectNotFound:
                return None
            flow = await client.read_flow(run.flow_id)
            return self._run(run, flow.name)

        return await self._call(read)

    async def missing(self) -> list[str]:
        """Deployments that are not registered. Raises `Problem` when the server does not respond."""
        from prefect.exceptions import ObjectNotFound

        async def missing(client: PrefectClient) -> list[str]:
            absent = []
            for name in deployments:
                try:
                    await client.read_deployment_by_name(name)
                except ObjectNotFound:
                    absent.append(name)
            return absent

        return await self._call(missing)

    async def close(self) -> None:
        """Close the client; a later call opens another one."""
        self._client = None
        await self._stack.aclose()

    async def _call(self, request: Callable[[PrefectClient], Awaitable[T]]) -> T:
        """What `request` returns, retried while the server is busy. Raises `Problem`, which says what to do."""
        from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        async def attempt() -> T:
            return await request(await self._opened())

        refusals: list[httpx.Response] = []
        retrying = AsyncRetrying(
            retry=retry_if_exception(partial(_is_busy, refusals=refusals)),
            wait=wait_exponential(multiplier=first_wait_s, max=max_wait_s),
            stop=stop_after_attempt(max_attempts),
            reraise=True,
        )
        settings = {PREFECT_API_URL: self.api_url(), PREFECT_CLIENT_MAX_RETRIES: 0}  # its own retries last a minute
        with self._errors_as_problems(refusals), temporary_settings(settings):
            async with asyncio.timeout(answer_within_s):
                return await retrying(attempt)

    @contextmanager
    def _errors_as_problems(self, refusals: Sequence[httpx.Response]) -> Iterator[None]:
        """Raises `Problem` for each error; `refusals`: what a busy server answered until the time was over."""
        from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

        try:
            yield
        except TimeoutError as error:
            if refusals:
                raise _refused(refusals[-1]) from error
            detail = (
                f"The Prefect server did not respond within {answer_within_s:.0f} s; it is busy or hangs. Try again in a "
                "moment, or work without it: `runatlas load`, `runatlas index`."
            )
            raise Problem(503, "prefect-unreachable", detail, headers={"Retry-After": "5"}) from error
        except httpx.TransportError as error:
            raise self._down() from error
        except ObjectNotFound as error:
            detail = "The deployments of prefect.yaml are not registered. Run `prefect deploy --all`."
            raise Problem(503, "deployment-missing", detail) from error
        except PrefectHTTPStatusError as error:
            raise _refused(error.response) from error

    async def _opened(self) -> PrefectClient:
        from prefect.client.orchestration import get_client

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._stack = AsyncExitStack()
            client = get_client(httpx_settings={"timeout": answer_within_s})
            self._client, self._loop = await self._stack.enter_async_context(client), loop
        return self._client

    def _down(self) -> Problem:
        start = "`prefect server start`" if self._settings.api_url else "`runatlas up` (or `prefect server start`)"
        detail = f"The Prefect server does not respond. Start it with {start}, or work without it: `runatlas load`, `runatlas index`."
        return Problem(503, "prefect-unreachable", detail, headers={"Retry-After": "5"})

    def _run(self, run: FlowRun, flow: str) -> Run:
        return Run(
            id=str(run.id),
            name=run.name,
            flow=flow,
            state=run.state.name or "" if run.state else "Pending",
            type=run.state.type.value if run.state else "PENDING",
            message=(run.state.message or "") if run.state else "",
            url=self._ui(run.id),
            parameters=run.parameters or {},
            started=run.start_time,
            ended=run.end_time,
            created_by=(run.created_by.display_value or "") if run.created_by else "",
        )

    def _ui(self, run_id: UUID) -> str:
        from prefect.settings import PREFECT_API_URL, temporary_settings
        from prefect.utilities.urls import url_for

        with temporary_settings({PREFECT_API_URL: self.api_url()}):
            return url_for("flow-run", obj_id=run_id) or ""


def _named(flows: Sequence[str]) -> Any:
    from prefect.client.schemas import filters

    return filters.FlowFilter(name=filters.FlowFilterName(any_=list(flows)))


def _unfinished() -> list[Any]:
    from prefect.client.schemas.objects import StateType

    return [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def _is_busy(error: BaseException, *, refusals: list[httpx.Response]) -> bool:
    """Whether another attempt may succeed; the response is added to `refusals`."""
    from prefect.exceptions import PrefectHTTPStatusError

    if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in busy_statuses:
        refusals.append(error.response)
        return True
    return False


def _refused(response: httpx.Response) -> Problem:
    if response.status_code in {401, 403}:
        detail = "The Prefect server requires credentials. Set PREFECT_API_AUTH_STRING or PREFECT_API_KEY for this process, too."
        return Problem(503, "prefect-unauthorized", detail)
    if response.status_code in {409, 422}:
        return Problem(422, "invalid-request", f"Prefect refused the parameters: {_detail(response)}")
    if response.status_code in busy_statuses:
        detail = (
            f"The Prefect server is busy (HTTP status {response.status_code}). "
            "Try again in a moment. If this persists, see the log of the Prefect server."
        )
        return Problem(503, "prefect-busy", detail, headers={"Retry-After": "5"})
    return Problem(
        502, "prefect-failed", f"The Prefect server returned HTTP status {response.status_code}: {_detail(response)}"
    )


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json().get("detail", ""))[:300]
    except (ValueError, AttributeError):
        return response.text[:300]
