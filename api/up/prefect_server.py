"""The Prefect server of one machine: a child of `up`, with a home, a database, a key and a log of its own."""

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

from api.up.home import shorten
from api.up.managed_process import Child
from components.errors import BadSetting, ServiceUnavailable
from components.http_client import answers
from components.redact import public_text

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

start_within_s = 120.0  # the first start makes a database
restart_waits_s = (0.0, 1.0, 5.0, 15.0, 30.0)  # before the server is started again; longer each time it dies soon
lived_well_s = 60.0  # a server that ran for so long had started well
keep_runs_s = 7 * 24 * 3600  # what it remembers of runs, their logs and artifacts
keep_events = "P2D"
oldest = (3, 8)  # as prefect.yaml says
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
    """Tells Prefect, here and in all children, to keep to `home`, to stay offline, to ask for a key, and to forget in time.

    `origin` is the only one whose pages may read answers. Comes before Prefect is imported. What the user set goes before our wishes, but for which server and home are meant.
    """
    for name in foreign:
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(home)
    key = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or own_key(home)
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = key
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = origin
    wishes = {
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
        wishes["PREFECT_SERVER_UI_API_URL"] = "/api"  # of the host name in the browser's address bar
    for name, value in wishes.items():
        os.environ.setdefault(name, value)


def own_key(home: Path) -> str:
    """The key of the server that lives in `home`, made at the first call; only this user can read its file.

    A file that others could read or write may be known to them: it gets a new key.
    """
    file = home / key_file
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        return known_key(home) or _new_key(file)
    except OSError as error:
        raise BadSetting(
            f"The key of the Prefect server can't be kept in {file} ({error.strerror}): make the folder yours "
            "(chown), or name another one in RUNATLAS_HOME."
        ) from error


def known_key(home: Path) -> str | None:
    """The key of the server that lives in `home`; None where there is none that only this user can read."""
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

    `listener` is bound and stays open here: while the server is started again, calls wait for it, and no other program
    can take its port and be told the key.
    """

    def __init__(self, listener: socket.socket, host: str, log: Path, *, allowed_hosts: Sequence[str] = ()) -> None:
        self._descriptor = listener.fileno()
        self._arguments = ["-m", "api.up.prefect_app", "--host", host, "--fd", str(self._descriptor)]
        for name in allowed_hosts:
            self._arguments += ["--allow-host", name]
        self._log = log
        self._child = self._started()

    @property
    def has_ended(self) -> bool:
        return self._child.has_ended

    def stop(self) -> None:
        """Returns when it has ended."""
        self._child.stop()

    def wait_until_healthy(self, url: str) -> None:
        """Returns once the server answers. Raises `ServiceUnavailable` with the end of its log where it does not."""
        end = time.monotonic() + start_within_s
        while time.monotonic() < end and not self.has_ended:
            if answers(f"{url}/api/health", timeout_s=2):
                return
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ServiceUnavailable(f"The Prefect server did not start; {self._log} ends with:\n" + "\n".join(tail))

    async def keep_running(self, url: str, say: Callable[[str], None]) -> None:
        """Starts the server again whenever it ends; runs until it is cancelled."""
        short_lives, was_healthy = 0, True
        while True:
            began = time.monotonic()
            await self._child.end()
            short_lives = 0 if time.monotonic() - began > lived_well_s else short_lives + 1
            if was_healthy:
                say(f"The Prefect server ended and is started again; the maps stay up. Its log is {self._log}.")
            await asyncio.sleep(restart_waits_s[min(short_lives, len(restart_waits_s) - 1)])
            self._child = self._started()
            was_healthy = await asyncio.to_thread(self._comes_back, url)
            if was_healthy:
                say("The Prefect server answers again.")

    def _comes_back(self, url: str) -> bool:
        try:
            self.wait_until_healthy(url)
        except ServiceUnavailable as error:
            logger.error("%s", error)  # noqa: TRY400 - the server's log has the traceback
            self._child.stop()
            return False
        return True

    def _started(self) -> Child:
        shorten(self._log)
        return Child(self._arguments, log=self._log, inherits=[self._descriptor])


async def expect_usable(client: PrefectClient) -> None:
    """Returns where the server that somebody else runs can be worked with. Raises `BadSetting` with the way out."""
    import httpx
    from prefect.client.base import ServerType
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if client.server_type == ServerType.CLOUD:
        return
    place = public_text(str(client.api_url).rstrip("/"))
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            version = await client.api_version()
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise BadSetting(
                f"The Prefect server at {place} wants credentials: set PREFECT_API_AUTH_STRING."
            ) from error
        raise BadSetting(
            f"There is no Prefect API at {place} (it answered {status}): RUNATLAS_PREFECT__API_URL ends with /api."
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise BadSetting(
            f"No Prefect server answers at {place}: start it, correct RUNATLAS_PREFECT__API_URL, or unset it to have "
            "`up` start a server of its own."
        ) from error
    if not is_new_enough(version):
        raise BadSetting(
            f"The Prefect server at {place} has version {version}, runatlas needs {'.'.join(map(str, oldest))} or newer: "
            "update it (`pip install -U prefect`, `prefect server database upgrade`), or unset RUNATLAS_PREFECT__API_URL."
        )


def is_new_enough(version: str) -> bool:
    """Does a server of this version know all that `prefect.yaml` asks for?

    >>> is_new_enough("3.8.8"), is_new_enough("3.10.0rc1"), is_new_enough("2.20.1"), is_new_enough("3.1")
    (True, True, False, False)
    """
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return tuple(numbers) >= oldest
