"""What may be wrong with an installation, looked at one by one, each with the way to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata

from components.errors import BadSetting, RunAtlasError
from components.http_client import answers
from components.settings import Settings, load_settings

free_bytes = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `detail` says what was found or how to mend it."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Everything worth looking at; the settings come first, since the rest depends on them."""
    try:
        settings = load_settings()
    except RunAtlasError as error:
        return [Finding(name="settings", ok=False, detail=str(error))]
    looks: list[tuple[str, Callable[[Settings], str]]] = [
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
    return [_looked(name, look, settings) for name, look in looks]


def _looked(name: str, look: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=look(settings))
    except (RunAtlasError, OSError, ImportError) as error:
        return Finding(name=name, ok=False, detail=str(error))


def _python(_: Settings) -> str:
    return sys.version.split()[0]


def _packages(_: Settings) -> str:
    """Prefect 3.8 fails while running, not while importing, on newer FastAPI and SQLAlchemy."""
    found = {name: metadata.version(name) for name in ("prefect", "fastapi", "sqlalchemy", "embedding-atlas")}
    bad = [
        f"{name} {found[name]}"
        for name, limit in (("fastapi", (0, 151)), ("sqlalchemy", (2, 1)))
        if tuple(int(part) for part in found[name].split(".")[:2]) >= limit
    ]
    if bad:
        raise ImportError(f"{', '.join(bad)} is too new for Prefect: pip install -c constraints.txt -e .")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _home(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    probe = settings.home / f".probe-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    return f"{settings.home.absolute()} can be written"


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.home if settings.home.exists() else ".").free
    if free < free_bytes:
        raise OSError(f"only {free / 1e9:.1f} GB are free where {settings.home} lies; make room or move RUNATLAS_HOME")
    return f"{free / 1e9:.0f} GB free"


def _database(settings: Settings) -> str:
    from components.wiring import open_store

    store = open_store(settings)
    try:
        return f"{store.db.dialect}, {len(store.ledger.datasets())} datasets, {store.db.size_bytes() / 1e6:.1f} MB"
    finally:
        store.close()


def _model(settings: Settings) -> str:
    from components.wiring import open_embedder

    embedder = open_embedder(settings, "default")
    vectors = embedder.embed(["Is the model there?"]).vectors
    return f"{embedder.identity.split()[0]} gives {vectors.shape[1]} dimensions"


def _dataset_models(settings: Settings) -> str:
    """A dataset whose settings name another model than its map was made with can't be indexed."""
    from components.wiring import open_embedder, open_store

    with closing(open_store(settings)) as store:
        made_with = {name: state.model for name, state in store.status().items() if state.model}
    identities = {name: open_embedder(settings, name).identity for name in made_with}
    changed = [
        f'the map of dataset "{name}" was made with model {model}, its settings name {identities[name]}'
        for name, model in made_with.items()
        if identities[name] != model
    ]
    if changed:
        raise BadSetting(
            f"{'; '.join(changed)}. Set the model back, or rebuild the map: runatlas index -d DATASET --recompute."
        )
    return f"{len(made_with)} datasets, each with the model of its map"


def _atlas(_: Settings) -> str:
    from components.views.embedding_atlas import static_folder

    return f"Embedding Atlas {metadata.version('embedding-atlas')} in {static_folder().name}/"


def _prefect(settings: Settings) -> str:
    url = settings.prefect.api_url or f"http://{settings.prefect.host}:{settings.prefect.port}/api"
    if not answers(f"{url}/health", timeout_s=3):
        return f"not running at {url}; `runatlas up` starts it (load and index from the shell work without it)"
    return f"answers at {url}"
