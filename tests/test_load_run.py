"""The one execution path of a load: its steps, their names, and what a retry of a step does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from components import wiring
from components.contracts import LoadReport
from components.errors import ServiceUnavailable, TransientError
from components.settings import LoadSettings, Settings
from components.store import Store

T = TypeVar("T")


class Steps:
    """A `StepRunner` that records the labels of its steps, and retries at once."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.n_tries = 0

    def __call__(
        self, name: str, attempt: Callable[[bool], T], *, label: str = "", retries: int = 0, backoff_s: float = 1.0
    ) -> T:
        assert backoff_s > 0
        self.labels.append(label or name)
        for n in range(retries + 1):
            try:
                self.n_tries += 1
                return attempt(n == retries)
            except TransientError:
                if n == retries:
                    raise
        raise AssertionError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", model="hash://64", load=LoadSettings(quiet_s=0, batch_records=2))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = wiring.open_store(settings)
    yield opened
    opened.close()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in "abc":
        lines = [json.dumps({"role": "user", "content": f"{name} {n}"}) for n in range(5)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def failing_once(persist: Callable[..., Any], at: int) -> Callable[..., Any]:
    """`persist`, of which call `at` (0 is the first) fails before anything is written."""
    calls = iter(range(1_000))

    def fails_once(*args: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise ServiceUnavailable("The database is unreachable.")
        return persist(*args, **options)

    return fails_once


def test_a_load_discovers_then_reads_each_group(settings: Settings, store: Store, logs: Path) -> None:
    steps, seen = Steps(), list[tuple[str, int, int]]()
    report = load(settings, store, logs, run_step=steps, progress=lambda *now: seen.append(now))
    assert steps.labels == ["discover", "read and persist a.jsonl and 2 more"]
    assert seen == [("read and persist", n, 3) for n in (1, 2, 3)]
    assert (report.sources.loaded, report.records.new) == (3, 15)


@pytest.mark.parametrize("at", range(9))  # three batches a source
def test_a_retry_of_a_step_continues_and_loses_no_count(
    settings: Settings, store: Store, logs: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(store.writer, "persist", failing_once(store.writer.persist, at))
    steps, done = Steps(), list[int]()
    report = load(settings, store, logs, run_step=steps, progress=lambda _, n, __: done.append(n))
    assert steps.n_tries == 3
    assert done == [1, 2, 3]
    assert (report.records.new, report.records.unindexed, report.problems) == (15, 15, [])
    assert report.bytes == sum(path.stat().st_size for path in logs.iterdir())
    assert report.sources.loaded + report.sources.resumed == 3


def test_a_step_that_stays_impossible_ends_the_load(
    settings: Settings, store: Store, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ServiceUnavailable("The database is unreachable.")

    steps = Steps()
    with monkeypatch.context() as patched:
        patched.setattr(store.writer, "persist", fails)
        with pytest.raises(ServiceUnavailable):
            load(settings, store, logs, run_step=steps)
    assert steps.n_tries == 1 + 4
    assert load(settings, store, logs).records.new == 15


def load(settings: Settings, store: Store, logs: Path, **options: Any) -> LoadReport:
    return wiring.run_load(settings, store, "default", sources=[str(logs)], **options)
