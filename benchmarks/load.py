"""What loading costs: the whole `Pipeline.load`, its share in SQLite, persisting alone, and a look at nothing new.

    python -m benchmarks.load [--runs 240] [--files 10000] [--rounds 5]
    python -m benchmarks.load --full                           # 2,400 runs, and the look at 100,000 files

Logs are made up (`sample_logs`), in six formats; the real ones beside the checkout are loaded too where there are any.
Each load is a fresh process on an empty database. Persisting is compared with a bare SQLAlchemy Core insert of the same
finished rows into the same table of another fresh database, in turns, one transaction a batch, in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection, event

from benchmarks.measure import fresh, peak_mb, print_figure
from components.contracts import Batch, Locator, Record
from components.errors import RunAtlasError
from components.pipeline import Pipeline
from components.settings import LoadSettings, Settings
from components.sources.files import FileSource
from components.store import Store
from components.store.keyed import RecordPlace, record_row
from components.store.tables import record_t, source_t

real_logs = Path(__file__).parents[1].parent / "shared" / "data" / "agent-logs"


def settings_of(home: Path) -> Settings:
    return Settings(home=home, model="hash://384", load=LoadSettings(quiet_s=0))


# --- the whole load


@dataclass(slots=True)
class Clock:
    """Seconds spent in the database: statements and commits."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    n: int = 0
    began: tuple[float, float] = field(default=(0.0, 0.0))

    def start(self, *_: object) -> None:
        self.began = time.process_time(), time.perf_counter()

    def stop(self, *_: object) -> None:
        self.cpu_s += time.process_time() - self.began[0]
        self.wall_s += time.perf_counter() - self.began[1]
        self.n += 1


def watch(engine: Engine, clock: Clock) -> None:
    """Let the clock run while a statement executes or a transaction commits."""
    event.listen(engine, "before_cursor_execute", clock.start)
    event.listen(engine, "after_cursor_execute", clock.stop)
    commit = engine.dialect.do_commit

    def timed(dbapi_connection: PoolProxiedConnection) -> None:
        clock.start()
        commit(dbapi_connection)
        clock.stop()

    engine.dialect.do_commit = timed  # type: ignore[method-assign]


def child(home: Path, folder: Path) -> None:
    """Load a folder; print what that took."""
    clock = Clock()
    with Pipeline(settings_of(home)) as pipeline:
        for engine in (pipeline.store.db.writer, pipeline.store.db.reader):
            watch(engine, clock)
        cpu, wall = time.process_time(), time.perf_counter()
        report = pipeline.load([folder])
        output = {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.perf_counter() - wall,
            "database_cpu_s": clock.cpu_s,
            "database_wall_s": clock.wall_s,
            "statements": clock.n,
            "new": report.records.new,
            "loaded": report.sources.loaded,
            "skipped": report.sources.skipped,
            "size_bytes": report.bytes,
        }
    print(json.dumps({**output, "peak_mb": peak_mb()}))


def whole(name: str, folder: Path, home: Path) -> None:
    """Load a folder into an empty database, then once more."""
    spent = fresh("benchmarks.load", ["--child", folder, "--home", home])
    one = spent.output
    shape = {"records": one["new"], "sources": one["loaded"], "mb": round(one["size_bytes"] / 1e6, 1)}
    print_figure(f"load_{name}_records", one["new"] / one["cpu_s"], "records per CPU s", **shape)
    print_figure(f"load_{name}_bytes", one["size_bytes"] / 1e6 / one["cpu_s"], "MB per CPU s", **shape)
    print_figure(f"load_{name}_wall", one["new"] / one["wall_s"], "records per s", **shape)
    print_figure(
        f"load_{name}_in_sqlite",
        one["database_cpu_s"] / one["cpu_s"],
        "share of CPU time",
        of_wall_time=round(one["database_wall_s"] / one["wall_s"], 3),
        statements=one["statements"],
        **shape,
    )
    print_figure(f"load_{name}_peak", spent.peak_mb, "MB resident, at most", **shape)
    again = fresh("benchmarks.load", ["--child", folder, "--home", home]).output
    print_figure(f"load_{name}_again", again["cpu_s"], "s CPU, nothing new", new=again["new"], **shape)


# --- persisting alone


def batches_of(folder: Path) -> Iterator[tuple[Locator, Batch]]:
    source = FileSource(LoadSettings(quiet_s=0))
    for locator in source.discover([str(folder)]).locators:
        try:
            yield from ((locator, batch) for batch in source.read(locator, None))
        except RunAtlasError:
            continue  # negatives and half-written files lie there too


@contextmanager
def new_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        store.datasets.id("default", create=True)
        yield store
        store.close()


