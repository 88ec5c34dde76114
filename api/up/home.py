"""What `up` needs of the machine: the home that one process holds, ports, logs, the settings for its children."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from components.errors import BadSetting, RunAtlasError
from components.http_client import without_proxy
from components.locations import absolute
from components.settings import Settings

log_limit_bytes = 10 << 20


class AlreadyRuns(RunAtlasError):
    """Another `up` holds this home."""


def settled(settings: Settings) -> Settings:
    """The same settings with absolute paths, as processes that start in another folder need them."""
    home = settings.home.expanduser().absolute()
    datasets = {
        name: dataset.model_copy(update={"sources": tuple(map(absolute, dataset.sources))})
        for name, dataset in settings.datasets.items()
    }
    return settings.model_copy(update={"home": home, "datasets": datasets})


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as `RUNATLAS_*` variables.

    >>> environment_of(Settings(home=Path("/srv/runatlas")))["RUNATLAS_HOME"]
    '/srv/runatlas'
    """
    plain = json.loads(settings.model_dump_json())
    return {
        f"RUNATLAS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in plain.items()
        if value is not None
    }


def hand_down(settings: Settings) -> None:
    """Lets every child see exactly these settings, wherever it starts and whatever the shell or a file there says."""
    for name in [name for name in os.environ if name.startswith("RUNATLAS_")]:
        del os.environ[name]
    os.environ.update(environment_of(settings))
    os.environ["RUNATLAS_CONFIG"] = ""  # a runatlas.toml in the folder where runs start is not theirs
    # deployments say `python`: it shall be this one
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def reach_loopback_directly(*hosts: str) -> None:
    """Exempts this machine, and `hosts`, from the proxy of the environment.

    For what reads the environment itself, here and in children: Prefect's client, its event streams, downloads.
    """
    os.environ.update(without_proxy(os.environ, hosts))


@contextmanager
def held(home: Path) -> Iterator[TextIO]:
    """The lock file of this home, ours alone while it is open.

    Raises `AlreadyRuns` with the other one's addresses, `BadSetting` where the home can't be written.
    """
    import fcntl

    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        lock = (home / "up.pid").open("a+", encoding="utf-8")
    except OSError as error:
        raise BadSetting(
            f"{home} can't be written ({error.strerror}): name another folder in RUNATLAS_HOME, or make it writable."
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
    told = _parsed(text)
    if told is None:
        return "it is just starting."
    return f"process {told['pid']}, API {told['api']}, Prefect UI {told['prefect']}."


def running(home: Path) -> dict[str, Any] | None:
    """`pid`, and the addresses `api` and `prefect`, of the `up` that holds this home and is ready; None without one."""
    import fcntl

    try:
        with (home / "up.pid").open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parsed(lock.read())
    except OSError:
        pass
    return None


def _parsed(text: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict) and {"pid", "api", "prefect"} <= set(told):
            return told
    return None


def listening(host: str, wanted: int) -> socket.socket:
    """A bound socket: on the wanted port, or, where that is taken, on a free one. Raises `BadSetting` for a bad host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (wanted, 0):
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, port))
            opened.listen(128)
        except OSError as error:
            opened.close()
            if isinstance(error, socket.gaierror) or port == 0:
                raise BadSetting(f"Nothing can listen on {host!r}: {error.strerror}.") from error
        else:
            return opened
    raise AssertionError


def url_of(host: str, port: int) -> str:
    """The address that a browser on this machine can open.

    >>> url_of("0.0.0.0", 8000), url_of("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


@contextmanager
def output_in(log: Path) -> Iterator[TextIO]:
    """The terminal, for the few words that are meant for it: all else that is printed goes to the log meanwhile."""
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
    """A log beyond its limit goes to `NAME.1`; who writes to it writes on, to the emptied file."""
    if log.exists() and log.stat().st_size > limit_bytes:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def shorten_all(folder: Path) -> None:
    """`shorten` for each log of the folder."""
    for log in folder.glob("*.log"):
        shorten(log)
