"""The files of a corpus's vectors: for each year an array of float16 values, the keys of its rows, and a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from components.atomic import atomic_write, disk_errors, make_folder
from components.errors import BadSetting, StoreBusy
from components.ingest.manifest import DTYPE, bytes_a_value, model_name, shown_model, write_json
from components.ingest.years import label_of
from components.settings import CorpusSettings, TextSettings
from components.store import Store
from components.store.catalog import Catalog, CatalogRow, CatalogWriter
from components.store.keyed_vectors import KeyedVector
from components.text import settings_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSet:
    """Which vectors the files hold: a dataset's, by a model, made from texts that these settings prepare."""

    dataset: str
    dataset_id: int
    model: str  # URI
    identity: str
    dim: int
    corpus: CorpusSettings
    text: TextSettings

    @property
    def hashes(self) -> dict[str, str]:
        """What decides the texts: which fields, and what is put around them."""
        corpus = self.corpus.model_dump(mode="json")
        fields = {name: corpus[name] for name in ("id", "fields", "keep")}
        prompts = {name: corpus[name] for name in ("field_prefixes", "field_suffixes", "delimiter")}
        prompts["text"] = settings_hash(self.text)
        return {"fields_hash": _hash_of(fields), "prompt_hash": _hash_of(prompts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class YearFiles:
    """What became of a year's files."""

    year: str
    rows: int
    is_written: bool  # False: they were up to date


@dataclass(slots=True)
class _Year:
    """A year as its rows go by."""

    label: str
    rows: int = 0
    last_key: str = ""
    filenames: set[str] = field(default_factory=set)
    digest: Any = field(default_factory=hashlib.sha256)

    def take(self, row: KeyedVector) -> None:
        self.rows += 1
        self.last_key = row.key
        self.filenames.add(row.filename)
        hashes = f"{row.extra.get('metadata_hash', '')} {row.digest.hex()} {row.key}\n"
        self.digest.update(hashes.encode("utf-8", "surrogatepass"))


def write_vector_files(store: Store, which: VectorSet, folder: Path) -> list[YearFiles]:
    """Bring the files in `folder` up to date; a year whose rows are the same is left as it is.

    Raises `BadSetting` where the folder holds vectors of another dataset or model.
    """
    with disk_errors(folder):
        make_folder(folder)
        with _locked(folder):
            catalog = Catalog(folder)
            entered = catalog.manifests()
            _expect_same_set(folder, which, entered)
            years = _years(store, which)
            current = {label for label, year in years.items() if _is_current(folder, which, year, entered.get(label))}
            changed = {label: year for label, year in years.items() if label not in current}
            written = _write(store, which, folder, changed, catalog) if changed else {}
            for label in entered.keys() - years.keys():
                _remove(folder, catalog, entered[label])
    return [
        YearFiles(year=label, rows=written.get(label, year.rows), is_written=label in changed)
        for label, year in sorted(years.items())
    ]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder for this ingest alone."""
    from filelock import FileLock, Timeout  # which other commands need not wait for

    lock = FileLock(folder / ".lock", timeout=10)
    try:
        with lock:
            yield
    except Timeout as error:
        raise StoreBusy(
            f"Another ingest writes to {folder} ({folder / '.lock'} is locked): run it again later."
        ) from error


def _expect_same_set(folder: Path, which: VectorSet, entered: Mapping[str, Mapping[str, Any]]) -> None:
    for manifest in entered.values():
        ours = (which.dataset, which.identity)
        if (manifest["dataset"], manifest["model_identity"]) != ours:
            raise BadSetting(
                f"{folder} holds vectors of dataset {manifest['dataset']!r} by model {manifest['model']}, not of "
                f"{which.dataset!r} by {shown_model(which.model)}: name another folder with --out, or empty this one."
            )


def _years(store: Store, which: VectorSet) -> dict[str, _Year]:
    """Label -> what the rows of a year are now."""
    years: dict[str, _Year] = {}
    for batch in store.keyed_vectors.stream(which.dataset_id):
        for row in batch:
            label = label_of(row.filename)
            years.setdefault(label, _Year(label)).take(row)
    return years


def _is_current(folder: Path, which: VectorSet, year: _Year, entered: Mapping[str, Any] | None) -> bool:
    """Do the year's files hold these rows?"""
    if entered is None or entered["content"] != year.digest.hexdigest() or _stored_manifest(folder, year) != entered:
        return False
    vectors, keys = (folder / name for name in (entered["files"]["vectors"], entered["files"]["keys"]))
    sizes = [file.stat().st_size if file.is_file() else -1 for file in (vectors, keys)]
    is_same = {name: entered[name] for name in which.hashes} == which.hashes
    return is_same and sizes == [year.rows * which.dim * bytes_a_value, entered["key_bytes"]]


def _stored_manifest(folder: Path, year: _Year) -> dict[str, Any] | None:
    try:
        found = orjson.loads((folder / f"manifest_{year.label}.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


@dataclass(slots=True, kw_only=True)
class _Writer:
    """The open files of a year."""

    year: _Year
    vectors: BinaryIO
    keys: BinaryIO

    def take(self, row: KeyedVector) -> CatalogRow:
        self.vectors.write(row.data)
        self.keys.write(row.key.encode() + b"\n")
        place = CatalogRow(
            key=row.key,
            year=self.year.label,
            row=self.year.rows,
            metadata_hash=str(row.extra.get("metadata_hash", "")),
            text_hash=row.digest.hex(),
        )
        self.year.take(row)
        return place


def _write(
    store: Store, which: VectorSet, folder: Path, changed: Mapping[str, _Year], catalog: Catalog
) -> dict[str, int]:
    """Write the files of these years, all in one pass over the vectors. Label -> rows.

    The catalog comes last: a year whose manifest it does not have is written again.
    """
    filenames = sorted({name for year in changed.values() for name in year.filenames})
    with catalog.writing() as entries:
        for label in changed:
            entries.clear(label)
        with ExitStack() as files:
            writers = {label: _opened(files, folder, which, label) for label in changed}
            for batch in store.keyed_vectors.stream(which.dataset_id, filenames=filenames, with_data=True):
                _take_batch(entries, writers, batch)
            sizes = {label: writer.keys.tell() for label, writer in writers.items()}
        for label, writer in writers.items():
            _finish(entries, folder, which, writer.year, sizes[label])
    return {label: writer.year.rows for label, writer in writers.items()}


def _take_batch(entries: CatalogWriter, writers: Mapping[str, _Writer], batch: Sequence[KeyedVector]) -> None:
    labelled = ((label_of(row.filename), row) for row in batch)
    entries.add([writers[label].take(row) for label, row in labelled if label in writers])


def _opened(files: ExitStack, folder: Path, which: VectorSet, label: str) -> _Writer:
    """Files that take their names when all of them are complete."""
    vectors, keys = (
        files.enter_context(files.enter_context(atomic_write(folder / name)).open("wb"))
        for name in _names(which, label).values()
    )
    return _Writer(year=_Year(label), vectors=vectors, keys=keys)


def _names(which: VectorSet, label: str) -> dict[str, str]:
    return {"vectors": f"embeddings_{model_name(which.model)}_{label}.f16", "keys": f"bibcodes_{label}.txt"}


def _finish(entries: CatalogWriter, folder: Path, which: VectorSet, year: _Year, key_bytes: int) -> None:
    manifest = {
        "year": year.label,
        "dataset": which.dataset,
        "model": shown_model(which.model),
        "model_identity": which.identity,
        "dim": which.dim,
        "dtype": DTYPE,
        "rows": year.rows,
        "cursor": year.last_key,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "fields": list(which.corpus.fields),
        **which.hashes,
        "content": year.digest.hexdigest(),
        "files": _names(which, year.label),
        "key_bytes": key_bytes,
        "sources": sorted(year.filenames),
    }
    write_json(folder / f"manifest_{year.label}.json", manifest)
    entries.enter(manifest)


def _remove(folder: Path, catalog: Catalog, manifest: Mapping[str, Any]) -> None:
    """Remove the files of a year that has no vectors any more."""
    label = manifest["year"]
    for name in (f"manifest_{label}.json", *manifest["files"].values()):
        (folder / name).unlink(missing_ok=True)
    with catalog.writing() as entries:
        entries.clear(label)


def _hash_of(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