def ours(loaded: Sequence[tuple[Locator, Batch]]) -> float:
    """CPU seconds to persist these batches: ids resolved, rows, defects and cursor in one transaction each."""
    with new_store() as store:
        entries = [store.ledger.register(1, locator) for locator, _ in loaded]
        started = time.process_time()
        for entry, (_, batch) in zip(entries, loaded, strict=True):
            store.writer.persist(1, entry, batch, generation=1, version=entry.version)
        return time.process_time() - started


def bare(loaded: Sequence[tuple[Locator, Batch]]) -> float:
    """CPU seconds to insert the same rows, ready made, a transaction a batch, and nothing else."""
    with new_store() as store:
        store.ledger.register(1, loaded[0][0])
        place = RecordPlace(dataset_id=1, source_id=1, generation=1)
        tables = [[record_row(record, place) for record in batch.records] for _, batch in loaded]
        started = time.process_time()
        for rows in tables:
            with store.db.write() as connection:
                connection.execute(record_t.insert(), rows)
        return time.process_time() - started


def gathered(folder: Path, n_records: int) -> list[tuple[Locator, Batch]]:
    """Records of many logs in the batches of 5,000 that one long log would come in, no id twice."""
    records: list[Record] = []
    seen: set[str] = set()
    first = None
    for locator, batch in batches_of(folder):
        first = first or (locator, batch)
        fresh_ones = [record for record in batch.records if record.id not in seen]
        seen.update(record.id for record in fresh_ones)
        records += fresh_ones
    assert first is not None
    locator, batch = first
    cuts = range(0, min(len(records), n_records), 5_000)
    return [
        (
            replace(locator, key=f"{locator.key}-{at}", location=f"{locator.location}-{at}"),
            replace(batch, records=records[at : at + 5_000], defects=[]),
        )
        for at in cuts
    ]


def persisting(folder: Path, rounds: int) -> None:
    loaded = gathered(folder, 50_000)
    n = sum(len(batch.records) for _, batch in loaded)
    took = [(ours(loaded), bare(loaded)) for _ in range(rounds)]
    each = [one[1] / one[0] for one in took]
    print_figure(
        "persist_against_core_insert",
        statistics.median(each),
        "x the records per CPU s of a bare Core insert of the same rows",
        goal=">= 0.6",
        range=[round(min(each), 3), round(max(each), 3)],
        records_per_cpu_s=round(n / statistics.median(one[0] for one in took)),
        bare_records_per_cpu_s=round(n / statistics.median(one[1] for one in took)),
        records=n,
        transactions=len(loaded),
        rounds=rounds,
    )


# --- nothing new


def scan(folder: Path, home: Path, n_files: int) -> None:
    """A whole load of many files that the ledger knows as they are."""
    for i in range(n_files):
        if i % 1_000 == 0:
            (folder / f"{i // 1_000:03d}").mkdir(parents=True)
        (folder / f"{i // 1_000:03d}" / f"{i}.jsonl").write_bytes(b'{"text": "a"}\n')
    with Pipeline(settings_of(home)) as pipeline:
        dataset = pipeline.store.datasets.id("default", create=True)
        locators = FileSource(LoadSettings()).discover([str(folder)]).locators
        with pipeline.store.db.write() as connection:
            pipeline.store.db.insert_new(connection, source_t, [_known(dataset, locator) for locator in locators])
    spent = fresh("benchmarks.load", ["--child", folder, "--home", home])
    assert spent.output["skipped"] == n_files, spent.output
    goal = {"goal": "<= 10"} if n_files >= 100_000 else {}
    print_figure(
        "scan_unchanged", spent.output["wall_s"], "s", files=n_files, cpu_s=round(spent.output["cpu_s"], 2), **goal
    )
    print_figure("scan_unchanged_peak", spent.peak_mb, "MB resident, at most", files=n_files)


def _known(dataset: int | None, locator: Locator) -> dict[str, Any]:
    empty = {"format": "jsonl", "reason": "", "options": "", "version": 1, "generation": 1}
    seen = {name: getattr(locator, name) for name in ("key", "location", "kind", "size_bytes", "mtime_ns", "inode")}
    return {"dataset_id": dataset, "status": "loaded", **empty, **seen}


def main() -> None:
    from benchmarks.sample_logs import write_logs

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--runs", type=int, help="made-up runs")
    parser.add_argument("--files", type=int, help="unchanged files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.home, asked.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_logs(folder / "logs", asked.runs or (2_400 if asked.full else 240))
        whole("made_up", folder / "logs", folder / "home")
        if real_logs.is_dir():
            whole("real", real_logs, folder / "real-home")
        persisting(real_logs if real_logs.is_dir() else folder / "logs", asked.rounds)
        scan(folder / "many", folder / "scan-home", asked.files or (100_000 if asked.full else 10_000))


if __name__ == "__main__":
    main()
