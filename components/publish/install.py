"""Publication: a new snapshot of immutable parts, complete on disk before `current` names it.

    output/<dataset>/parts/logs-*.parquet, embeddings-*.parquet
    output/<dataset>/snapshots/000042/{logs,embeddings}/part-*.parquet, labels.parquet, manifest.json
    output/<dataset>/current -> snapshots/000042

Everything here is derived from the database: which parts exist and what the next snapshot holds is decided there,
and each step can be repeated after a crash.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from components.atomic import NO_LINK, fsync_file, fsync_folder, link_or_copy, make_folder, remove_folder, replaced
from components.errors import DiskFailed, LeaseLost
from components.publish.labels import Label, labels_table
from components.snapshot.parts import (
    BadPart,
    Kind,
    Part,
    drop_rows,
    embeddings_schema,
    embeddings_table,
    file_sha256,
    logs_schema,
    merge_parts,
    rewrite_positions,
    tiers,
    write_embeddings_part,
    write_logs_part,
)
from components.snapshot.read import (
    POINTER,
    Check,
    Manifest,
    Snapshot,
    check_snapshot,
    current_number,
    export,
    manifest_from_json,
    map_columns,
    open_snapshot,
    records_at,
    snapshot_file_name,
    snapshot_name,
)

__all__ = [
    "BadPart",
    "Check",
    "Claim",
    "Kind",
    "Label",
    "Manifest",
    "Part",
    "Snapshot",
    "check_snapshot",
    "collect_garbage",
    "current_number",
    "drop_rows",
    "embeddings_schema",
    "embeddings_table",
    "export",
    "highest_number",
    "is_part",
    "is_whole",
    "logs_schema",
    "map_columns",
    "merge_parts",
    "open_snapshot",
    "publish_snapshot",
    "records_at",
    "rewrite_positions",
    "tiers",
    "write_embeddings_part",
    "write_logs_part",
]


swap_tries = 5


class Claim(Protocol):
    """The right to publish a dataset, as its holder has it; a later holder's `token` is greater."""

    @property
    def token(self) -> int: ...

    def check(self) -> None:
        """Raises `LeaseLost` if somebody else holds it now."""


class _Unchallenged:
    """The claim of somebody who knows that nobody else publishes."""

    token = 0

    def check(self) -> None:
        pass


def highest_number(output: Path) -> int:
    """The highest number that a snapshot of the dataset bears, current or not; 0 without any."""
    folders = [int(path.name) for path in (output / "snapshots").glob("*") if path.name.isdigit()]
    return max([current_number(output) or 0, *folders])


def publish_snapshot(
    output: Path, manifest: Manifest, parts_folder: Path, labels: Sequence[Label], claim: Claim | None = None
) -> None:
    """Makes `manifest` the dataset's newest snapshot; repeated after a crash, it finishes what was begun.

    `output` is the dataset's folder. Raises `LeaseLost` when somebody else took over: then `current` stays as it is.
    """
    claim = claim or _Unchallenged()
    _expect_not_beyond(output, manifest.snapshot)
    newest = current_number(output)
    snapshots = output / "snapshots"
    final = snapshots / snapshot_name(manifest.snapshot)
    if not is_whole(final, manifest):
        if newest == manifest.snapshot:
            raise LeaseLost(f"Snapshot {newest} is already published with other parts; a number is used only once.")
        _build(snapshots, final, manifest, parts_folder, labels)
    _point(output, manifest.snapshot, claim)


