"""Which source a person means who removes one, and which files it had named."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from components.errors import BadSetting, NotFound
from components.locations import without_password
from components.sources.tables import is_url, without_secrets


def remembered_spec(source: str, remembered: Sequence[str], configured: Sequence[str], dataset: str) -> str:
    """The remembered source that is meant. Raises `NotFound` where there is none, `BadSetting` for a configured one."""
    names = {source, source if is_url(source) else str(Path(source).expanduser().absolute())}
    for spec in remembered:
        if spec in names or without_secrets(spec) in names:
            return spec
    for spec in configured:
        if spec in names or without_secrets(spec) in names:
            raise BadSetting(
                f'{source} is set in the settings of dataset "{dataset}": remove it from `sources` in runatlas.toml '
                "(or RUNATLAS_DATASETS)."
            )
    raise NotFound(
        f'{source} is no source of dataset "{dataset}". `runatlas sources -d {dataset}` lists them; a file below a '
        "folder can only be removed with its folder."
    )


def covers(spec: str, location: str) -> bool:
    """May this source have named the file or table at `location`?

    >>> covers("/logs", "/logs/a/run.jsonl"), covers("/logs/*.jsonl", "/logs/a.csv"), covers("/log", "/logs/a.csv")
    (True, False, False)
    """
    if is_url(spec):
        return location in {spec, without_password(spec), without_secrets(spec)}
    return (
        location == spec
        or location.startswith(spec.rstrip(os.sep) + os.sep)
        or (glob.has_magic(spec) and fnmatchcase(location, spec.replace("**/", "*")))
    )
