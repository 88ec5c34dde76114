"""Corpora from Python: `Pipeline(Config(input_dir=…, years=[2021], fields=[…], model=…)).run()`.

The same as `runatlas ingest`: state and output lie in the home of runatlas (`RUNATLAS_HOME`), options that are left out
have the same defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components import pipeline as runatlas
from components.corpus import IngestReport
from components.ingest.config import IngestConfig
from components.settings import Settings

__all__ = ["Config", "IngestReport", "Pipeline"]


def Config(**options: Any) -> IngestConfig:  # noqa: N802 - a constructor to those who call it
    """The options of an ingest, by the names of its configuration file. Raises `BadSetting` for one that can't be used."""
    return IngestConfig.of(options)


class Pipeline:
    """One ingest, as often as it is run: it resumes where it stopped, and a second run embeds nothing."""

    def __init__(self, config: IngestConfig, settings: Settings | None = None) -> None:
        self.config = config
        self.settings = settings

    def run(self, progress: Callable[[str, int, int], None] | None = None) -> IngestReport:
        """Load, embed, place, publish, and write the files that were asked for; `progress(step, done, total)` is called."""
        with runatlas.Pipeline(self.settings) as opened:
            return opened.ingest(self.config, progress=progress)
