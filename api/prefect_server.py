"""The Prefect server of one machine: a child of `up`, with a home, a database and a log of its own."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from api.child import Child
from api.home import shorten
from api.problems import without_places
from components.errors import BadSetting, ServiceUnavailable
from components.http_client import answers

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

start_within_s = 120.0  # the first start makes a database
keep_runs_s = 7 * 24 * 3600  # what it remembers of runs, their logs and artifacts
keep_events = "P2D"
oldest = (3, 8)  # as prefect.yaml says
foreign = ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY", "PREFECT_API_URL", "PREFECT_UI_URL")


def adopt_environment(home: Path) -> None:
    """Tells Prefect, here and in all children, to keep to `home`, to stay offline, and to forget in time.

    Comes before Prefect is imported. What the user set goes before our wishes, but for which server and home are meant.
    """
    for name in foreign:
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(home)
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
    for name, value in wishes.items():
        os.environ.setdefault(name, value)


class PrefectServer(Child):
    """`prefect server start`."""

    def __init__(self, host: str, port: int, log: Path) -> None:
        shorten(log)
        self._log = log
        super().__init__(["-m", "prefect", "server", "start", "--host", host, "--port", str(port)], log=log)

    def wait_until_healthy(self, url: str) -> None:
        """Returns once the server answers. Raises `ServiceUnavailable` with the end of its log where it does not."""
        end = time.monotonic() + start_within_s
        while time.monotonic() < end and not self.has_ended:
            if answers(f"{url}/api/health", timeout_s=2):
                return
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ServiceUnavailable(f"The Prefect server did not start; {self._log} ends with:\n" + "\n".join(tail))


async def expect_usable(client: PrefectClient) -> None:
    """Returns where the server that somebody else runs can be worked with. Raises `BadSetting` with the way out."""
    import httpx
    from prefect.client.base import ServerType
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    if client.server_type == ServerType.CLOUD:
        return
    place = without_places(str(client.api_url).rstrip("/"))
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
