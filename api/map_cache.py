"""The maps that were requested last, in memory and as files in the cache."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from api.map_data import MapData, read_map, version_of
from api.map_payload import packed, picture
from api.problems import Problem
from components.atomic import atomic_write
from components.snapshot.manifest import snapshot_name
from components.snapshot.read import Snapshot, current_number, open_snapshot, previous_snapshot, snapshot_at

max_in_memory = 4  # snapshots
max_files = 2  # of each kind, per dataset


class MapCache:
    """Maps by version; safe to use from several threads."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "map"
        self._maps: OrderedDict[Path, tuple[str, MapData]] = OrderedDict()
        self._written: dict[Path, int] = {}  # files of this process, and their sizes
        self._reading = threading.Lock()

    def newest(self, output: Path) -> MapData:
        """The newest snapshot's map. Raises `NotFound` before the first."""
        return self._map_of(open_snapshot(output))

    def at(self, output: Path, number: int) -> MapData:
        """The map of snapshot `number`. Raises `Problem` 404 if it does not exist or was removed."""
        return self._map_of(snapshot_numbered(output, number))

    def find(self, output: Path, number: int | None) -> MapData:
        """The map of snapshot `number`, or of the newest one. Raises `Problem` or `NotFound`."""
        return self.newest(output) if number is None else self.at(output, number)

    def points_file(self, data: MapData) -> Path:
        """The packed points (gzip) as a file; its name contains the version, so its content never changes."""
        file = self._file(data.snapshot, "bin.gz")
        with self._reading:
            self._ensure(file, lambda: packed(data))
        return file

    def unpacked_points(self, data: MapData) -> bytes:
        """The points for clients that do not accept gzip."""
        return gzip.decompress(self.points_file(data).read_bytes())

    def picture_file(self, output: Path) -> Path:
        """The picture of the newest snapshot as a file. Raises `NotFound` before the first."""
        snapshot = open_snapshot(output)
        file = self._file(snapshot, "png")
        self._ensure(file, lambda: picture(self._map_of(snapshot)))
        return file

    def _file(self, snapshot: Snapshot, suffix: str) -> Path:
        return self._folder / snapshot.manifest.dataset / f"{version_of(snapshot)}.{suffix}"

    def _ensure(self, file: Path, make: Callable[[], bytes]) -> None:
        """Writes the file unless this process did; one that an earlier process left may be damaged."""
        if file in self._written and _size_of(file) == self._written[file]:
            return
        content = make()
        with atomic_write(file) as aside:
            aside.write_bytes(content)
        self._written[file] = len(content)
        _remove_old(file.parent, f"*{file.suffix}", max_files)

    def _map_of(self, snapshot: Snapshot) -> MapData:
        version = version_of(snapshot)
        with self._reading:
            cached = self._maps.get(snapshot.path)
            if cached is None or cached[0] != version:
                cached = (version, read_map(snapshot, previous_snapshot(snapshot)))
                self._maps[snapshot.path] = cached
            self._maps.move_to_end(snapshot.path)
            while len(self._maps) > max_in_memory:
                self._maps.popitem(last=False)
        return cached[1]


def snapshot_numbered(output: Path, number: int) -> Snapshot:
    """That snapshot of the dataset. Raises `Problem` 404."""
    try:
        return snapshot_at(output.resolve() / "snapshots" / snapshot_name(number))
    except (FileNotFoundError, NotADirectoryError) as error:
        newest = current_number(output)
        detail = f"Snapshot {number} does not exist or was removed; the newest is {newest}. Reload the page."
        raise Problem(404, "unknown-snapshot", detail) from error


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _remove_old(folder: Path, pattern: str, keep: int) -> None:
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for file in files[keep:]:
        file.unlink(missing_ok=True)
