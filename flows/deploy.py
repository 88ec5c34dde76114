"""Registers what `prefect.yaml` declares: the work pool, the deployments, their schedules and triggers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.errors import ServiceUnavailable
from components.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

logger = logging.getLogger(__name__)

root = Path(__file__).resolve().parents[1]  # with prefect.yaml; working directory of runs
deployments = ("load/load", "index/index", "compare/compare", "ingest/ingest", "survey/survey", "cleanup/cleanup")
work_pool = "runatlas"  # as prefect.yaml names it


poll = "poll"  # the schedule whose interval is a setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One deployment as `prefect.yaml` declares it, with the polling interval of the settings."""

    name: str  # flow/deployment
    entrypoint: str
    parameters: dict[str, Any]
    schedules: Sequence[dict[str, Any]]
    triggers: Sequence[str]  # names


def is_registered_before(settings: Settings) -> bool:
    """Were the present declarations registered by an earlier start?"""
    seen = settings.home / "prefect-deployed"
    return seen.exists() and seen.read_text(encoding="utf-8") == _mark(settings)


async def deploy(client: PrefectClient, settings: Settings, command: DeployCommand | None = None) -> bool:
    """True where `prefect.yaml` had to be registered: it is new to this server, has changed, or a part is missing there.

    `command` is one that was started before. Registering again enables what a user disabled in the UI, so it is done only
    when needed. Schedules and default parameters are compared at every start, and corrected; a paused schedule stays paused.
    """
    await ensure_pool(client, work_pool, is_ours=_is_own(settings))
    wanted = declared(settings)
    is_known = is_registered_before(settings) and await _are_registered(client, wanted)
    if not is_known:
        with closing(command or DeployCommand()) as prepared:
            await prepared.run()
    for one in wanted:
        await _correct_schedules(client, one)
    if not is_known:
        (settings.home / "prefect-deployed").write_text(_mark(settings), encoding="utf-8")
    return not is_known


def declared(settings: Settings) -> list[Declared]:
    """What the server should know."""
    content = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))
    return [_declared(one, settings.load.poll_s) for one in content["deployments"]]


def _declared(one: dict[str, Any], poll_s: int) -> Declared:
    schedules = [{**each, "interval": poll_s} if each["slug"] == poll else each for each in one.get("schedules", ())]
    return Declared(
        name=f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}",
        entrypoint=one["entrypoint"],
        parameters=one.get("parameters", {}),
        schedules=schedules,
        triggers=[trigger["name"] for trigger in one.get("triggers", ())],
    )


def _mark(settings: Settings) -> str:
    """Equal for equal declarations of the same checkout on the same server."""
    digest = hashlib.sha256((root / "prefect.yaml").read_bytes())
    digest.update(f"{root}\n{settings.prefect.api_url if not _is_own(settings) else 'own'}".encode())
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
    """The work pool with our template. On a server that is not ours, a template that was made by hand stays."""
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


async def _are_registered(client: PrefectClient, wanted: Sequence[Declared]) -> bool:
    """Does the server know every deployment with its parameters, schedules and triggers?

    The timing and the parameters of a schedule are not compared here: they are corrected without registering again.
    """
    from prefect.exceptions import ObjectNotFound

    try:
        for one in wanted:
            found = await client.read_deployment_by_name(one.name)
            if not _has_declared(found, one):
                return False
            for trigger in one.triggers:
                if not await client.read_automations_by_name(trigger):
                    return False
    except ObjectNotFound:
        return False
    return True


def _has_declared(found: DeploymentResponse, wanted: Declared) -> bool:
    slugs = {schedule.slug for schedule in found.schedules}
    return (
        found.entrypoint == wanted.entrypoint
        and found.work_pool_name == work_pool
        and wanted.parameters.items() <= (found.parameters or {}).items()
        and {schedule["slug"] for schedule in wanted.schedules} <= slugs
    )


async def _correct_schedules(client: PrefectClient, wanted: Declared) -> None:
    """Gives the server's schedules the declared timing and parameters. A pause that was set in the UI stays.

    Schedules are always sent whole: the server takes a field that is left out of an update as empty.
    """
    found = await client.read_deployment_by_name(wanted.name)
    by_slug = {schedule.slug: schedule for schedule in found.schedules}
    for one in wanted.schedules:
        schedule = by_slug.get(one["slug"])
        if schedule is not None and (changed := _corrected(schedule, one)) != schedule:
            logger.info("The schedule %s of %s is set to what is declared.", changed.slug, wanted.name)
            await client.update_deployment_schedule(
                found.id,
                changed.id,
                active=changed.active,
                schedule=changed.schedule,
                max_scheduled_runs=changed.max_scheduled_runs,
                parameters=changed.parameters,
                slug=changed.slug,
            )


def _corrected(found: DeploymentSchedule, wanted: dict[str, Any]) -> DeploymentSchedule:
    """The server's schedule with the declared timing and parameters."""
    from prefect.client.schemas.schedules import SCHEDULE_TYPES
    from pydantic import TypeAdapter

    timing = {name: value for name, value in wanted.items() if name not in {"slug", "active", "parameters"}}
    schedule = TypeAdapter(SCHEDULE_TYPES).validate_python(timing)
    return found.model_copy(update={"schedule": schedule, "parameters": wanted.get("parameters", {})})


class DeployCommand:
    """`prefect deploy --all`, as a person would type it, in a process that has imported everything when it is needed.

    Imports take most of its time. Started while the Prefect server boots, it waits for `run`; close it in any case.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _wait_and_deploy],
            cwd=root,
            env={**os.environ, "RUNATLAS_ROOT": str(root), "PYTHONPATH": _with_root(os.environ.get("PYTHONPATH"))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    async def run(self) -> None:
        """Registers all deployments. Raises `ServiceUnavailable` with the end of what the command printed."""
        output, _ = await asyncio.to_thread(self._process.communicate, b"now\n")
        if self._process.returncode:
            last_lines = output.decode(errors="replace").strip().splitlines()[-8:]
            raise ServiceUnavailable("`prefect deploy --all` failed:\n" + "\n".join(last_lines))

    def close(self) -> None:
        """Ends the process where it was not needed."""
        if self._process.poll() is None:
            self._process.communicate()  # closes its input


_wait_and_deploy = """
import sys
import prefect.cli.deploy, flows.cleanup, flows.compare, flows.index, flows.ingest, flows.load, flows.survey
from prefect.cli import app
if not sys.stdin.readline():
    sys.exit()
sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
sys.exit(app())
"""


def _with_root(path: str | None) -> str:
    return os.pathsep.join(filter(None, (str(root), path)))
