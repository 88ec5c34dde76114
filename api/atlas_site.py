"""Embedding Atlas' data folder of each snapshot: built once, aside, in the background; only the newest ones are kept."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from api.map_data import version_of
from components.cached_folder import atomic_folder, is_intact
from components.snapshot.read import Snapshot

log = logging.getLogger(__name__)
kept_sites = 2  # the newest, and the one that an open page still reads
again_after_s = 30.0  # a build that failed is tried again


@dataclass(slots=True, kw_only=True)
class _Building:
    thread: threading.Thread | None = None
    error: str = ""
    failed_at: float = field(default=0.0)


class AtlasSites:
    """Sites below `cache/atlas/<dataset>/<version>/`."""

    def __init__(self, cache: Path) -> None:
        self._root = cache / "atlas"
        self._buildings: dict[Path, _Building] = {}
        self._changing = threading.Lock()
        self._read: set[Path] = set()  # sites whose content was found sound once; later a look at the sizes will do

    def ready(self, snapshot: Snapshot) -> Path | None:
        """The data folder of this snapshot; None while it is built, which the first question starts."""
        folder = self._folder(snapshot)
        if self._is_there(folder):
            return data_of(folder)
        self._begin(snapshot, folder)
        return None

    def newest_ready(self, snapshot: Snapshot) -> Path | None:
        """The data folder of this snapshot, or, while it is built, of the newest one that is there."""
        data = self.ready(snapshot)
        if data is not None:
            return data
        sites = [site for site in self._sites(self._folder(snapshot).parent) if self._is_there(site)]
        return data_of(sites[0]) if sites else None

    def problem(self, snapshot: Snapshot) -> str:
        """Why the site can't be built, "" where nothing went wrong."""
        building = self._buildings.get(self._folder(snapshot))
        return building.error if building else ""

    def wait(self) -> None:
        """Returns when nothing is being built."""
        for building in list(self._buildings.values()):
            if thread := building.thread:
                thread.join()

    def _is_there(self, folder: Path) -> bool:
        if not is_intact(folder, thorough=folder not in self._read):
            self._read.discard(folder)
            return False
        self._read.add(folder)
        return True

    def _folder(self, snapshot: Snapshot) -> Path:
        return self._root / snapshot.manifest.dataset / version_of(snapshot)

    def _begin(self, snapshot: Snapshot, folder: Path) -> None:
        with self._changing:
            building = self._buildings.setdefault(folder, _Building())
            is_waiting = building.error and time.monotonic() - building.failed_at < again_after_s
            if building.thread is not None or is_waiting or self._is_there(folder):
                return
            building.thread = threading.Thread(target=self._build, args=(snapshot, folder, building), daemon=True)
            building.thread.start()

    def _build(self, snapshot: Snapshot, folder: Path, building: _Building) -> None:
        from components.views.embedding_atlas import build_atlas

        try:
            with atomic_folder(folder, keep_intact=True) as aside:
                build_atlas(snapshot, aside)
            for old in self._sites(folder.parent)[kept_sites:]:
                shutil.rmtree(old, ignore_errors=True)
            building.error = ""
        except Exception as error:
            log.exception("The Embedding Atlas site of snapshot %s could not be built.", snapshot.number)
            building.error, building.failed_at = str(error) or type(error).__name__, time.monotonic()
        finally:
            building.thread = None

    def _sites(self, folder: Path) -> list[Path]:
        sites = [path for path in folder.glob("*") if path.is_dir() and not path.name.startswith(".")]
        return sorted(sites, key=lambda path: path.stat().st_mtime, reverse=True)


def data_of(site: Path) -> Path | None:
    """The folder that a build left in its site."""
    return next((path for path in site.iterdir() if path.is_dir()), None)
