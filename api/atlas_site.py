"""Embedding Atlas: its data folder of each snapshot, built once in the background, and its page."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

from api.map_data import version_of
from components.cached_folder import atomic_folder, is_intact
from components.snapshot.read import Snapshot
from components.views.embedding_atlas import build_atlas, static_folder

log = logging.getLogger(__name__)
max_sites = 2  # of a dataset: the newest, and the one that an open page still reads
retry_after_s = 30.0  # after a build that failed


@dataclass(slots=True, kw_only=True)
class _Build:
    thread: threading.Thread | None = None
    error: str = ""
    failed_at: float = 0.0


class AtlasSites:
    """Sites in `cache/atlas/<dataset>/<version>/`, each with one data folder."""

    def __init__(self, cache: Path) -> None:
        self._root = cache / "atlas"
        self._builds: dict[Path, _Build] = {}
        self._starting = threading.Lock()
        self._verified: set[Path] = set()  # sites whose checksums were verified once; then their sizes suffice

    def ready(self, snapshot: Snapshot) -> Path | None:
        """The data folder of this snapshot; None while it is being built, which the first call starts."""
        site = self._site(snapshot)
        if self._is_intact(site):
            return data_of(site)
        self._start(snapshot, site)
        return None

    def newest_ready(self, snapshot: Snapshot) -> Path | None:
        """The data folder of this snapshot, or, while it is being built, the newest one that exists."""
        data = self.ready(snapshot)
        if data is not None:
            return data
        sites = [site for site in self._sites(self._site(snapshot).parent) if self._is_intact(site)]
        return data_of(sites[0]) if sites else None

    def problem(self, snapshot: Snapshot) -> str:
        """Why the last build failed; "" if it did not."""
        build = self._builds.get(self._site(snapshot))
        return build.error if build else ""

    def wait(self) -> None:
        """Returns when no build is running."""
        for build in list(self._builds.values()):
            if thread := build.thread:
                thread.join()

    def _is_intact(self, site: Path) -> bool:
        if not is_intact(site, thorough=site not in self._verified):
            self._verified.discard(site)
            return False
        self._verified.add(site)
        return True

    def _site(self, snapshot: Snapshot) -> Path:
        return self._root / snapshot.manifest.dataset / version_of(snapshot)

    def _start(self, snapshot: Snapshot, site: Path) -> None:
        with self._starting:
            build = self._builds.setdefault(site, _Build())
            failed_just_now = build.error and time.monotonic() - build.failed_at < retry_after_s
            if build.thread is not None or failed_just_now or self._is_intact(site):
                return
            build.thread = threading.Thread(target=self._build, args=(snapshot, site, build), daemon=True)
            build.thread.start()

    def _build(self, snapshot: Snapshot, site: Path, build: _Build) -> None:
        try:
            with atomic_folder(site, keep_intact=True) as aside:
                build_atlas(snapshot, aside)
            for old in self._sites(site.parent)[max_sites:]:
                shutil.rmtree(old, ignore_errors=True)
            build.error = ""
        except Exception as error:
            log.exception("The Embedding Atlas data of snapshot %s could not be built.", snapshot.number)
            build.error, build.failed_at = str(error) or type(error).__name__, time.monotonic()
        finally:
            build.thread = None

    def _sites(self, folder: Path) -> list[Path]:
        sites = [path for path in folder.glob("*") if path.is_dir() and not path.name.startswith(".")]
        return sorted(sites, key=lambda path: path.stat().st_mtime, reverse=True)


def data_of(site: Path) -> Path | None:
    """The data folder in a site."""
    return next((path for path in site.iterdir() if path.is_dir()), None)


def atlas_html(dataset: str, snapshot: Snapshot) -> str:
    """Embedding Atlas' page, with our script that announces newer snapshots. Raises `NotFound` if it is missing."""
    script = (
        f'<script type="module" src="../../static/atlas.js" data-dataset="{escape(dataset)}" '
        f'data-version="{version_of(snapshot)}"></script>'
    )
    page = (static_folder() / "index.html").read_text("utf-8")
    return page.replace("</head>", f"{script}</head>", 1)
