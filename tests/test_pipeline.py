"""Load and index together: what a user is promised, on real files, a real database and a real embedder."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs import append, lines, write

from components import run_recorder, wiring
from components.contracts import Embedded
from components.embedders.hashing import hash_vector
from components.errors import Cancelled, LeaseHeld, LeaseLost, ModelChanged, NotFound, ServiceUnavailable
from components.index.batches import EmbedBatch, EmbedOutcome
from components.index.context import IndexInputs, open_index
from components.index.plan import Plan, make_plan
from components.pipeline import Pipeline
from components.settings import DatasetSettings, EmbedSettings, LoadSettings, ProjectSettings, Settings, TextSettings
from components.store import lease_name
from components.store.index_requests import IndexRequest
from components.store.lease import Fence, Heartbeat

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakePipeline]:
    opened: list[Pipeline] = []

    def one(**changes: Any) -> Pipeline:
        defaults: dict[str, Any] = {"model": "hash://32", "load": LoadSettings(quiet_s=0)}
        settings = Settings(home=tmp_path / "home", **(defaults | changes))
        opened.append(Pipeline(settings))
        return opened[-1]

    yield one
    for pipeline in opened:
        pipeline.close()


@pytest.fixture
def pipeline(make: MakePipeline) -> Pipeline:
    return make()


def logs(pipeline: Pipeline) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in pipeline.snapshot().logs_files)


def positions(pipeline: Pipeline) -> dict[str, tuple[float, float]]:
    table = logs(pipeline).to_pydict()
    return dict(zip(table["id"], zip(table["projection_x"], table["projection_y"], strict=True), strict=True))


def verified(pipeline: Pipeline) -> None:
    assert [check for check in pipeline.verify() if not check.ok] == []


def test_every_loaded_record_is_in_both_outputs_with_exactly_the_specified_columns(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    write(tmp_path / "logs" / "a.jsonl", lines(60))
    write(tmp_path / "logs" / "deep" / "b.jsonl", lines(40, seed=1))
    report = pipeline.load([tmp_path / "logs"])
    assert (report.sources.loaded, report.records.new, report.records.unindexed) == (2, 100, 100)
    done = pipeline.index()
    assert (done.step, done.records, done.rows, done.snapshot, done.failed) == ("fit", 100, 100, 1, 0)
    assert done.embedded + done.reused == 100
    schema = logs(pipeline).schema
    assert [(field.name, str(field.type)) for field in schema] == [
        ("id", "string"),
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("filename", "string"),
        ("text", "string"),
        ("iteration", "int32"),
        ("idx_in_iteration", "int32"),
        ("type", "string"),
        ("projection_x", "float"),
        ("projection_y", "float"),
        ("topic", "int32"),
        ("topic_label", "string"),
    ]
    assert set(logs(pipeline)["filename"].to_pylist()) == {"a.jsonl", "deep/b.jsonl"}
    embeddings = pq.read_table(pipeline.snapshot().embeddings_files[0])
    assert [(field.name, str(field.type)) for field in embeddings.schema] == [
        ("id", "string"),
        ("vector", "list<element: float>"),
    ]
    assert embeddings["id"].to_pylist() == logs(pipeline)["id"].to_pylist()
    verified(pipeline)


def test_loading_and_indexing_again_changes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(50))
    pipeline.load([tmp_path / "a.jsonl"])
    pipeline.index()
    before = positions(pipeline)
    again = pipeline.load()
    assert (again.sources.skipped, again.records.new, again.records.existing) == (1, 0, 0)
    done = pipeline.index()
    assert (done.step, done.records, done.snapshot, done.rows) == ("none", 0, 1, 50)
    assert positions(pipeline) == before


def test_growth_is_taken_alone_and_moves_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(80))
    pipeline.load([path])
    pipeline.index()
    before = positions(pipeline)
    append(path, lines(20, start=80))
    grown = pipeline.load()
    assert (grown.sources.resumed, grown.records.new, grown.records.existing) == (1, 20, 0)
    done = pipeline.index()
    assert (done.step, done.records, done.rows, done.snapshot) == ("transform", 20, 100, 2)
    after = positions(pipeline)
    assert {id: after[id] for id in before} == before
    assert len(after) == 100
    verified(pipeline)


def test_equal_texts_share_one_vector_and_one_place(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(100))
    pipeline.load([tmp_path])
    assert pipeline.index().embedded <= 91
    table = logs(pipeline).to_pydict()
    spots = {
        (x, y)
        for text, x, y in zip(table["text"], table["projection_x"], table["projection_y"], strict=True)
        if text == "ok"
    }
    assert len(spots) == 1


def test_a_young_map_refits_itself_when_its_data_has_doubled(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(40))
    pipeline.load([path])
    pipeline.index()
    append(path, lines(60, start=40))
    pipeline.load()
    done = pipeline.index()
    assert (done.step, done.layout, done.rows) == ("refit", 2, 100)
    verified(pipeline)


def test_a_map_of_all_its_landmarks_is_not_young(make: MakePipeline, tmp_path: Path) -> None:
    pipeline = make(project=ProjectSettings(landmarks=100))
    path = write(tmp_path / "a.jsonl", lines(150))
    pipeline.load([path])
    pipeline.index()
    append(path, lines(60, start=150))
    pipeline.load()
    done = pipeline.index()
    assert (done.step, done.layout, done.rows) == ("transform", 1, 210)


def fitted(pipeline: Pipeline) -> set[int]:
    layout = pipeline.store.layouts.current(pipeline.dataset_id("default"))
    assert layout is not None
    return set(pipeline.store.layouts.arrays(layout.id)["fitted_ids"].tolist())


def test_a_refit_of_grown_data_keeps_the_landmarks_it_can(make: MakePipeline, tmp_path: Path) -> None:
    pipeline = make(project=ProjectSettings(landmarks=100))
    path = write(tmp_path / "a.jsonl", lines(150))
    pipeline.load([path])
    n = pipeline.index().embedded
    before = fitted(pipeline)
    append(path, lines(60, start=150))
    pipeline.load()
    pipeline.index(recompute=True)
    after = fitted(pipeline)
    old = {id for id in after if id <= n}  # vectors are numbered as they come
    assert len(before) == len(after) == 100
    assert old <= before
    assert 10 <= len(after - old) <= 60
    verified(pipeline)


def test_recompute_moves_all_together_and_keeps_the_old_snapshot(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(60))
    pipeline.load([tmp_path])
    pipeline.index()
    old = pipeline.snapshot()
    kept = pq.read_table(old.logs_files[0])
    done = pipeline.index(recompute=True)
    assert (done.step, done.layout, done.snapshot, done.records) == ("refit", 2, 2, 0)
    assert done.refit_displacement is not None
    assert done.refit_displacement <= 0.15
    assert pq.read_table(old.logs_files[0]).equals(kept)
    verified(pipeline)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_however_few_records_make_a_valid_map(pipeline: Pipeline, tmp_path: Path, n: int) -> None:
    write(tmp_path / "a.jsonl", lines(n))
    pipeline.load([tmp_path / "a.jsonl"])
    assert pipeline.index().rows == n
    verified(pipeline)
    append(tmp_path / "a.jsonl", lines(30, start=n))
    pipeline.load([tmp_path / "a.jsonl"])
    assert pipeline.index().rows == n + 30
    verified(pipeline)


def test_equal_texts_alone_make_a_valid_map(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{**line, "text": "same"} for line in lines(30)])
    pipeline.load([tmp_path])
    done = pipeline.index()
    assert (done.rows, done.embedded) == (30, 1)
    verified(pipeline)


def test_a_rewritten_source_keeps_what_it_lost_by_default(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([path])
    pipeline.index()
    write(path, lines(30, seed=7)[:10])
    again = pipeline.load()
    assert again.records.superseded == 0
    pipeline.index()
    assert set(logs(pipeline)["text"].to_pylist()) >= {line["text"] for line in lines(30)}
    verified(pipeline)


def test_a_replaced_source_takes_its_records_off_the_map(make: MakePipeline, tmp_path: Path) -> None:
    pipeline = make(datasets={"default": DatasetSettings(on_rewrite="replace")})
    path = write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([path])
    pipeline.index()
    write(path, lines(30)[:12])
    assert pipeline.load().records.superseded == 18
    assert pipeline.index().rows == 12
    assert len(positions(pipeline)) == 12
    verified(pipeline)
    write(path, lines(30))  # and back again
    pipeline.load()
    assert pipeline.index().rows == 30
    verified(pipeline)


def test_a_log_that_was_compressed_keeps_its_records(pipeline: Pipeline, tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "logs" / f"{n}.jsonl", lines(300, seed=n))
    pipeline.load([tmp_path / "logs"])
    for path in sorted((tmp_path / "logs").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = pipeline.load()
    assert (packed.records.new, packed.sources.skipped, packed.sources.gone) == (0, 3, 0)
    pipeline.index()
    assert set(logs(pipeline)["filename"].to_pylist()) == {"0.jsonl", "1.jsonl", "2.jsonl"}
    verified(pipeline)


@pytest.mark.parametrize("by_copy", [False, True])
def test_rotated_logs_keep_their_records_and_the_new_ones_are_read(
    pipeline: Pipeline, tmp_path: Path, by_copy: bool
) -> None:
    log = tmp_path / "logs" / "app.jsonl"
    expected = []
    for n in range(4):
        write(log, fresh := lines(20 - n, seed=n))
        expected += [line["text"] for line in fresh]
        done = pipeline.load([log.parent])
        assert done.records.new == len(fresh), n
        assert {entry.location for entry in pipeline.store.ledger.entries(1)} == set(map(str, log.parent.iterdir()))
        for older in range(n, 0, -1):
            log.with_name(f"app.jsonl.{older}").rename(log.with_name(f"app.jsonl.{older + 1}"))
        (shutil.copy2 if by_copy else os.rename)(log, log.with_name("app.jsonl.1"))
    pipeline.index()
    assert sorted(logs(pipeline)["text"].to_pylist()) == sorted(expected)
    verified(pipeline)


def test_the_oldest_log_that_a_rotation_drops_keeps_its_records(pipeline: Pipeline, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "app.jsonl"
    for n in range(4):
        write(log, lines(20, seed=n))
        assert pipeline.load([log.parent]).records.new == 20
        log.rename(log.with_name("app.jsonl.1"))
    write(log, lines(20, seed=9))
    last = pipeline.load()
    assert (last.records.new, last.sources.gone) == (20, 1)
    assert pipeline.index().rows == 100
    verified(pipeline)


def test_a_copy_of_a_document_beside_it_takes_nothing_from_it(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "chat.json"
    said = [{"role": "user", "content": "What is the time?"}, {"role": "assistant", "content": "Late."}]
    path.parent.mkdir()
    path.write_bytes(orjson.dumps(said))
    assert pipeline.load([path.parent]).records.new == 2
    shutil.copy2(path, path.with_name("chat.json.bak"))
    path.write_bytes(orjson.dumps([*said, {"role": "user", "content": "Good night."}]))
    assert pipeline.load().records.new == 1 + 2
    assert {entry.key for entry in pipeline.store.ledger.entries(1)} == {"chat.json", "chat.json.bak"}


def test_a_renamed_source_keeps_its_records_and_grows_on(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "logs" / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "logs"])
    path.rename(path.with_name("b.jsonl"))
    append(path.with_name("b.jsonl"), lines(5, start=30))
    again = pipeline.load()
    assert (again.records.new, again.sources.resumed, again.sources.gone) == (5, 1, 0)
    assert pipeline.status()["default"].records == 35


def test_a_deleted_source_is_gone_and_its_records_stay(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "logs" / "a.jsonl", lines(30))
    write(tmp_path / "logs" / "b.jsonl", lines(3, seed=2))
    pipeline.load([tmp_path / "logs"])
    path.unlink()
    assert pipeline.load().sources.gone == 1
    assert pipeline.load().sources.gone == 0
    assert pipeline.status()["default"].records == 33


def test_what_is_wrong_with_one_source_does_not_stop_the_others(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "logs" / "good.jsonl", lines(5))
    (tmp_path / "logs" / "empty.jsonl").write_bytes(b"")
    (tmp_path / "logs" / "binary.jsonl").write_bytes(bytes(range(256)) * 10)
    with (tmp_path / "logs" / "torn.jsonl").open("wb") as file:
        file.write(orjson.dumps(lines(1, seed=9)[0]) + b"\n{broken\n" + orjson.dumps(lines(2, seed=9)[1]) + b"\n")
    report = pipeline.load([tmp_path / "logs", tmp_path / "missing"])
    assert report.records.new == 7
    assert report.defects == 1
    assert {problem.source.rpartition("/")[2] for problem in report.problems} == {
        "empty.jsonl",
        "binary.jsonl",
        "missing",
    }
    (defect,) = pipeline.defects()
    assert (defect["source"], defect["offset"] > 0) == ("torn.jsonl", True)
    again = pipeline.load()
    assert (again.records.new, again.sources.skipped) == (0, 2)
    assert len(again.problems) == 2  # what failed is reported again, though not read again; `missing` is not remembered


def test_the_whole_items_of_a_source_that_waits_are_counted(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(4))
    cut = orjson.dumps(lines(1, start=4)[0]) + b"\n"
    with path.open("ab") as file:
        file.write(cut[:20])
    waits = pipeline.load([path])
    assert (waits.sources.not_ready, waits.records.new, waits.records.unindexed) == (1, 4, 4)
    with path.open("ab") as file:
        file.write(cut[20:])
    assert pipeline.load().records.new == 1
    assert pipeline.load().sources.skipped == 1


def test_another_model_needs_a_recompute_and_then_keeps_the_map_in_place(make: MakePipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(40))
    first = make()
    first.load([tmp_path / "a.jsonl"])
    first.index()
    second = make(model="hash://16")
    with pytest.raises(ModelChanged, match="recompute"):
        second.index()
    done = second.index(recompute=True)
    assert (done.step, done.layout, done.rows, done.embedded) == ("refit", 2, 40, 37)
    assert second.snapshot().manifest.dim == 16
    verified(second)


def test_other_text_settings_need_a_recompute_too(make: MakePipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(20))
    first = make()
    first.load([tmp_path / "a.jsonl"])
    first.index()
    second = make(datasets={"default": DatasetSettings(text=TextSettings(prefix="agent: "))})
    with pytest.raises(ModelChanged):
        second.index()
    assert second.index(recompute=True).rows == 20
    verified(second)


def test_declared_extras_become_columns(make: MakePipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{**line, "cost": i / 2, "agent": f"a{i}"} for i, line in enumerate(lines(6))])
    plain = make()
    plain.load([tmp_path / "a.jsonl"])
    plain.index()
    wide = make(datasets={"default": DatasetSettings(extras=("cost:float", "agent"))})
    assert wide.index().snapshot == 2
    assert sorted(logs(wide)["cost"].to_pylist()) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert set(logs(wide)["agent"].to_pylist()) == {f"a{i}" for i in range(6)}


def test_only_one_index_of_a_dataset_runs_at_a_time(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(5))
    pipeline.load([tmp_path])
    leases = pipeline.store.leases
    with Heartbeat(leases, leases.acquire("index:default", "another")), pytest.raises(LeaseHeld, match="another"):
        pipeline.index()
    assert pipeline.index().rows == 5


def test_a_cancelled_index_leaves_all_whole_and_the_next_one_goes_on(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(50))
    pipeline.load([tmp_path])
    steps: list[str] = []

    def stop_when_placing() -> bool:
        return "place" in steps or "keep positions" in steps

    with pytest.raises(Cancelled):
        pipeline.index(progress=lambda step, _done, _total: steps.append(step), should_stop=stop_when_placing)
    done = pipeline.index()
    assert (done.embedded, done.rows) == (0, 50)
    verified(pipeline)


def test_an_unknown_dataset_is_named_with_those_there_are(pipeline: Pipeline, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines(3))
    pipeline.load([tmp_path])
    with pytest.raises(NotFound, match=r"no dataset 'other'; there are: default"):
        pipeline.verify("other")


class Service:
    """A real embedding service on loopback that can be down, or choke on one text."""

    def __init__(self) -> None:
        self.is_down = False
        self.poison = "\0never"
        self.calls: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.calls.append(len(body["input"]))
                is_bad = outer.is_down or any(outer.poison in text for text in body["input"])
                data = [
                    {"index": i, "embedding": (np.ones(8) * 0.1 + np.eye(8)[len(text) % 8]).tolist()}
                    for i, text in enumerate(body["input"])
                ]
                raw = orjson.dumps({"error": "overloaded"} if is_bad else {"data": data})
                self.send_response(503 if is_bad else 200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def uri(self) -> str:
        return f"openai://test?base_url=http://127.0.0.1:{self.server.server_port}/v1&dimensions=8"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.close()


def test_a_service_that_is_down_fails_the_run_with_its_name_and_the_next_run_goes_on(
    make: MakePipeline, tmp_path: Path, service: Service
) -> None:
    pipeline = make(model=service.uri, embed=EmbedSettings(retries=2, backoff_s=0.01))
    write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "a.jsonl"])
    service.is_down = True
    with pytest.raises(ServiceUnavailable, match="down"):
        pipeline.index()
    assert len(service.calls) >= 3
    assert pipeline.store.runs.last("default", "index").state == "failed"  # type: ignore[union-attr]
    service.is_down = False
    assert pipeline.index().rows == 30
    verified(pipeline)


@pytest.mark.parametrize("requested", ["recompute", "retry_failed"])
def test_what_is_requested_of_a_running_index_is_left_to_the_next_one(
    pipeline: Pipeline, tmp_path: Path, requested: str
) -> None:
    write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "a.jsonl"])
    pipeline.index()
    leases = pipeline.store.leases
    with Heartbeat(leases, leases.acquire(lease_name("default"), "another")):
        done_by = rf"\(another, .* That index, or else the next one, does {requested} as well"
        with pytest.raises(LeaseHeld, match=done_by):
            pipeline.index(**{requested: True})
        with pytest.raises(LeaseHeld, match=r"without another\)\.$"):
            pipeline.index()
    refused = pipeline.store.runs.last("default", "index")
    assert refused is not None
    assert refused.state == "cancelled", "another index does the work: nothing failed"
    assert pipeline.index().step == ("refit" if requested == "recompute" else "none")
    assert pipeline.index().step == "none", "once is enough"


def test_an_index_that_is_refused_while_another_one_ends_is_not_lost(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "a.jsonl"])
    release, requests = pipeline.store.leases.release, pipeline.store.index_requests
    refused: list[str] = []

    def refuse_one_then_release(fence: Fence) -> None:
        if not refused:
            refused.append("an index that found the lease held")
            write(tmp_path / "b.jsonl", lines(10))
            pipeline.load([tmp_path / "b.jsonl"])
            requests.add("default")
        release(fence)

    monkeypatch.setattr(pipeline.store.leases, "release", refuse_one_then_release)
    assert pipeline.index().rows == 40
    assert not requests.open("default").ids


def test_a_run_without_prefect_sends_heartbeats(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_recorder, "heartbeat_s", 0.01)
    write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "a.jsonl"])
    seen: set[tuple[str, int]] = set()

    def watch(step: str, done: int, total: int) -> None:
        deadline = time.monotonic() + 10
        while step == "embed" and not seen and time.monotonic() < deadline:
            seen.update((run.step, run.done) for run in pipeline.store.runs.active("index") if run.step == "embed")

    pipeline.index(progress=watch)
    assert {step for step, _ in seen} == {"embed"}


@pytest.mark.slow
def test_batches_can_be_embedded_by_other_processes(make: MakePipeline, tmp_path: Path) -> None:
    """From settings, names and numbers alone, as another machine would."""
    pipeline = make(model="hash://16")
    texts = [item | {"text": f"{item['text']} {'and so on ' * 40 * (n % 50)}"} for n, item in enumerate(lines(3_000))]
    write(tmp_path / "a.jsonl", texts)
    pipeline.load([tmp_path / "a.jsonl"])
    store, settings = pipeline.store, pipeline.settings
    inputs = IndexInputs(
        store=store,
        embedder=wiring.open_embedder(settings, "default"),
        projector=wiring.open_projector(settings),
        settings=settings,
        dataset="default",
        owner="this process",
        requested=IndexRequest(),
    )
    spawn = multiprocessing.get_context("spawn")
    with open_index(inputs) as context, ProcessPoolExecutor(2, mp_context=spawn) as pool:
        plan = make_plan(context, is_first=True)
        assert len(plan.batches) > 2
        embed = partial(wiring.embed_batch, settings, "default", context.target.fence.token)
        outcomes = list(pool.map(embed, plan.batches))
        assert sum(outcomes, EmbedOutcome()).embedded == plan.n_texts
        assert make_plan(context, is_first=False).n_texts == 0
        with pytest.raises(LeaseLost):
            pool.submit(wiring.embed_batch, settings, "default", context.target.fence.token + 1, stale(plan)).result()
    assert pipeline.index().embedded == 0
    verified(pipeline)


def stale(plan: Plan) -> EmbedBatch:
    """A batch with a text that has no vector."""
    first = plan.batches[0]
    return replace(first, seqs=first.seqs[:1], digests=(b"0" * 16,))


class Listener:
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def __call__(self, step: str, done: int, total: int) -> None:
        self.steps.append(step)

    def tokens(self, done: int, total: int) -> None:
        self.counts.append((done, total))


class CountingWords:
    identity = "counting words"
    dim = 8

    def embed(self, texts: Sequence[str]) -> Embedded:
        vectors = np.stack([hash_vector(text, self.dim) for text in texts])
        return Embedded(vectors=vectors, n_tokens=sum(len(text.split()) for text in texts))


def test_who_listens_for_tokens_hears_how_many_there_were_and_will_be(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.wiring.open_embedder", lambda *_: CountingWords())
    items = [item | {"text": f"{item['text']} {'and so on ' * (n % 30)}"} for n, item in enumerate(lines(1_500))]
    write(tmp_path / "a.jsonl", items)
    pipeline.load([tmp_path])
    listener = Listener()
    pipeline.index(progress=listener)
    assert len(listener.counts) == listener.steps.count("embed") > 3
    done, foreseen = zip(*listener.counts, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == foreseen[-1] > 1_500
    assert all(0.3 * done[-1] < total < 3 * done[-1] for total in foreseen)


def test_a_recompute_that_is_asked_for_while_an_index_is_at_work_is_done_by_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", lines(30))
    pipeline.load([tmp_path / "a.jsonl"])
    asked: list[str] = []

    def ask_once(step: str, done: int, total: int) -> None:
        if step == "embed" and not asked:
            asked.append(step)
            pipeline.store.index_requests.add("default", recompute=True)

    done = pipeline.index(progress=ask_once)
    assert (done.step, done.layout, done.rows) == ("fit", 2, 30)
    verified(pipeline)


def test_a_poison_text_is_singled_out_and_the_rest_goes_on(
    make: MakePipeline, tmp_path: Path, service: Service
) -> None:
    pipeline = make(model=service.uri, embed=EmbedSettings(retries=1, backoff_s=0.01))
    poisoned = [{**line, "text": "POISON here"} if i in {3, 17} else line for i, line in enumerate(lines(30))]
    write(tmp_path / "a.jsonl", poisoned)
    pipeline.load([tmp_path / "a.jsonl"])
    service.poison = "POISON"
    done = pipeline.index()
    assert (done.rows, done.failed) == (28, 2)
    assert {failure["filename"] for failure in pipeline.failed()} == {"a.jsonl"}
    assert pipeline.index().step == "none"  # it is not tried again unasked
    service.poison = "\0never"
    assert pipeline.index(retry_failed=True).rows == 30
    assert pipeline.failed() == []
    verified(pipeline)
