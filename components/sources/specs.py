"""Sources as people name them: which may be loaded on request, which one is to be removed, which files each covers."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from components.errors import BadSetting, NotFound
from components.locations import absolute, glob_root, is_url, without_credentials, without_password


def permitted(source: str, own: Sequence[str], dataset: str) -> str:
    """`source` as an absolute path or URL, if it is one of the dataset's `own` sources or a path below one.

    Raises `BadSetting` for any other: who may start a load may not read any file of the machine.
    """
    if "\0" in source or not source.strip():
        raise BadSetting("is no path")
    if is_url(source):
        if source in own:
            return source
        raise BadSetting(f"is not among the sources of dataset {dataset!r}")
    if ".." in Path(source).parts:
        raise BadSetting("may not contain '..'")
    for root in (Path(glob_root(absolute(spec))) for spec in own if not is_url(spec)):
        if (below := _below(root, source)) is not None:
            return below
    way_out = f"run `runatlas load SOURCE -d {dataset}` once, or add it to datasets.{dataset}.sources in runatlas.toml"
    raise BadSetting(f"is outside of the sources of dataset {dataset!r}; {way_out}")


def _below(root: Path, source: str) -> str | None:
    """`source`, as absolute or relative to `root`; None where its fixed part, links resolved, is not in `root`."""
    base = root if root.is_dir() else root.parent
    candidate = base / source
    try:
        fixed = Path(glob_root(str(candidate))).resolve()
        is_below = fixed == root.resolve() or (root.is_dir() and fixed.is_relative_to(root.resolve()))
    except (OSError, RuntimeError, ValueError):
        return None
    return str(candidate) if is_below else None


def remembered_spec(source: str, remembered: Sequence[str], configured: Sequence[str], dataset: str) -> str:
    """The remembered source that `source` names.

    Raises `NotFound` where there is none, `BadSetting` for one that the settings name.
    """
    names = {source, absolute(source)}
    for spec in remembered:
        if spec in names or without_credentials(spec) in names:
            return spec
    for spec in configured:
        if spec in names or without_credentials(spec) in names:
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
        return location in {spec, without_password(spec), without_credentials(spec)}
    return (
        location == spec
        or location.startswith(spec.rstrip(os.sep) + os.sep)
        or (glob.has_magic(spec) and fnmatchcase(location, spec.replace("**/", "*")))
    )
