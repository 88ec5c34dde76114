"""`runatlas watch`: loads in this process whenever a source changes."""

from __future__ import annotations

import logging
import signal
from threading import Event

import typer

from api.cli.report import load_lines
from api.json_logs import message_line
from components.pipeline import Pipeline
from components.settings import Settings
from flows.runs import watched_sources
from flows.watch import watch


def watch_and_load(settings: Settings) -> None:
    """Load each dataset that has sources once, then after every change. Returns on Ctrl-C or SIGTERM."""
    logging.getLogger("flows").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def load(dataset: str) -> None:
        with Pipeline(settings) as pipeline:
            for line in load_lines(pipeline.load(dataset=dataset)):
                typer.echo(line)

    with Pipeline(settings) as pipeline:
        datasets = [name for name, sources in watched_sources(settings, pipeline.store).items() if sources]
        names = ", ".join(datasets) or "no sources yet (`runatlas load PATH` adds some)"
        typer.echo(message_line(f"Watching {names}. Press Ctrl-C to stop."), err=True)
        for dataset in datasets:  # changes since the last load
            load(dataset)
        watch(settings, load, Event(), sources=lambda: watched_sources(settings, pipeline.store))
