"""Join the vector files of several years to one: the arrays one below the other, the keys likewise, one manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from components.atomic import atomic_write, disk_errors
from components.errors import BadSetting, NotFound
from components.ingest.manifest import bytes_a_value, model_name, write_json
from components.ingest.years import Years

_equal = ("model_identity", "dim", "dtype", "dataset", "fields_hash", "prompt_hash")  # or rows can't be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The joined files."""

    name: str
    years: Sequence[str]
    rows: int
    dim: int
    vectors: Path
    keys: Path
    manifest: Path


def merge(folder: Path, years: Years | None = None, name: str | None = None) -> Merged:
    """Join the years in `folder`, or those of them that are asked for; the files of the single years stay.

    Raises `NotFound` where there are none, `BadSetting` where they don't fit together or are damaged.
    """
    manifests = _manifests(folder, years)
    labels = [manifest["year"] for manifest in manifests]
    if len(labels) == 1:
        raise BadSetting(f"There is only the year {labels[0]} in {folder}: nothing is to be joined.")
    name = name or f"{labels[0]}-{labels[-1]}"
    if name in labels or not name.replace("-", "").replace("_", "").isalnum():
        raise BadSetting(
            f"{name!r} can't name the joined files: it is the name of a year, or holds more than letters, digits, - and _."
        )
    _expect_alike(manifests)
    for manifest in manifests:
        _expect_whole(folder, manifest)
    model = model_name(manifests[0]["model"])
    files = {"vectors": f"embeddings_{model}_{name}.f16", "keys": f"bibcodes_{name}.txt"}
    with disk_errors(folder):
        for kind, target in files.items():
            _join([folder / manifest["files"][kind] for manifest in manifests], folder / target)
        joined = _joined_manifest(manifests, name, files)
        write_json(folder / f"manifest_{name}.json", joined)
    return Merged(
        name=name,
        years=labels,
        rows=joined["rows"],
        dim=joined["dim"],
        vectors=folder / files["vectors"],
        keys=folder / files["keys"],
        manifest=folder / f"manifest_{name}.json",
    )


def _manifests(folder: Path, years: Years | None) -> list[dict[str, Any]]:
    """The manifests of single years, in order."""
    found = []
    for path in sorted(folder.glob("manifest_*.json")):
        try:
            manifest = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise BadSetting(
                f"{path} can't be read: {error}. Ingest again with --out {folder}: it is made anew."
            ) from error
        label = str(manifest.get("year", ""))
        if "merged" not in manifest and (years is None or (label.isdigit() and int(label) in years)):
            found.append(manifest)
    if not found:
        which = f" of the years {years}" if years else ""
        raise NotFound(f"There are no vector files{which} in {folder}: `runatlas ingest … --out {folder}` writes them.")
    return found


def _expect_alike(manifests: Sequence[Mapping[str, Any]]) -> None:
    first = manifests[0]
    for other in manifests[1:]:
        for name in _equal:
            if other[name] != first[name]:
                raise BadSetting(
                    f"The years {first['year']} and {other['year']} don't fit together: {name} is {first[name]!r} and "
                    f"{other[name]!r}. Ingest both with the same options, then merge."
                )


def _expect_whole(folder: Path, manifest: Mapping[str, Any]) -> None:
    sizes = {"vectors": manifest["rows"] * manifest["dim"] * bytes_a_value, "keys": manifest["key_bytes"]}
    for kind, size_bytes in sizes.items():
        path = folder / manifest["files"][kind]
        found = path.stat().st_size if path.is_file() else 0
        if found != size_bytes:
            raise BadSetting(
                f"{path} has {found:,} bytes where its manifest says {size_bytes:,}: ingest again with --out {folder}, then merge."
            )


def _join(sources: Sequence[Path], target: Path) -> None:
    with atomic_write(target) as aside, ExitStack() as files:
        out = files.enter_context(aside.open("wb"))
        copy: Callable[[BinaryIO, BinaryIO], None] = shutil.copyfileobj
        for source in sources:
            copy(files.enter_context(source.open("rb")), out)


def _joined_manifest(manifests: Sequence[Mapping[str, Any]], name: str, files: Mapping[str, str]) -> dict[str, Any]:
    places, first_row = [], 0
    for manifest in manifests:
        places.append({"year": manifest["year"], "first_row": first_row, "rows": manifest["rows"]})
        first_row += manifest["rows"]
    kept = (*_equal, "model", "fields")
    return {
        "year": name,
        **{key: manifests[-1][key] for key in kept},
        "rows": first_row,
        "cursor": manifests[-1]["cursor"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": dict(files),
        "key_bytes": sum(manifest["key_bytes"] for manifest in manifests),
        "merged": places,
    }
