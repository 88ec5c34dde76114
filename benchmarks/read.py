"""How fast sources are read, and in how much memory. One JSON line a figure; `--full` adds the 2 GB file.

The ratio is what counts: each round reads the same lines with a bare `orjson` loop right beside ours, in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from benchmarks.measure import fresh, peak_mb, print_figure
from components.contracts import LedgerEntry, Locator
from components.errors import NotReady, SourceError
from components.settings import LoadSettings
from components.sources import parsing
from components.sources.files import FileSource
from components.sources.formats.contract import Options
from components.sources.lines import lines
from components.sources.opener import open_file
from components.sources.recognition.recognise import recognise

LOGS = Path(__file__).parents[1].parent / "shared" / "data" / "agent-logs"
FOLDERS = ("claude_code", "claude_code_entire", "claude_code_growing", "codex_rollout")
DOCUMENTS = ("openai_chat", "sharegpt_chat", "tau_bench", "swe_agent_traj", "otel_genai", "otel_genai_jaeger")
ROUNDS = 7
SOURCE = FileSource(LoadSettings(quiet_s=0))
MAX_ITEM_BYTES = 512 << 20


def cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


# --- speed -----------------------------------------------------------------------------------------------------


def bare(files: list[Path]) -> None:
    for path in files:
        with path.open("rb") as file:
            for line in file:
                orjson.loads(line)


def parsed(files: list[Path]) -> None:
    """Recognised, cut into lines, parsed and mapped by the format: everything up to the events."""
    for path in files:
        with open_file(str(path)) as opened:
            recognition = recognise(opened, path.name, item_bytes=MAX_ITEM_BYTES)
            assert recognition.format.reader is not None
            reader = recognition.format.reader(None, Options())
            for piece in lines(opened.blocks(), 0, MAX_ITEM_BYTES):
                for value in parsing.json_values(piece.data):
                    list(reader.read(value))


def read(files: list[Path]) -> None:
    """All of it: also cleaned texts, times in UTC, ids and the digests of the cursor."""
    for path in files:
        for locator in SOURCE.discover([str(path)]).locators:
            exhaust(locator)


def exhaust(locator: Locator) -> int:
    n = 0
    try:
        for batch in SOURCE.read(locator, None):
            n += len(batch.records)
    except NotReady:
        pass
    return n


def speed(files: list[Path], name: str) -> None:
    size = sum(path.stat().st_size for path in files)
    rounds = [
        (cpu_s(lambda: bare(files)), cpu_s(lambda: parsed(files)), cpu_s(lambda: read(files))) for _ in range(ROUNDS)
    ]
    for which, label in ((1, "recognise_and_parse"), (2, "read_to_records")):
        per_s = round(size / 1e6 / statistics.median(r[which] for r in rounds))
        print_figure(f"{label}_{name}_speed", per_s, "MB per CPU s", mb=round(size / 1e6, 1), rounds=ROUNDS)
        print_figure(
            f"{label}_{name}",
            round(statistics.median(r[0] / r[which] for r in rounds), 3),
            "of the MB per CPU s of a bare orjson line loop",
            best=round(max(r[0] / r[which] for r in rounds), 3),
            bare_mb_per_cpu_s=round(size / 1e6 / statistics.median(r[0] for r in rounds)),
            **({"goal": ">= 0.35"} if which == 1 else {}),
        )


def documents(folder: str) -> None:
    """Logs that are one JSON document each: recognised and mapped to events, and read to records."""
    files = [path for path in sorted((LOGS / folder).glob("*.json")) if mapped(path)]
    if not files:
        return
    rounds = [
        (
            cpu_s(lambda: [orjson.loads(path.read_bytes()) for path in files]),
            cpu_s(lambda: [mapped(path) for path in files]),
            cpu_s(lambda: read(files)),
        )
        for _ in range(ROUNDS)
    ]
    size = sum(path.stat().st_size for path in files)
    for which, label in ((1, "recognise_and_parse"), (2, "read_to_records")):
        print_figure(
            f"{label}_{folder}",
            round(statistics.median(r[0] / r[which] for r in rounds), 3),
            "of the MB per CPU s of bare orjson",
            mb=round(size / 1e6, 1),
            files=len(files),
            **({"goal": ">= 0.3"} if which == 1 else {}),
        )


def mapped(path: Path) -> int:
    """How many items the format makes of a document."""
    with open_file(str(path)) as opened:
        try:
            recognition = recognise(opened, path.name, item_bytes=MAX_ITEM_BYTES)
        except SourceError:
            return 0
        document, read_document = recognition.candidate.document, recognition.format.read
        if document is None or read_document is None:
            return 0
        return sum(1 for _ in read_document(document.value, Options()))


def real_logs() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((LOGS / folder).glob("*.jsonl"))]


def joined(files: list[Path], target: Path, times: int) -> Path:
    content = b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in files if "codex" not in str(path))
    target.write_bytes(content * times)
    return target


# --- memory ----------------------------------------------------------------------------------------------------


def memory(target: Path, size_bytes: int) -> None:
    """Peak memory of a fresh process that reads one large file."""
    stretch = b"".join(_lines(2_000))
    with target.open("wb") as file:
        for _ in range(size_bytes // len(stretch)):
            file.write(stretch)
    spent = fresh("benchmarks.read", ["--one", target])
    gigabytes = {"file_gb": round(size_bytes / 1e9, 1)}
    print_figure(
        "read_peak",
        round(spent.peak_mb),
        "MB resident, at most",
        goal="<= 300",
        records=spent.output["records"],
        **gigabytes,
    )
    print_figure("read_large_file", round(spent.cpu_s, 1), "s CPU", **gigabytes)


def _lines(n: int) -> Iterator[bytes]:
    for i in range(n):
        item = {"iteration": i, "idx": 0, "type": "assistant", "text": f"step {i} " + "some words about it " * 60}
        yield orjson.dumps({**item, "timestamp": "2025-01-01T00:00:00Z", "usage": {"tokens": i}}) + b"\n"


def one(path: str) -> None:
    n = exhaust(SOURCE.discover([path]).locators[0])
    print(json.dumps({"peak_mb": peak_mb(), "records": n}))


# --- scan ------------------------------------------------------------------------------------------------------


def scan(folder: Path, n_files: int) -> None:
    """Discover and decide for many files that did not change since the last load."""
    content = b'{"iteration": 0, "text": "a"}\n'
    for i in range(n_files):
        if i % 1_000 == 0:
            (folder / f"{i // 1_000:03d}").mkdir()
        (folder / f"{i // 1_000:03d}" / f"{i}.jsonl").write_bytes(content)
    entries = {locator.location: entry(locator) for locator in SOURCE.discover([str(folder)]).locators}
    started = time.perf_counter()
    locators = SOURCE.discover([str(folder)]).locators
    skipped = sum(SOURCE.decide(one, entries[one.location]).action == "skip" for one in locators)
    assert skipped == n_files
    goal = {"goal": "<= 10"} if n_files >= 100_000 else {}
    print_figure("discover_and_decide_unchanged", round(time.perf_counter() - started, 2), "s", files=n_files, **goal)


def entry(locator: Locator) -> LedgerEntry:
    (batch,) = SOURCE.read(locator, None)
    return LedgerEntry(
        source_id=1,
        key=locator.key,
        location=locator.location,
        status="loaded",
        generation=1,
        version=1,
        size_bytes=locator.size_bytes,
        mtime_ns=locator.mtime_ns,
        inode=locator.inode,
        cursor=batch.cursor,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--full", action="store_true", help="the 2 GB file and 100,000 files")
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        one(given.one)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if files := real_logs():
            speed(files, "file_by_file")
            speed([joined(files, folder / "joined.jsonl", 3)], "joined")
            (folder / "joined.jsonl").unlink()
        for logs in DOCUMENTS:
            documents(logs)
        memory(folder / "large.jsonl", 2_000_000_000 if given.full else 200_000_000)
        (folder / "large.jsonl").unlink()
        (folder / "many").mkdir()
        scan(folder / "many", 100_000 if given.full else 10_000)


if __name__ == "__main__":
    main()
