"""Whatever happens to logs, service, output and process in whatever order: every record stands there, once, where it was.

A state machine plays users, agents and bad luck against the real product. Beside it stands a model that knows no
more than the specification: which records there must be, by their ids, and in which state.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import hypothesis
import orjson
import pyarrow.parquet as pq
import pytest
from faults import small_steps
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from test_embedding_service import Service, serve, well_behaved

from components.contracts import record_id
from components.pipeline import Pipeline
from components.settings import DatasetSettings, EmbedSettings, PublishSettings
from components.snapshot.read import snapshot_at
from components.snapshot.verify import check_snapshot
from components.sources.cursors import COMMON_LINES
from components.store.tables import RecordState

datasets: dict[str, Literal["keep", "replace"]] = {"keeping": "keep", "replacing": "replace"}
vocabulary = ["retry the search", "open the file", "poison apple", "run all tests", "poison ivy", "ok"]
header_lines = COMMON_LINES  # fewer do not show that a file at another place is the one that was read
State = Literal["waiting", "indexed", "failed", "superseded"]
Item = tuple[int, str]  # iteration, text
Name = tuple[str, Item, int]  # source key, item, occurrence among equal ones
Place = tuple[float, float]


def spelled(item: Item) -> bytes:
    return orjson.dumps({"iteration": item[0], "idx": 0, "type": "user", "text": item[1]})


def id_of(name: Name) -> str:
    key, (iteration, text), occurrence = name
    return record_id(
        filename=key, iteration=iteration, idx_in_iteration=0, type="user", text=text, occurrence=occurrence
    )


def whole_items(content: bytes) -> tuple[bytes, list[Item]]:
    """The bytes up to the last whole item, and the items: a last line without its end counts if it parses."""
    taken, items = b"", []
    for line in content.splitlines(keepends=True):
        try:
            said = orjson.loads(line)
        except ValueError:
            assert not line.endswith(b"\n")
            break
        taken += line
        items.append((said["iteration"], said["text"]))
    return taken, items


def candidates(path: Path) -> Iterator[str]:
    """Its name; where a log of that name was rotated, with ever more folders before it."""
    parts = path.parts[1:]
    return ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))


def shorter_names(path: Path) -> Iterator[Path]:
    """The names it may have been rotated away from, in one step or several: `a.2.7` from `a.2`, or from `a`."""
    parts = path.name.split(".")
    return (path.with_name(".".join(parts[:n])) for n in range(len(parts) - 1, 0, -1))


@dataclass
class Source:
    """What is known of one source: its key for ever, what was read of it, and the items of that."""

    key: str
    read: bytes
    items: list[Item]


@dataclass
class Model:
    """One dataset by the book."""

    on_rewrite: Literal["keep", "replace"]
    sources: dict[Path, Source] = field(default_factory=dict)
    records: dict[Name, State] = field(default_factory=dict)
    output: set[str] | None = None  # ids, None before the first snapshot
    positions: dict[str, Place] = field(default_factory=dict)
    layout: int | None = None
    snapshots: dict[int, list[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)  # texts that have a vector

    def load(self, files: dict[Path, bytes], seen: list[Path]) -> int:
        """Take in what can be read of these files; returns how many records are new."""
        gone = [path for path in self.sources if path not in files]
        for path in seen:
            old = next((at for at in shorter_names(path) if at in self.sources), path)  # rotated away from
            if path not in self.sources and old in self.sources and old in seen and old not in gone:
                known = self.sources[old].read
                if known and files[path].startswith(known) and not files[old].startswith(known):
                    self.sources[path] = self.sources.pop(old)
        new = 0
        for path in sorted(seen):
            if path not in self.sources:
                for old in gone:
                    if (known := self.sources[old].read) and files[path].startswith(known):
                        self.sources[path] = self.sources.pop(old)
                        gone.remove(old)
                        break
                else:
                    keys = {source.key for source in self.sources.values()}
                    self.sources[path] = Source(next(k for k in candidates(path) if k not in keys), b"", [])
            new += self._read(self.sources[path], files[path])
        return new

    def _read(self, source: Source, content: bytes) -> int:
        taken, items = whole_items(content)
        if not items:
            return 0  # nothing in it yet: what was read before stays as it is
        goes_on = bool(source.read) and content.startswith(source.read)
        is_same = goes_on and taken == source.read
        source.read, source.items = taken, items
        there = Counter(items)
        stands = {(source.key, item, n) for item, count in there.items() for n in range(count)}
        new = 0
        for name in stands:
            if name not in self.records:
                self.records[name] = "waiting"
                new += 1
            elif self.records[name] == "superseded" and not is_same:
                self.records[name] = "indexed" if self._is_out(name) else "waiting"
        if self.on_rewrite == "replace" and taken == content:
            for name, state in self.records.items():
                if name[0] == source.key and name not in stands and state != "superseded":
                    self.records[name] = "superseded"
        return new

    def _is_out(self, name: Name) -> bool:
        return self.output is not None and id_of(name) in self.output

    def index(self, *, poisoned: bool, retry_failed: bool) -> None:
        for name, state in self.records.items():
            if state == "waiting" or (state == "failed" and retry_failed):
                text = name[1][1]
                if poisoned and "poison" in text and text not in self.known:
                    self.records[name] = "failed"
                else:
                    self.known.add(text)
                    self.records[name] = "indexed"
        if self.records:  # a dataset without any is not published
            self.output = {id_of(name) for name, state in self.records.items() if state == "indexed"}

    def count(self, *states: State) -> int:
        return sum(state in states for state in self.records.values())


def refusing(body: dict[str, Any]) -> Any:
    """A service that can't embed what is poisoned."""
    if any("poison" in text for text in body["input"]):
        return 400, {}, {"error": "this text is too much for me"}
    return well_behaved(body)


