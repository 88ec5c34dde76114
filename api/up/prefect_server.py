"""The Prefect server of one machine: a child process of `up`, with its own home, database, key and log."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from api.up.logs import rotate
from api.up.managed_process import ManagedProcess
from components.errors import BadSetting, ServiceUnavailable
from components.http_client import answers
from components.redact import public_text

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

start_within_s = 120.0  # the first start creates a database
restart_waits_s = (0.0, 1.0, 5.0, 15.0, 30.0)  # before a restart; the next one each time the server ends early
stable_after_s = 60.0  # a server that ran this long had started correctly
keep_runs_s = 7 * 24 * 3600  # runs, their logs and artifacts
keep_events = "P2D"
min_version = (3, 8)  # required by prefect.yaml
key_file = "auth-string"  # in Prefect's home
foreign = (
    "PREFECT_PROFILE",
    "PREFECT_PROFILES_PATH",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_URL",
    "PREFECT_UI_URL",
)


def adopt_environment(home: Path, origin: str) -> None:
    """Configure Prefect for this process and its children: stay below `home`, stay offline, require a key, expire old runs.

    `origin` is the only one whose pages may read responses. Must precede Prefect's import. Values that the user set take
    precedence, except for the server and the home.
    """
    for name in foreign:
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(home)
    key = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or own_key(home)
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = key
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = origin
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # leases in memory are lost with a server restart, and the runs that hold them crash
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(keep_runs_s),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": keep_events,
        "PREFECT_WORKER_QUERY_SECONDS": "3",
    }
    if "PREFECT_UI_API_URL" not in os.environ:
        defaults["PREFECT_SERVER_UI_API_URL"] = "/api"  # on the host of the page
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def own_key(home: Path) -> str:
    """The key of the server of `home`, created at the first call; only this user can read its file.

    The key is replaced where other users could read or write the file. Raises `BadSetting` where it can't be stored.
    """
    file = home / key_file
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        return known_key(home) or _new_key(file)
    except OSError as error:
        raise BadSetting(
            f"The key of the Prefect server can't be stored in {file} ({error.strerror}). Change the owner of the folder "
            "(chown), or set RUNATLAS_HOME to another one."
        ) from error


def known_key(home: Path) -> str | None:
    """The key of the server of `home`; None where there is none, or other users could read it."""
    try:
        with (home / key_file).open(encoding="utf-8") as opened:
            is_private = not os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            return (opened.read().strip() or None) if is_private else None
    except FileNotFoundError:
        return None


def _new_key(file: Path) -> str:
    key = f"runatlas:{secrets.token_urlsafe(32)}"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(key)
    return key


class PrefectServer:
    """The server's process, from construction to `stop`.

    `listener` is bound and stays open here: during a restart calls wait for the server, and no other program can take
    its port and receive the key.
    """

    def __init__(self, listener: socket.socket, host: str, log: Path, *, allowed_hosts: Sequence[str] = ()) -> None:
        self._descriptor = listener.fileno()
        self._arguments = ["-m", "api.up.prefect_app", "--host", host, "--fd", str(self._descriptor)]
        for name in allowed_hosts:
            self._arguments += ["--allow-host", name]
        self._log = log
        self._process = self._start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has exited."""
        return self._process.has_ended

    def stop(self) -> None:
        """Terminate the server, and return once it has exited."""
        self._process.stop()

    def wait_until_healthy(self, url: str) -> None:
        """Return once the server responds. Raises `ServiceUnavailable` with the end of its log where it does not."""
        end = time.monotonic() + start_within_s
        while time.monotonic() < end and not self.has_ended:
            if answers(f"{url}/api/health", timeout_s=2):
                return
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ServiceUnavailable(f"The Prefect server did not start; {self._log} ends with:\n" + "\n".join(tail))

    async def keep_running(self, url: str, say: Callable[[str], None]) -> None:
        """Restart the server whenever it ends, until cancelled."""
        n_early_ends, is_healthy = 0, True
        while True:
            started_s = time.monotonic()
            await self._process.wait()
            n_early_ends = 0 if time.monotonic() - started_s > stable_after_s else n_early_ends + 1
            if is_healthy:
                say(f"The Prefect server stopped unexpectedly; restarting it. Maps stay available. Log: {self._log}")
            await asyncio.sleep(restart_waits_s[min(n_early_ends, len(restart_waits_s) - 1)])
            self._process = self._start()
            is_healthy = await asyncio.to_thread(self._becomes_healthy, url)
            if is_healthy:
                say("The Prefect server is available again.")

    def _becomes_healthy(self, url: str) -> bool:
        try:
            self.wait_until_healthy(url)
        except ServiceUnavailable as error:
            logger.error("%s", error)  # noqa: TRY400 - the server's log has the traceback
            self._process.stop()
            return False
        return True

    def _start(self) -> ManagedProcess:
        rotate(self._log)
        return ManagedProcess(self._arguments, log=self._log, inherits=[self._descriptor])


async def expect_usable(client: PrefectClient) -> None:
    """Return where an external server can be used. Raises `BadSetting`, which says what to do, where it can't."""
    import httpx
    from prefect.client.base import ServerType
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if client.server_type == ServerType.CLOUD:
        return
    address = public_text(str(client.api_url).rstrip("/"))
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            version = await client.api_version()
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise BadSetting(
                f"The Prefect server at {address} requires credentials. Set PREFECT_API_AUTH_STRING."
            ) from error
        raise BadSetting(
            f"There is no Prefect API at {address} (HTTP status {status}). RUNATLAS_PREFECT__API_URL must end with /api."
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise BadSetting(
            f"No Prefect server responds at {address}. Start it, correct RUNATLAS_PREFECT__API_URL, or unset it: `up` then "
            "starts its own server."
        ) from error
    if not is_new_enough(version):
        raise BadSetting(
            f"The Prefect server at {address} has version {version}; runatlas requires {'.'.join(map(str, min_version))} or newer. "
            "Update it (`pip install -U prefect`, `prefect server database upgrade`), or unset RUNATLAS_PREFECT__API_URL."
        )


def is_new_enough(version: str) -> bool:
    """Whether a server of this version supports everything that `prefect.yaml` uses.

    >>> is_new_enough("3.8.8"), is_new_enough("3.10.0rc1"), is_new_enough("2.20.1"), is_new_enough("3.1")
    (True, True, False, False)
    """
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return tuple(numbers) >= min_version
