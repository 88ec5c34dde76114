"""Installing a snapshot: its folder of linked parts is complete on disk before `current` names it; then clean-up.

    output/<dataset>/parts/logs-*.parquet, embeddings-*.parquet
    output/<dataset>/snapshots/000042/{logs,embeddings}/part-*.parquet, labels.parquet, topics.parquet, manifest.json
    output/<dataset>/current -> snapshots/000042

The database decides which parts exist and what the next snapshot holds; each step here can be repeated after a crash.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from components.atomic import (
    atomic_write,
    fsync_folder,
    link_or_copy,
    make_folder,
    remove_folder,
    rename_folder,
    replace,
    symlink,
    write_flushed,
)
from components.contracts import Topic
from components.errors import DiskFailed, LeaseLost
from components.publish.tables import labels_table, topics_table
from components.snapshot.manifest import (
    CURRENT,
    LABELS,
    MANIFEST,
    POINTER,
    TOPICS,
    Label,
    Manifest,
    manifest_from_json,
    snapshot_file_name,
    snapshot_name,
)
from components.snapshot.parts import KINDS, Part
from components.snapshot.read import current_number

swap_tries = 5
TABLES = (LABELS, TOPICS)  # of a snapshot, beside its parts


class Claim(Protocol):
    """The right to publish a dataset, such as a `Fence`; a later holder's `token` is greater."""

    @property
    def token(self) -> int:
        """Orders the holders."""

    def check(self) -> None:
        """Raises `LeaseLost` if another process holds it now."""


class _Unchallenged:
    """The claim where no other process can publish."""

    token = 0

    def check(self) -> None:
        """Never raises."""


def highest_number(output: Path) -> int:
    """The highest number of a snapshot folder of the dataset, current or not; 0 without any."""
    folders = [int(path.name) for path in (output / "snapshots").glob("*") if path.name.isdigit()]
    return max([current_number(output) or 0, *folders])


def install_snapshot(
    output: Path,
    manifest: Manifest,
    parts_folder: Path,
    labels: Sequence[Label],
    topics: Sequence[Topic] = (),
    claim: Claim | None = None,
) -> None:
    """Makes `manifest` the dataset's newest snapshot; repeated after a crash, it finishes what was started.

    `output` is the dataset's folder. Raises `LeaseLost` when another process took over: then `current` stays as it is.
    """
    claim = claim or _Unchallenged()
    _expect_not_beyond(output, manifest.snapshot)
    newest = current_number(output)
    snapshots = output / "snapshots"
    final = snapshots / snapshot_name(manifest.snapshot)
    if not is_complete(final, manifest):
        if newest == manifest.snapshot:
            raise LeaseLost(f"Snapshot {newest} is already published with other parts; a number is used only once.")
        _build(snapshots, final, manifest, parts_folder, {LABELS: labels_table(labels), TOPICS: topics_table(topics)})
    _swap_current(output, manifest.snapshot, claim)


def is_complete(folder: Path, manifest: Manifest, *, thorough: bool = False) -> bool:
    """Does this folder hold that snapshot with all its files, of their sizes? `thorough` reads and compares them."""
    try:
        there = manifest_from_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not there.holds_the_same_as(manifest) or not all((folder / name).is_file() for name in TABLES):
        return False
    if not all(part.is_intact(folder / file, thorough=thorough) for part, file in manifest.files()):
        return False
    return not thorough or all(_is_parquet(folder / name) for name in TABLES)


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _build(
    snapshots: Path, final: Path, manifest: Manifest, parts_folder: Path, tables: Mapping[str, pa.Table]
) -> None:
    aside = final.with_name(f"{final.name}-{uuid.uuid4().hex[:8]}.tmp")  # one whose lease was lost may build it too
    try:
        for kind in KINDS:
            make_folder(aside / kind)
            for index, part in enumerate(manifest.of(kind)):
                link_or_copy(parts_folder / part.file_name, aside / kind / snapshot_file_name(index))
            fsync_folder(aside / kind)
        for name, table in tables.items():
            with atomic_write(aside / name) as file:
                pq.write_table(table, file, compression="zstd", use_dictionary=False)
        with atomic_write(aside / MANIFEST) as file:
            file.write_bytes(manifest.to_json())
        _rename(aside, final, manifest)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    fsync_folder(snapshots)