items_st = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(vocabulary)), min_size=1, max_size=4)


class Life(RuleBasedStateMachine):
    """A folder of logs, two datasets made of it, and all that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="runatlas-states-"))
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.files: dict[Path, bytes] = {}  # by content, unpacked
        self.models = {name: Model(on_rewrite) for name, on_rewrite in datasets.items()}
        self.service = Service()
        self.server = serve(self.service)
        self.numbers = iter(range(1, 1_000_000))
        self.pipeline = self.opened()

    def opened(self) -> Pipeline:
        return Pipeline(
            small_steps(
                self.folder / "home",
                model=f"openai://tiny?base_url={self.service.url}/v1&dimensions=16",
                embed=EmbedSettings(backoff_s=0.01, connections=1),
                publish=PublishSettings(part_rows=5_000, keep_s=0, keep_snapshots=3),
                datasets={name: DatasetSettings(on_rewrite=how) for name, how in datasets.items()},
            )
        )

    def teardown(self) -> None:
        self.pipeline.close()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder)

    # --- what agents do to their logs

    def put(self, path: Path, content: bytes, *, anew: bool = False) -> None:
        """The file holds this from now on, in place or, `anew`, as another file of that name."""
        raw = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content
        target = path.with_name(f".{path.name}") if anew else path
        target.write_bytes(raw)
        target.replace(path)
        self.files[path] = content
        self.stamp(path)

    def stamp(self, path: Path) -> None:
        """Times of writing of their own, since clocks of file systems are coarse."""
        at = 1_700_000_000 + next(self.numbers)
        os.utime(path, (at, at))

    def header(self) -> bytes:
        """First lines as no other file has them, so that no file is taken for another one."""
        run = next(self.numbers)
        return b"".join(spelled((0, f"run {run} line {n}")) + b"\n" for n in range(header_lines))

    def some(self, data: st.DataObject) -> Path:
        return data.draw(st.sampled_from(sorted(self.files)), "file")

    def ended(self, content: bytes) -> bytes:
        return content if not content or content.endswith(b"\n") else content[: content.rfind(b"\n") + 1]

    @initialize(items=items_st)
    def begin(self, items: list[Item]) -> None:
        self.create(items)

    @precondition(lambda self: len(self.files) < 5)
    @rule(items=items_st)
    def create(self, items: list[Item]) -> None:
        path = self.logs / f"{next(self.numbers)}.jsonl"
        self.put(path, self.header() + b"".join(spelled(item) + b"\n" for item in items))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), items=items_st, end=st.sampled_from(["whole", "open", "half"]))
    def append(self, data: st.DataObject, items: list[Item], end: str) -> None:
        path = self.some(data)
        more = b"".join(spelled(item) + b"\n" for item in items)
        cut = {"whole": 0, "open": 1, "half": 9}[end]
        before = self.files[path]
        if before and not before.endswith(b"\n"):
            rest = before[before.rfind(b"\n") + 1 :]
            if whole_items(rest)[1]:
                before += b"\n"
            else:
                before = self.finished(before)
        self.put(path, before + more[: len(more) - cut])

    def finished(self, content: bytes) -> bytes:
        """The last line as it was begun, written to its end."""
        start = content.rfind(b"\n") + 1
        begun = content[start:]
        for iteration in range(3):
            for text in vocabulary:
                line = spelled((iteration, text))
                if line.startswith(begun):
                    return content[:start] + line + b"\n"
        raise AssertionError(begun)

    @precondition(lambda self: any(not content.endswith(b"\n") for content in self.files.values()))
    @rule(data=st.data())
    def finish_line(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(p for p, c in self.files.items() if not c.endswith(b"\n"))), "file")
        content = self.files[path]
        is_whole = whole_items(content)[0] == content
        self.put(path, content + b"\n" if is_whole else self.finished(content))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), items=items_st, anew=st.booleans(), keeps=st.integers(0, 3))
    def rewrite(self, data: st.DataObject, items: list[Item], anew: bool, keeps: int) -> None:
        path = self.some(data)
        kept = self.ended(self.files[path]).splitlines(keepends=True)[header_lines:][:keeps]
        self.put(path, self.header() + b"".join(kept) + b"".join(spelled(item) + b"\n" for item in items), anew=anew)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), lines=st.integers(0, 2), inside=st.sampled_from([0, 5]))
    def truncate(self, data: st.DataObject, lines: int, inside: int) -> None:
        path = self.some(data)
        all_lines = self.ended(self.files[path]).splitlines(keepends=True)
        left = all_lines[: header_lines + lines]
        kept = b"".join(left)
        self.put(path, kept[: len(kept) - inside] if len(left) > header_lines else kept)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_touched=st.booleans())
    def rename(self, data: st.DataObject, is_touched: bool) -> None:
        path = self.some(data)
        moved = path.with_name(f"{next(self.numbers)}{''.join(path.suffixes)}")
        path.rename(moved)
        self.files[moved] = self.files.pop(path)
        if is_touched:
            self.stamp(moved)

    @precondition(lambda self: any(path.suffix != ".gz" for path in self.files))
    @rule(data=st.data())
    def compress(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(path for path in self.files if path.suffix != ".gz")), "file")
        content = self.ended(self.files[path])  # nobody packs what is being written
        self.put(path.with_name(f"{path.name}.gz"), content)
        path.unlink()
        del self.files[path]

    @precondition(lambda self: len(self.files) < 5 and any(path.suffix != ".gz" for path in self.files))
    @rule(data=st.data(), items=items_st, by_copy=st.booleans())
    def rotate(self, data: st.DataObject, items: list[Item], by_copy: bool) -> None:
        path = data.draw(st.sampled_from(sorted(path for path in self.files if path.suffix != ".gz")), "file")
        aside = path.with_name(f"{path.name}.{next(self.numbers)}")
        content = self.files[path]
        if by_copy:
            shutil.copy2(path, aside)
        else:
            path.rename(aside)
        self.files[aside] = content
        self.put(path, self.header() + b"".join(spelled(item) + b"\n" for item in items))

    @precondition(lambda self: len(self.files) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path = self.some(data)
        path.unlink()
        del self.files[path]

    # --- what users do

    @rule(dataset=st.sampled_from(sorted(datasets)), verify=st.booleans())
    def load(self, dataset: str, verify: bool) -> None:
        report = self.pipeline.load([self.logs], dataset, verify=verify)
        assert report.records.new == self.models[dataset].load(self.files, list(self.files))

    @precondition(lambda self: self.files)
    @rule(dataset=st.sampled_from(sorted(datasets)), data=st.data())
    def load_one(self, dataset: str, data: st.DataObject) -> None:
        path = self.some(data)
        report = self.pipeline.load([path], dataset)
        assert report.records.new == self.models[dataset].load(self.files, [path])

    @rule(dataset=st.sampled_from(sorted(datasets)), how=st.sampled_from(["", "", "recompute", "retry_failed"]))
    def index(self, dataset: str, how: str) -> None:
        model = self.models[dataset]
        before, layout = dict(model.positions), model.layout
        report = self.pipeline.index(dataset, **({how: True} if how else {}))
        model.index(poisoned=self.service.answer is refusing, retry_failed=how == "retry_failed")
        if model.output is None:  # it never had a record
            assert (report.snapshot, report.rows, report.step) == (None, 0, "none")
            return
        for other in self.models.values():  # vectors belong to texts, whichever dataset they came from
            other.known |= model.known
        model.positions = self.published(dataset)
        model.layout = report.layout
        if report.step in {"transform", "none"} and layout is not None:
            assert report.layout == layout
            stayed = before.keys() & model.positions.keys()
            assert {id: model.positions[id] for id in stayed} == {id: before[id] for id in stayed}
        assert report.rows == len(model.positions)

    @rule(dataset=st.sampled_from(sorted(datasets)), damage=st.sampled_from(["none", "current", "snapshots", "all"]))
    def publish(self, dataset: str, damage: str) -> None:
        model = self.models[dataset]
        if model.output is None:
            return
        output = self.pipeline.output(dataset)
        if damage != "none":
            model.snapshots.clear()
        match damage:
            case "current":
                (output / "current").unlink()
            case "snapshots":
                shutil.rmtree(output / "snapshots")
            case "all":
                shutil.rmtree(output)
        self.pipeline.publish(dataset)
        left = {id_of(name) for name, state in model.records.items() if state == "superseded"}
        now = self.published(dataset)
        assert {id: place for id, place in model.positions.items() if id not in left} == {
            id: place for id, place in now.items() if id not in left
        }
        model.positions, model.output = now, set(now)

    @rule()
    def a_day_passes(self) -> None:
        for dataset in sorted(datasets):
            self.load(dataset, verify=False)
            self.index(dataset, "")

    @rule()
    def reopen(self) -> None:
        self.pipeline.close()
        self.pipeline = self.opened()

    @rule()
    def service_refuses_or_is_mended(self) -> None:
        self.service.answer = well_behaved if self.service.answer is refusing else refusing

    # --- what must hold all the time

    def published(self, dataset: str) -> dict[str, Place]:
        """Id -> place of what a reader sees now."""
        columns = ["id", "projection_x", "projection_y"]
        rows = [
            row
            for path in self.pipeline.snapshot(dataset).logs_files
            for row in pq.read_table(path, columns=columns).to_pylist()
        ]
        found = {row["id"]: (row["projection_x"], row["projection_y"]) for row in rows}
        assert len(found) == len(rows), "a record stands there twice"
        return found

    @invariant()
    def every_record_is_there_once_and_in_its_state(self) -> None:
        status = self.pipeline.status()
        for dataset, model in self.models.items():
            if dataset not in status:
                assert not model.records
                continue
            found = status[dataset]
            assert (found.records, found.unindexed, found.failed) == (
                model.count("waiting", "indexed", "failed"),
                model.count("waiting"),
                model.count("failed"),
            ), dataset
            stored = {
                s.record.id
                for batch in self.pipeline.store.records.stream(self.pipeline.dataset_id(dataset), *RecordState)
                for s in batch
            }
            assert stored == {id_of(name) for name in model.records}

    @invariant()
    def readers_see_whole_snapshots_that_never_change(self) -> None:
        for dataset, model in self.models.items():
            if model.output is None:
                continue
            assert set(self.published(dataset)) == model.output, self.difference(dataset)
            assert failing_of(self.pipeline, dataset) == []
            for folder in (self.pipeline.output(dataset) / "snapshots").iterdir():
                assert [check for check in check_snapshot(folder) if not check.ok] == []
                parts = [part.sha256 for part in snapshot_at(folder).manifest.parts]
                assert model.snapshots.setdefault(int(folder.name), parts) == parts

    def difference(self, dataset: str) -> str:
        """What the model and the output do not share, for a person."""
        model, found = self.models[dataset], self.published(dataset)
        missing = [name for name in model.records if id_of(name) in (model.output or {}) and id_of(name) not in found]
        surplus = [self.pipeline.record(id, dataset) for id in found if id not in (model.output or {})]
        return f"{dataset}: missing {missing}, too much {surplus}; sources {model.sources}"


def failing_of(pipeline: Pipeline, dataset: str) -> list[Any]:
    return [check for check in pipeline.verify(dataset) if not check.ok]


def lived(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Life,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def test_short_lives_lose_double_and_move_nothing() -> None:
    lived(4, 25)


@pytest.mark.slow
def test_long_lives_lose_double_and_move_nothing() -> None:
    lived(10, 40)
