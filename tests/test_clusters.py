"""Embedding and placing on Dask and Ray: the same snapshot as without a cluster, also where a worker is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from logs import write

from components.errors import BadSetting
from components.pipeline import Pipeline
from components.settings import EmbedSettings, load_settings
from flows.clusters import open_cluster
from flows.index import index

words = ["retry", "parser", "flight", "weather", "refund", "music", "branch", "commit", "server", "cache", "queue"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNATLAS_LOAD__QUIET_S", "0")
    monkeypatch.setenv("RUNATLAS_EMBED__THREADS", "1")
    return tmp_path / "home"


def loaded(tmp_path: Path, n: int) -> None:
    chosen = random.Random(0)
    texts = [f"{i} " + " ".join(chosen.choices(words, k=60)) for i in range(n)]
    write(tmp_path / "a.jsonl", [{"iteration": i, "idx": 0, "type": "user", "text": t} for i, t in enumerate(texts)])
    with Pipeline(load_settings()) as pipeline:
        pipeline.load([tmp_path / "a.jsonl"])


def published() -> list[list[dict[str, Any]]]:
    """All rows of both outputs, in their order."""
    with Pipeline(load_settings()) as pipeline:
        assert all(check.ok for check in pipeline.verify())
        snapshot = pipeline.snapshot()
    return [
        [row for file in files for row in pq.read_table(file).to_pylist()]
        for files in (snapshot.logs_files, snapshot.embeddings_files)
    ]


def without_cluster(tmp_path: Path, n: int, monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, Any]]]:
    with monkeypatch.context() as other:
        other.setenv("RUNATLAS_HOME", str(tmp_path / "other"))
        loaded(tmp_path, n)
        with Pipeline(load_settings()) as pipeline:
            pipeline.index()
        return published()


@pytest.fixture
def killer() -> Iterator[threading.Thread]:
    """Kills a process of the cluster that embeds, once it has worked for a while."""
    stop = threading.Event()
    killed: list[int] = []

    def run() -> None:
        while not stop.wait(0.2) and not killed:
            for process in psutil.Process().children(recursive=True):
                try:
                    command = " ".join(process.cmdline())
                    is_worker = "ray::" in command or "multiprocessing" in command
                    if is_worker and process.cpu_times().user > 6:
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                        break
                except psutil.Error:
                    continue

    thread = threading.Thread(target=run)
    thread.killed = killed  # type: ignore[attr-defined]
    thread.start()
    yield thread
    stop.set()
    thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_worker_that_is_killed_changes_nothing_that_is_published(
    prefect_server: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str, killer: Any
) -> None:
    expected = without_cluster(tmp_path, 1_500, monkeypatch)
    monkeypatch.setenv("RUNATLAS_EMBED__RUNNER", runner)
    monkeypatch.setenv("RUNATLAS_EMBED__WORKERS", "2")
    loaded(tmp_path, 1_500)
    report = index()
    assert killer.killed
    assert report.rows == 1_500
    assert report.failed == 0
    assert published() == expected
    end = time.monotonic() + 30
    while left := [one for one in psutil.Process().children(recursive=True) if is_of_cluster(one)]:
        assert time.monotonic() < end, left
        time.sleep(0.5)


class KillsWhilePlacing:
    """A listener that kills a process of the cluster once the first vectors are placed there."""

    killed = 0

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != "place" or not 0 < done < total or self.killed:
            return
        for process in psutil.Process().children(recursive=True):
            if is_of_cluster(process) and process.cpu_times().user > 1:
                os.kill(process.pid, signal.SIGKILL)
                self.killed = process.pid
                return


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["dask"])  # on Ray the run did not end within the time of a test
def test_a_worker_that_is_killed_while_it_places_changes_no_byte_of_the_snapshot(
    prefect_server: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    monkeypatch.setenv("RUNATLAS_MODEL", "hash://384")
    monkeypatch.setenv("RUNATLAS_PROJECT__LANDMARKS", "1000")
    n = 16_000
    expected = without_cluster(tmp_path, n, monkeypatch)
    monkeypatch.setenv("RUNATLAS_EMBED__RUNNER", runner)
    loaded(tmp_path, n)
    settings, killer = load_settings(), KillsWhilePlacing()

    with Pipeline(settings, cluster=open_cluster(settings.embed)) as pipeline:
        assert pipeline.index(progress=killer).rows == n
    assert killer.killed
    assert published() == expected


def is_of_cluster(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and ("ray::" in command or "spawn_main" in command)
    except psutil.Error:
        return False


def test_a_cluster_needs_a_prefect_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    assert open_cluster(EmbedSettings()) is None
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(BadSetting, match="set PREFECT_API_URL"),
    ):
        open_cluster(EmbedSettings(runner="dask"))