def _is_built(folder: Path, manifest: Manifest) -> bool:
    """Does this folder hold just that snapshot? The time of its making does not count."""
    try:
        there = manifest_from_json((folder / "manifest.json").read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return sorted_parts(there) == sorted_parts(replace(manifest, created=there.created))


def is_whole(folder: Path, manifest: Manifest, *, thorough: bool = False) -> bool:
    """Does this folder hold that snapshot with all its files, of their sizes? `thorough` reads and compares them."""
    if not _is_built(folder, manifest) or not (folder / "labels.parquet").is_file():
        return False
    files = [
        (part, folder / kind / snapshot_file_name(index))
        for kind in ("logs", "embeddings")
        for index, part in enumerate(manifest.of(kind))
    ]
    if not all(is_part(path, part, thorough=thorough) for part, path in files):
        return False
    return not thorough or _is_parquet(folder / "labels.parquet")


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def is_part(path: Path, part: Part, *, thorough: bool = False) -> bool:
    """Is this file that part, going by its size, or if `thorough` by its content?"""
    try:
        return path.stat().st_size == part.size_bytes and (not thorough or file_sha256(path) == part.sha256)
    except OSError:
        return False


def sorted_parts(manifest: Manifest) -> Manifest:
    """The same manifest with its parts by kind, as its JSON holds them."""
    return replace(manifest, parts=[*manifest.of("logs"), *manifest.of("embeddings")])


def _build(snapshots: Path, final: Path, manifest: Manifest, parts_folder: Path, labels: Sequence[Label]) -> None:
    aside = final.with_name(f"{final.name}-{uuid.uuid4().hex[:8]}.tmp")  # an overtaken publisher may build it too
    try:
        for kind in ("logs", "embeddings"):
            make_folder(aside / kind)
            for index, part in enumerate(manifest.of(kind)):
                link_or_copy(parts_folder / part.file_name, aside / kind / snapshot_file_name(index))
            fsync_folder(aside / kind)
        with replaced(aside / "labels.parquet") as file:
            pq.write_table(labels_table(labels), file, compression="zstd", use_dictionary=False)
        with replaced(aside / "manifest.json") as file:
            file.write_bytes(manifest.to_json())
        _name(aside, final, manifest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    fsync_folder(snapshots)


def _name(aside: Path, final: Path, manifest: Manifest) -> None:
    """What was built aside becomes the snapshot. Nothing that stands there is ever replaced: readers may be in it."""
    try:
        os.rename(aside, final)  # noqa: PTH104 - the call that crash tests watch
    except OSError as error:
        if is_whole(final, manifest):  # another publisher of the same snapshot was quicker
            return
        if final.exists():
            raise DiskFailed(
                f"Snapshot {final} was changed or damaged; `runatlas publish` publishes it again under another number."
            ) from error
        raise


def _point(output: Path, number: int, claim: Claim) -> None:
    """`current` names this snapshot from now on; a pointer file does where links are not to be had.

    No lock is held, since its holder may be stopped at any point for any time, and yet `current` never goes back: the
    new pointer lies aside before the claim is checked, and whoever takes over removes the asides of older claims before
    it swaps its own in. So a publisher that was overtaken either learns of it by the check, or has nothing to rename.
    """
    for _ in range(swap_tries):
        aside, target = _pointer_aside(output, snapshot_name(number), claim)
        try:
            claim.check()
            _expect_not_beyond(output, number)  # by another database, whose claims do not concern this one
            _revoke_older(output, claim.token)
            os.replace(aside, target)  # noqa: PTH105 - the call that crash tests watch
        except FileNotFoundError:
            continue  # it was revoked, and the next check says so; unless somebody cleaned up by hand
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(output)
        return
    raise LeaseLost(f"The pointer to snapshot {number} was removed {swap_tries} times before it was made current.")


def _pointer_aside(output: Path, name: str, claim: Claim) -> tuple[Path, Path]:
    """A link to the snapshot, or a file with its name, and what it is to replace."""
    aside = output / f".current-{claim.token}-{uuid.uuid4().hex[:8]}"
    try:
        os.symlink(f"snapshots/{name}", aside, target_is_directory=True)  # noqa: PTH211 - as above
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LINK and os.name != "nt":
            raise
        aside.write_text(f"{name}\n", "utf-8")
        fsync_file(aside)
        return aside, output / POINTER
    return aside, output / "current"


def _revoke_older(output: Path, token: int) -> None:
    """Removes the pointers that earlier holders of the claim have laid aside: they can't be swapped in any more."""
    for path in output.iterdir():
        if path.name.startswith(".current-"):
            laid_by = re.fullmatch(r"\.current-(\d+)-[0-9a-f]+", path.name)
            if laid_by is None or int(laid_by[1]) < token:
                path.unlink(missing_ok=True)


def _expect_not_beyond(output: Path, number: int) -> None:
    newest = current_number(output)
    if newest is not None and newest > number:
        raise LeaseLost(f"Snapshot {newest} is already published; {number} was not made current.")


# --- clean-up ----------------------------------------------------------------------------------------------------


def collect_garbage(output: Path, *, keep: int, keep_s: float, live_parts: Iterable[Part], now: float) -> list[str]:
    """Names of the snapshots and parts that went.

    The newest `keep` snapshots stay, and whichever was current within the last `keep_s` seconds before `now` (seconds
    since 1970); of the parts those in `live_parts`, and what is younger than `keep_s`. A reader that holds a removed
    file open goes on reading it.
    """
    newest = current_number(output)
    if newest is None:
        return []
    live = {part.file_name for part in live_parts}
    gone = _old_snapshots(output / "snapshots", newest, keep, now - keep_s)
    removed = [path.name for path in gone if remove_folder(path)]
    for path in _leftovers(output, live, now - keep_s):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            removed.append(path.name)
    return removed


def _old_snapshots(snapshots: Path, newest: int, keep: int, before: float) -> list[Path]:
    """Snapshots beyond the newest `keep` that had a successor by `before`."""
    numbered = sorted((p for p in snapshots.iterdir() if p.name.isdigit() and int(p.name) <= newest), reverse=True)
    return [
        path for at, path in enumerate(numbered) if at >= max(keep, 1) and _published_at(numbered[at - 1]) <= before
    ]


def _published_at(folder: Path) -> float:
    """When this snapshot was made, seconds since 1970; of a damaged one the beginning of time."""
    try:
        return (folder / "manifest.json").stat().st_mtime
    except OSError:
        return 0.0


def _leftovers(output: Path, live: set[str], before: float) -> list[Path]:
    """What interrupted runs left behind, and parts that the database no longer names."""
    candidates = [
        *(p for p in (output / "snapshots").iterdir() if p.name.startswith(".del-") or p.name.endswith(".tmp")),
        *(p for p in output.iterdir() if p.name.startswith((".current-", f".{POINTER}."))),
        *(p for p in (output / "parts").glob("*") if p.name not in live),
        *(p for p in (output / "parts").glob(".*")),
    ]
    return [path for path in candidates if _is_older(path, before)]


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.lstat().st_mtime <= before
    except FileNotFoundError:  # an overtaken publisher cleans up at the same time
        return False