def _rename(aside: Path, final: Path, manifest: Manifest) -> None:
    """The folder gets its name. A folder that already has it is never replaced: readers may use it."""
    try:
        rename_folder(aside, final)
    except OSError as error:
        if is_complete(final, manifest):  # another publisher of the same snapshot was quicker
            return
        if final.exists():
            raise DiskFailed(
                f"Snapshot {final} was changed or damaged; run `runatlas publish` to publish it again as a new snapshot."
            ) from error
        raise


def _swap_current(output: Path, number: int, claim: Claim) -> None:
    """Makes `current` name this snapshot; where links are not supported, a pointer file does.

    No lock is held, since its holder may be stopped at any point for any time, and yet `current` never goes back: the
    new pointer is written aside before the claim is checked, and whoever takes over removes the pointers of older
    claims before it swaps in its own. So a publisher that lost its claim either fails the check, or has nothing to
    rename.
    """
    for _ in range(swap_tries):
        aside, target = _pointer_aside(output, snapshot_name(number), claim)
        try:
            claim.check()
            _expect_not_beyond(output, number)  # by another database, whose claims do not concern this one
            _revoke_older(output, claim.token)
            replace(aside, target)
        except FileNotFoundError:
            continue  # revoked, and the next check raises; or removed by hand
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(output)
        return
    raise LeaseLost(f"The pointer to snapshot {number} was removed {swap_tries} times before it was made current.")


def _pointer_aside(output: Path, name: str, claim: Claim) -> tuple[Path, Path]:
    """A link to the snapshot, or a file with its name, and the path that it is to replace."""
    aside = output / f".current-{claim.token}-{uuid.uuid4().hex[:8]}"
    if symlink(f"snapshots/{name}", aside):
        return aside, output / CURRENT
    write_flushed(aside, f"{name}\n".encode())
    return aside, output / POINTER


def _revoke_older(output: Path, token: int) -> None:
    """Removes the pointers that earlier holders of the claim have prepared: they can't be swapped in any more."""
    for path in output.iterdir():
        if path.name.startswith(".current-"):
            prepared = re.fullmatch(r"\.current-(\d+)-[0-9a-f]+", path.name)
            if prepared is None or int(prepared[1]) < token:
                path.unlink(missing_ok=True)


def _expect_not_beyond(output: Path, number: int) -> None:
    newest = current_number(output)
    if newest is not None and newest > number:
        raise LeaseLost(f"Snapshot {newest} is already published; {number} was not made current.")


# --- clean-up ----------------------------------------------------------------------------------------------------


def collect_garbage(output: Path, *, keep: int, keep_s: float, live_parts: Iterable[Part], now: float) -> list[str]:
    """Removes snapshots and parts that are no longer needed; returns their names.

    The newest `keep` snapshots stay, and whichever was current within the last `keep_s` seconds before `now` (seconds
    since 1970); of the parts those in `live_parts`, and what is younger than `keep_s`. A reader that holds a removed
    file open continues to read it.
    """
    newest = current_number(output)
    if newest is None:
        return []
    live = {part.file_name for part in live_parts}
    old = _old_snapshots(output / "snapshots", newest, keep, now - keep_s)
    removed = [path.name for path in old if remove_folder(path)]
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
    """When this snapshot was made, seconds since 1970; 0 for a damaged one."""
    try:
        return (folder / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def _leftovers(output: Path, live: set[str], before: float) -> list[Path]:
    """Files of interrupted runs, and parts that the database no longer names."""
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
    except FileNotFoundError:  # another publisher cleans up at the same time
        return False
