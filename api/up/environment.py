"""The environment of `up` and of the processes below it: settings, PATH, and what must not go through a proxy."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from components.http_client import without_proxy
from components.locations import absolute
from components.settings import Settings


def with_absolute_paths(settings: Settings) -> Settings:
    """The same settings with absolute paths, as processes need them that start in another folder."""
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


def export_settings(settings: Settings) -> None:
    """Set the environment so that every child process has exactly these settings, in whatever folder it starts."""
    for name in [name for name in os.environ if name.startswith("RUNATLAS_")]:
        del os.environ[name]
    os.environ.update(environment_of(settings))
    os.environ["RUNATLAS_CONFIG"] = ""  # ignore a runatlas.toml in the folder where runs start
    # deployments call `python`: this makes it the interpreter of this process
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def bypass_proxy(*hosts: str) -> None:
    """Exempt this machine, and `hosts`, from the proxy that the environment names.

    For libraries that read the environment themselves, here and in child processes: Prefect's client, its event
    streams, downloads.
    """
    os.environ.update(without_proxy(os.environ, hosts))
