"""Registers what `prefect.yaml` declares: the work pool, both deployments, their schedules and triggers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ServiceUnavailable
from components.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

root = Path(__file__).resolve().parents[1]  # where prefect.yaml lies, and where runs start
deployments = ("load/load", "index/index")
work_pool = "runatlas"  # as prefect.yaml names it


async def deploy(client: PrefectClient, settings: Settings) -> bool:
    """True where `prefect.yaml` had to be registered: it is new to this server, or has changed.

    Registering anew would switch on again what somebody switched off in the UI, so it is not done without need.
    """
    await ensure_pool(client, work_pool, is_ours=_is_own(settings))
    seen = settings.home / "prefect-deployed"
    mark = _mark(settings)
    if seen.exists() and seen.read_text(encoding="utf-8") == mark and await _all_known(client):
        return False
    await _prefect_deploy()
    await _poll_every(client, settings.load.poll_s)
    seen.write_text(mark, encoding="utf-8")
    return True


def _mark(settings: Settings) -> str:
    """Equal for equal declarations of the same checkout on the same server."""
    digest = hashlib.sha256((root / "prefect.yaml").read_bytes())
    digest.update(
        f"{root}\n{settings.load.poll_s}\n{settings.prefect.api_url if not _is_own(settings) else 'own'}".encode()
    )
    return digest.hexdigest()


def _is_own(settings: Settings) -> bool:
    """Does the server keep its database in our home? Then its port may change from start to start."""
    return Path(os.environ.get("PREFECT_HOME", "")) == settings.home / "prefect"


def job_template() -> dict[str, Any]:
    """What a worker of our pool starts: one fixed command, in which a run can set nothing.

    Prefect's default lets every run choose command, environment and folder, so whoever may start a run runs any program.
    A template with `env` would have a run's own variables merged into it, so ours has none.
    """
    template: dict[str, Any] = json.loads((root / "work-pool.json").read_bytes())
    return template


async def ensure_pool(client: PrefectClient, name: str, *, is_ours: bool) -> None:
    """The work pool with our template. One on a server of somebody else's keeps a template that was made by hand."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    wanted = job_template()
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=wanted))
        return
    is_default = pool.base_job_template in ({}, ProcessWorker.get_default_base_job_template())
    if pool.type == "process" and pool.base_job_template != wanted and (is_ours or is_default):
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=wanted))


async def _all_known(client: PrefectClient) -> bool:
    from prefect.exceptions import ObjectNotFound

    try:
        for name in deployments:
            await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    return True


async def _poll_every(client: PrefectClient, poll_s: int) -> None:
    """Gives the polling schedule the interval of the settings; a pause that somebody set in the UI stays."""
    from prefect.client.schemas.schedules import IntervalSchedule

    load = await client.read_deployment_by_name(deployments[0])
    for one in load.schedules:
        schedule = one.schedule
        if isinstance(schedule, IntervalSchedule) and schedule.interval != timedelta(seconds=poll_s):
            changed = schedule.model_copy(update={"interval": timedelta(seconds=poll_s)})
            await client.update_deployment_schedule(load.id, one.id, schedule=changed)


async def _prefect_deploy() -> None:
    """The command a person would type. Raises `ServiceUnavailable` with the end of what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
        cwd=root,
        env={**os.environ, "RUNATLAS_ROOT": str(root)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        told = output.decode(errors="replace").strip().splitlines()[-8:]
        raise ServiceUnavailable("`prefect deploy --all` failed:\n" + "\n".join(told))
