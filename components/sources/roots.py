"""Which sources somebody may ask for who does not own the settings: those that lie below a dataset's own."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadSetting


def within(source: str, own: Sequence[str], dataset: str) -> str:
    """`source` as an absolute path or URL. Raises `BadSetting` where it is none of the dataset's `own` and below none."""
    if "\0" in source or not source.strip():
        raise BadSetting("is no path")
    if "://" in source:
        if source in own:
            return source
        raise BadSetting(f"is not among the sources of dataset {dataset!r}")
    if ".." in Path(source).parts:
        raise BadSetting("may not contain '..'")
    for root in (root_of(spec) for spec in own if "://" not in spec):
        there = _below(root, source)
        if there is not None:
            return there
    way_out = f"run `runatlas load SOURCE -d {dataset}` once, or add it to datasets.{dataset}.sources in runatlas.toml"
    raise BadSetting(f"lies outside of the sources of dataset {dataset!r}; {way_out}")


def root_of(spec: str) -> Path:
    """The folder or file that a source spec stands for; of a glob the part before the first wildcard.

    >>> root_of("/logs/*/run.jsonl").as_posix(), root_of("/logs/a.jsonl").as_posix()
    ('/logs', '/logs/a.jsonl')
    """
    parts = Path(spec).expanduser().absolute().parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _below(root: Path, source: str) -> str | None:
    """`source`, taken as absolute or relative to `root`, if its fixed part is `root` or really lies in it."""
    base = root if root.is_dir() else root.parent
    candidate = base / source
    try:
        fixed = root_of(str(candidate)).resolve()
        is_below = fixed == root.resolve() or (root.is_dir() and fixed.is_relative_to(root.resolve()))
    except (OSError, RuntimeError, ValueError):
        return None
    return str(candidate) if is_below else None
