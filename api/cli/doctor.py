"""Checks of an installation. A failed check says how to fix the problem."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module, metadata

from api.cli.report import counted
from components.errors import BadSetting, RunAtlasError
from components.http_client import answers
from components.settings import Settings, load_settings
from components.wiring import open_embedder, open_store

min_free_bytes = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check; `detail` says what was found, or how to fix it."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """The result of every check; invalid settings alone where the settings are invalid, since all checks need them."""
    try:
        settings = load_settings()
    except RunAtlasError as error:
        return [Finding(name="settings", ok=False, detail=str(error))]
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("home", _home),
        ("disk", _disk),
        ("database", _database),
        ("model", _model),
        ("models of datasets", _dataset_models),
        ("map pages", _atlas),
        ("Prefect server", _prefect),
    ]
    return [_finding(name, check, settings) for name, check in checks]


def _finding(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=check(settings))
    except (RunAtlasError, OSError, ImportError) as error:
        return Finding(name=name, ok=False, detail=str(error))


def _python(_: Settings) -> str:
    return sys.version.split()[0]


def _packages(_: Settings) -> str:
    """The versions. Prefect 3.8 fails at run time, not at import, on newer FastAPI and SQLAlchemy."""
    found = {name: metadata.version(name) for name in ("prefect", "fastapi", "sqlalchemy", "embedding-atlas")}
    bad = [
        f"{name} {found[name]}"
        for name, limit in (("fastapi", (0, 151)), ("sqlalchemy", (2, 1)))
        if tuple(int(part) for part in found[name].split(".")[:2]) >= limit
    ]
    if bad:
        raise ImportError(f"{', '.join(bad)} is too new for Prefect. Fix: pip install -c constraints.txt -e .")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _home(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    probe = settings.home / f".probe-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    return f"{settings.home.absolute()} is writable"


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.home if settings.home.exists() else ".").free
    if free < min_free_bytes:
        raise OSError(
            f"Only {free / 1e9:.1f} GB are free on the disk of {settings.home}. Free some space, or move RUNATLAS_HOME."
        )
    return f"{free / 1e9:.0f} GB free"


def _database(settings: Settings) -> str:
    with closing(open_store(settings)) as store:
        return (
            f"{store.db.dialect}, {counted(len(store.datasets.ids()), 'dataset')}, {store.db.size_bytes() / 1e6:.1f} MB"
        )


def _model(settings: Settings) -> str:
    embedder = open_embedder(settings, "default")
    vectors = embedder.embed(["A test of the model."]).vectors
    return f"{embedder.identity.split()[0]} gives {vectors.shape[1]} dimensions"


def _dataset_models(settings: Settings) -> str:
    """A dataset can only be indexed with the model that its map was made with."""
    with closing(open_store(settings)) as store:
        made_with = {name: state.model for name, state in store.status().items() if state.model}
    identities = {name: open_embedder(settings, name).identity for name in made_with}
    changed = [
        f'the map of dataset "{name}" was made with model {model}, but its settings name {identities[name]}'
        for name, model in made_with.items()
        if identities[name] != model
    ]
    if changed:
        raise BadSetting(
            f"{'; '.join(changed)}. Restore the model setting, or rebuild the map: runatlas index -d DATASET --recompute"
        )
    return f"{counted(len(made_with), 'dataset')} checked; the configured models match the maps"


def _atlas(_: Settings) -> str:
    pages = import_module("components.views.embedding_atlas")  # imports pyarrow: if that fails, it is a finding
    return f"Embedding Atlas {metadata.version('embedding-atlas')} in {pages.static_folder().name}/"


def _prefect(settings: Settings) -> str:
    url = settings.prefect.api_url or f"http://{settings.prefect.host}:{settings.prefect.port}/api"
    if not answers(f"{url}/health", timeout_s=3):
        return f"not running at {url}; `runatlas up` starts it (`runatlas load` and `index` work without it)"
    return f"running at {url}"
