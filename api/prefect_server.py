"""The Prefect server of one machine: a child of `up`, with a home, a database and a log of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from api.home import shorten
from components.errors import ServiceUnavailable

start_within_s = 120.0  # the first start makes a database
keep_runs_s = 7 * 24 * 3600  # what it remembers of runs, their logs and artifacts
keep_events = "P2D"
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
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    for name, value in wishes.items():
        os.environ.setdefault(name, value)


class PrefectServer:
    """`prefect server start`, from construction to `stop`."""

    def __init__(self, host: str, port: int, log: Path) -> None:
        shorten(log)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for us, who stop the server last
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs yet
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until_healthy(self, url: str) -> None:
        """Returns once the server answers. Raises `ServiceUnavailable` with the end of its log where it does not."""
        end = time.monotonic() + start_within_s
        while time.monotonic() < end and not self.has_ended:
            with suppress(OSError), urllib.request.urlopen(f"{url}/api/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise ServiceUnavailable(f"The Prefect server did not start; {self._log} ends with:\n" + "\n".join(tail))

    def stop(self) -> None:
        """Returns when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent is gone, however it went."""
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
