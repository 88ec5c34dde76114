"""Settings of single datasets in the database. What `runatlas.toml` or the environment sets explicitly wins over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import ValidationError

from components.errors import BadSetting
from components.settings import DatasetSettings, Settings, TextSettings, reason_of
from components.store import Store
from components.store.tables import RecordState

Flat = Mapping[str, Any]  # name -> value; those of the section `text` are named `text.NAME`
_password = re.compile(r"://[^/\s@]*:[^/\s@]*@")  # in a URL
names = (
    *(name for name in DatasetSettings.model_fields if name not in {"sources", "text"}),
    *(f"text.{name}" for name in TextSettings.model_fields),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingValue:
    """A setting of a dataset, and where its value comes from."""

    name: str
    value: Any
    origin: Literal["default", "database", "file or environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The settings of a dataset after a change, and what the change requires."""

    dataset: str
    settings: list[SettingValue]
    notes: list[str]


def effective_settings(settings: Settings, store: Store) -> Settings:
    """The settings with those that the database has for datasets."""
    stored = store.datasets.settings()
    if not stored:
        return settings
    merged = {name: _dataset(flat | _explicit(settings, name)) for name, flat in stored.items()}
    return settings.model_copy(update={"datasets": {**settings.datasets, **merged}})


def list_settings(settings: Settings, store: Store, dataset: str) -> list[SettingValue]:
    """Every setting of a dataset as it applies now, by name."""
    explicit, stored = _explicit(settings, dataset), store.datasets.settings().get(dataset, {})
    applied = _flat(_dataset(stored | explicit).model_dump(mode="json"))
    return [
        SettingValue(
            name=name,
            value=applied[name],
            origin="file or environment" if name in explicit else "database" if name in stored else "default",
        )
        for name in names
    ]


def configure(settings: Settings, store: Store, dataset: str, changes: Flat) -> Configured:
    """Store settings of a dataset, which is created if it is new; None removes a setting.

    Raises `BadSetting` for an unknown name, an invalid value, or a setting that the file or the environment sets.
    """
    explicit = _explicit(settings, dataset)
    for name, value in changes.items():
        _check(dataset, name, value, explicit)
    before = store.datasets.settings().get(dataset, {})
    _validated(dataset, {name: value for name, value in (before | dict(changes)).items() if value is not None})
    dataset_id = store.datasets.id(dataset, create=True)
    assert dataset_id is not None
    after = store.datasets.configure(dataset_id, changes)
    changed = {name for name in changes if before.get(name) != after.get(name)}
    return Configured(
        dataset=dataset,
        settings=list_settings(settings, store, dataset),
        notes=_notes(dataset, changed, store.records.count(dataset_id, RecordState.INDEXED)),
    )


def _check(dataset: str, name: str, value: Any, explicit: Flat) -> None:
    if name == "sources":
        raise BadSetting(
            f"Sources are not set this way: `runatlas load SOURCE -d {dataset}` adds one, "
            f"`runatlas sources remove SOURCE -d {dataset}` removes it."
        )
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names))}."
        raise BadSetting(f"Unknown setting {name!r} of a dataset; {hint}")
    if name in explicit:
        raise BadSetting(
            f"Setting {name!r} of dataset {dataset!r} is set in runatlas.toml or RUNATLAS_DATASETS, which take "
            "precedence: change it there."
        )
    if isinstance(value, str) and _password.search(unquote(value)):
        raise BadSetting(f"Setting {name!r} contains a password, which is not stored: set it in runatlas.toml.")


def _notes(dataset: str, changed: set[str], n_indexed: int) -> list[str]:
    """What changes of settings require, or cost."""
    notes = []
    if n_indexed and (spaces := sorted(name for name in changed if name == "model" or name.startswith("text."))):
        notes.append(
            f"{', '.join(spaces)}: the published map stays until `runatlas index -d {dataset} --recompute` embeds its "
            f"{n_indexed:,} records again and rebuilds it."
        )
    if n_indexed and "extras" in changed:
        notes.append(f"extras: the next index writes all {n_indexed:,} published records again.")
    if reading := sorted(changed & {"format", "timezone", "on_rewrite", "history", "columns", "redact"}):
        notes.append(f"{', '.join(reading)}: applies to what is loaded from now on.")
    return notes


def _explicit(settings: Settings, dataset: str) -> dict[str, Any]:
    """What the file or the environment sets for a dataset."""
    return _flat(settings.dataset(dataset).model_dump(mode="json", exclude_unset=True))


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in nested.items() if name != "text"}
    return flat | {f"text.{name}": value for name, value in nested.get("text", {}).items()}


def _dataset(flat: Flat) -> DatasetSettings:
    text = {name.removeprefix("text."): value for name, value in flat.items() if name.startswith("text.")}
    rest = {name: value for name, value in flat.items() if not name.startswith("text.")}
    return DatasetSettings(**rest, **({"text": TextSettings(**text)} if text else {}))


def _validated(dataset: str, flat: Flat) -> None:
    try:
        _dataset(flat)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadSetting(
            f"Setting {name!r} of dataset {dataset!r} can't be used: {reason_of(first['msg'])} (got {first.get('input')!r})."
        ) from error
