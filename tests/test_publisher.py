import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import LeaseLost, NotFound
from components.publish.install import (
    Manifest,
    check_snapshot,
    collect_garbage,
    current_number,
    drop_rows,
    embeddings_table,
    export,
    logs_schema,
    map_columns,
    merge_parts,
    open_snapshot,
    publish_snapshot,
    records_at,
    rewrite_positions,
    tiers,
    write_embeddings_part,
    write_logs_part,
)
from components.publish.labels import Label
from components.snapshot.parts import (
    FAN_IN,
    MAX_PARTS,
    SMALL_DATASET_ROWS,
    YOUNG_DATASET_ROWS,
    BadPart,
    Part,
    file_sha256,
    read_row_groups,
)

DIM = 8
LABELS = [Label(x=0.0, y=1.0, text="tests, failing", level=0, priority=3.0)]


def ids_of(start, n):
    return [f"{i:032x}" for i in range(start, start + n)]


def logs_table(start, n, extras=()):
    rows = [
        {
            "id": id,
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC) if i % 2 else None,
            "filename": f"run-{i % 3}.jsonl",
            "text": f"text {i} <b>\u00e9\u4e2d",
            "iteration": i,
            "idx_in_iteration": 0,
            "type": ("user", "assistant")[i % 2],
            "projection_x": float(i),
            "projection_y": -float(i),
        }
        | {name: f"{name} {i}" for name, _ in extras}
        for i, id in enumerate(ids_of(start, n), start)
    ]
    return pa.Table.from_pylist(rows, schema=logs_schema(extras))


def unit_vectors(start, n, dim=DIM):
    vectors = np.random.default_rng(start).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def write_pair(parts_folder, name, start, n):
    return [
        write_logs_part(parts_folder, name, [logs_table(start, n)]),
        write_embeddings_part(parts_folder, name, [embeddings_table(ids_of(start, n), unit_vectors(start, n))]),
    ]


def manifest_of(number, parts):
    return Manifest(
        snapshot=number,
        dataset="default",
        layout=1,
        model="hash://8",
        text_settings="0" * 64,
        dim=DIM,
        rows=sum(part.rows for part in parts if part.kind == "logs"),
        parts=parts,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )


def publish(output, number, parts):
    publish_snapshot(output, manifest_of(number, parts), output / "parts", LABELS)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output" / "default"


@pytest.fixture
def published(output):
    parts = write_pair(output / "parts", "a", 0, 5) + write_pair(output / "parts", "b", 5, 3)
    publish(output, 1, parts)
    return parts


def failing(checks):
    return {check.name: check.detail for check in checks if not check.ok}


# --- what readers find ----------------------------------------------------------------------------------------------


def test_a_published_snapshot_keeps_all_its_promises(output, published):
    snapshot = open_snapshot(output)
    assert snapshot.number == current_number(output) == 1
    assert snapshot.manifest == manifest_of(1, [p for k in ("logs", "embeddings") for p in published if p.kind == k])
    assert (output / "current").readlink() == Path("snapshots/000001")
    assert failing(check_snapshot(snapshot.path)) == {}


def test_columns_have_exactly_the_types_of_the_specification(output, published):
    logs = pq.read_schema(open_snapshot(output).logs_files[0])
    assert [(field.name, str(field.type)) for field in logs] == [
        ("id", "string"),
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("filename", "string"),
        ("text", "string"),
        ("iteration", "int32"),
        ("idx_in_iteration", "int32"),
        ("type", "string"),
        ("projection_x", "float"),
        ("projection_y", "float"),
    ]
    embeddings = pq.read_schema(open_snapshot(output).embeddings_files[0])
    assert embeddings.equals(pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32()))]))


def test_polars_reads_what_was_published(output, published):
    logs = pl.read_parquet(output / "current" / "logs" / "*.parquet")
    assert logs["id"].to_list() == ids_of(0, 8)
    assert logs.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert logs.schema["iteration"] == pl.Int32
    assert logs.schema["type"] == pl.String
    vectors = pl.read_parquet(output / "current" / "embeddings" / "*.parquet")
    assert vectors.schema["vector"] == pl.List(pl.Float32)
    np.testing.assert_array_equal(np.array(vectors["vector"].to_list()[:5]), unit_vectors(0, 5).astype(np.float32))


def test_duckdb_reads_what_was_published(output, published):
    with duckdb.connect() as connection:
        logs = connection.sql(f"select * from '{output}/current/logs/*.parquet'")
        assert [str(t) for t in logs.types] == [
            "VARCHAR",
            "TIMESTAMP WITH TIME ZONE",
            "VARCHAR",
            "VARCHAR",
            "INTEGER",
            "INTEGER",
            "VARCHAR",
            "FLOAT",
            "FLOAT",
        ]
        vectors = connection.sql(f"select vector from '{output}/current/embeddings/*.parquet' order by id")
        assert [str(t) for t in vectors.types] == ["FLOAT[]"]
        np.testing.assert_array_equal([row[0] for row in vectors.fetchall()][:5], unit_vectors(0, 5).astype(np.float32))


def test_declared_extras_become_columns_after_the_specified_ones(output):
    extras = [("model", pa.string()), ("tokens", pa.int64())]
    table = logs_table(0, 2).append_column("tokens", pa.array([1, None])).append_column("model", pa.array(["m", None]))
    write_logs_part(output / "parts", "a", [table], extras)
    written = pq.read_table(output / "parts" / "logs-a.parquet")
    assert written.column_names[-2:] == ["model", "tokens"]
    assert written["tokens"].to_pylist() == [1, None]


def test_labels_are_published_as_embedding_atlas_wants_them(output, published):
    labels = pq.read_table(open_snapshot(output).labels_file)
    assert labels.to_pylist() == [
        {"x": 0.0, "y": 1.0, "text": "tests, failing", "content": "tests, failing", "level": 0, "priority": 3.0}
    ]


def test_an_empty_dataset_is_a_valid_snapshot(output):
    publish(output, 1, [write_logs_part(output / "parts", "a", []), write_embeddings_part(output / "parts", "a", [])])
    assert failing(check_snapshot(open_snapshot(output).path)) == {}
    assert pl.read_parquet(output / "current" / "logs" / "*.parquet").height == 0
    assert map_columns(open_snapshot(output))["ids"] == []


def test_a_vector_costs_less_than_800_bytes(output):
    vectors = unit_vectors(0, 2_000, 384)
    part = write_embeddings_part(output / "parts", "a", [embeddings_table(ids_of(0, 2_000), vectors)])
    assert part.size_bytes / 2_000 <= 800


# --- parts ------------------------------------------------------------------------------------------------------------


def test_small_batches_become_few_row_groups(output):
    part = write_logs_part(output / "parts", "a", (logs_table(i, 1) for i in range(50)))
    assert part.rows == 50
    assert pq.read_metadata(output / "parts" / part.file_name).num_row_groups == 1


@pytest.mark.parametrize("column", ["id", "text", "type", "iteration", "projection_x"])
def test_a_null_in_a_required_column_is_refused(output, column):
    table = logs_table(0, 2)
    at = table.column_names.index(column)
    table = table.set_column(at, table.schema.field(at), pa.nulls(2, table.schema.field(at).type))
    with pytest.raises(BadPart, match=column):
        write_logs_part(output / "parts", "a", [table])
    assert list((output / "parts").iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_place_or_vector_that_is_not_finite_is_refused(output, value):
    table = logs_table(0, 1).set_column(7, "projection_x", pa.array([value], pa.float32()))
    with pytest.raises(BadPart, match="finite"):
        write_logs_part(output / "parts", "a", [table])
    vectors = np.full((1, DIM), value, np.float16)
    with pytest.raises(BadPart, match="finite"):
        write_embeddings_part(output / "parts", "a", [embeddings_table(["a"], vectors)])


def test_new_positions_change_nothing_else(output):
    old = write_logs_part(output / "parts", "a", [logs_table(0, 10)])
    new = rewrite_positions(
        output / "parts" / old.file_name,
        output / "parts",
        "a2",
        lambda ids: np.array([[int(id, 16) * 2, 7] for id in ids], np.float32),
    )
    before, after = (pq.read_table(output / "parts" / part.file_name) for part in (old, new))
    assert after.schema == before.schema
    assert after.drop(["projection_x", "projection_y"]) == before.drop(["projection_x", "projection_y"])
    assert after["projection_x"].to_pylist() == [i * 2 for i in range(10)]
    assert after["projection_y"].to_pylist() == [7] * 10


def test_places_of_the_wrong_number_are_refused(output):
    old = write_logs_part(output / "parts", "a", [logs_table(0, 3)])
    with pytest.raises(BadPart, match="shape"):
        rewrite_positions(output / "parts" / old.file_name, output / "parts", "b", lambda ids: np.zeros((1, 2), "f4"))


@pytest.mark.parametrize("kind", ["logs", "embeddings"])
def test_merged_parts_hold_the_same_rows_in_the_same_order(output, kind):
    for name, start in (("a", 0), ("b", 4)):
        write_pair(output / "parts", name, start, 4)
    paths = [output / "parts" / f"{kind}-{name}.parquet" for name in ("a", "b")]
    merged = merge_parts(kind, paths, output / "parts", "ab")
    assert merged.rows == 8
    together = pa.concat_tables([pq.read_table(path) for path in paths])
    assert pq.read_table(output / "parts" / merged.file_name) == together


def test_parts_of_different_columns_are_not_merged(output):
    write_logs_part(output / "parts", "a", [logs_table(0, 1)])
    extras = [("model", pa.string())]
    write_logs_part(output / "parts", "b", [logs_table(1, 1, extras)], extras)
    with pytest.raises(BadPart, match="model"):
        merge_parts("logs", [output / "parts" / f"logs-{n}.parquet" for n in "ab"], output / "parts", "ab")


@pytest.mark.parametrize("kind", ["logs", "embeddings"])
def test_dropped_rows_are_gone_and_the_rest_stays(output, kind):
    write_pair(output / "parts", "a", 0, 6)
    part = drop_rows(kind, output / "parts" / f"{kind}-a.parquet", output / "parts", "a2", set(ids_of(1, 3)) | {"x"})
    assert pq.read_table(output / "parts" / part.file_name)["id"].to_pylist() == [*ids_of(0, 1), *ids_of(4, 2)]
    everything = drop_rows(kind, output / "parts" / part.file_name, output / "parts", "a3", ids_of(0, 6))
    assert everything.rows == 0


# --- tiers ------------------------------------------------------------------------------------------------------------


def compacted(parts, **options):
    by_name = dict(parts)
    for group in tiers(parts, **options):
        at = [name for name, _ in parts].index(group[0])
        assert [name for name, _ in parts[at : at + len(group)]] == group, "only neighbours are merged"
        parts[at : at + len(group)] = [("+".join(group[:1]) + f"x{len(group)}", sum(by_name[n] for n in group))]
    return parts


def test_a_small_dataset_is_one_file_of_each_kind():
    assert tiers([("a", 10)]) == []
    assert tiers([("a", SMALL_DATASET_ROWS - 3), ("b", 1), ("c", 2)]) == [["a", "b", "c"]]


@settings(deadline=None)
@given(st.integers(1, 3_000), st.integers(SMALL_DATASET_ROWS, YOUNG_DATASET_ROWS))
def test_a_young_dataset_is_rewritten_only_for_an_eighth_of_it_or_an_eighth_file(new, old):
    parts = [("old", old)]
    for step in range(20):
        parts.append((str(step), new))
        total, largest = sum(rows for _, rows in parts), max(rows for _, rows in parts)
        if total > YOUNG_DATASET_ROWS:
            break
        is_rewritten = bool(tiers(parts))
        assert is_rewritten == (len(parts) == FAN_IN or 8 * (total - largest) >= total or total <= SMALL_DATASET_ROWS)
        parts = compacted(parts)
        assert len(parts) < FAN_IN


def test_publication_costs_what_is_new():
    parts, rewritten, worst = [], 0, 0
    for step in range(1_000):
        parts.append((str(step), 1_000))
        names = dict(parts)
        cost = sum(names[name] for group in tiers(parts) for name in group)
        rewritten += cost
        worst = max(worst, cost)
        parts = compacted(parts)
        assert len(parts) <= 40
    assert sum(rows for _, rows in parts) == 1_000_000
    assert rewritten <= 4_500_000, "each row is rewritten a few times in the life of a dataset"
    assert worst <= 250_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1, 7, 300, 5_000, 40_000, 130_000, 250_000]), min_size=1, max_size=300))
def test_there_are_never_more_than_a_hundred_parts(sizes):
    parts = []
    for step, size in enumerate(sizes):
        parts = compacted([*parts, (f"p{step}", size)])
        assert len(parts) <= MAX_PARTS
    assert sum(rows for _, rows in parts) == sum(sizes)


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_snapshots_share_the_bytes_of_their_parts(output, published):
    publish(output, 2, published + write_pair(output / "parts", "c", 8, 2))
    first, second = (output / "snapshots" / name / "logs" / "part-00000.parquet" for name in ("000001", "000002"))
    assert first.samefile(second)
    assert open_snapshot(output).manifest.rows == 10


def test_publishing_twice_is_publishing_once(output, published):
    before = (output / "snapshots" / "000001" / "manifest.json").stat().st_mtime_ns
    publish(output, 1, published)
    assert (output / "snapshots" / "000001" / "manifest.json").stat().st_mtime_ns == before
    assert [path.name for path in (output / "snapshots").iterdir()] == ["000001"]


def test_a_late_publisher_does_not_turn_the_dataset_back(output, published):
    publish(output, 2, published)
    with pytest.raises(LeaseLost, match="Snapshot 2"):
        publish(output, 1, published)
    assert current_number(output) == 2


def test_a_published_number_is_not_used_for_other_parts(output, published):
    with pytest.raises(LeaseLost, match="only once"):
        publish(output, 1, published[:2])


def test_before_the_first_publication_there_is_no_snapshot(output):
    assert current_number(output) is None
    with pytest.raises(NotFound, match="runatlas index"):
        open_snapshot(output)


def test_where_links_are_not_to_be_had_files_are_copied_and_a_pointer_file_names_the_newest(output, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    parts = write_pair(output / "parts", "a", 0, 5)
    publish(output, 1, parts)
    publish(output, 2, parts + write_pair(output / "parts", "b", 5, 1))
    assert not (output / "current").exists()
    assert (output / "CURRENT").read_text() == "000002\n"
    assert open_snapshot(output).manifest.rows == 6
    assert failing(check_snapshot(open_snapshot(output).path)) == {}


STEPS = ("link", "fsync", "rename", "replace", "symlink")

CRASHING = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}]
    import test_publisher as t

    count = 0
    def dying(name, real):
        def call(*args, **kwargs):
            global count
            count += 1
            if count == {at}:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call
    output = Path({output!r})
    for name in t.STEPS:
        setattr(os, name, dying(name, getattr(os, name)))
    for start in (0, 4):
        name = "ab"[start // 4]
        t.write_pair(output / "parts", name, start, 4)
    t.publish(output, 2, [t.part_at(output, kind, name) for name in "ab" for kind in ("logs", "embeddings")])
    print(count)
"""


def part_at(output, kind, name):
    """The part as its writer described it, read back."""
    path = output / "parts" / f"{kind}-{name}.parquet"
    return Part(
        kind=kind,
        name=name,
        rows=pq.read_metadata(path).num_rows,
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
    )


def run_child(code):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, check=False
    )


def crash_points(tests, output):
    publish(output, 1, write_pair(output / "parts", "old", 100, 2))
    child = run_child(CRASHING.format(tests=tests, output=str(output), at=-1))
    assert child.returncode == 0, child.stderr
    return int(child.stdout)


@pytest.mark.slow
def test_a_publication_killed_at_any_step_is_finished_by_the_next(tmp_path):
    tests = str(Path(__file__).parent)
    for at in range(1, crash_points(tests, tmp_path / "dry") + 1):
        output = tmp_path / str(at)
        publish(output, 1, write_pair(output / "parts", "old", 100, 2))
        child = run_child(CRASHING.format(tests=tests, output=str(output), at=at))
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert failing(check_snapshot(open_snapshot(output).path)) == {}, "readers see a whole snapshot"
        publish(output, 2, [*write_pair(output / "parts", "a", 0, 4), *write_pair(output / "parts", "b", 4, 4)])
        assert open_snapshot(output).manifest.rows == 8
        assert failing(check_snapshot(open_snapshot(output).path)) == {}
        live = open_snapshot(output).manifest.parts
        collect_garbage(output, keep=1, keep_s=0, live_parts=live, now=time.time() + 1)
        assert sorted(p.name for p in (output / "parts").iterdir()) == sorted(p.file_name for p in live)
        assert [p.name for p in (output / "snapshots").iterdir()] == ["000002"]


class NthCallFails:
    """Makes the n-th call of any of the steps fail with an OSError, as a full or broken disk would."""

    def __init__(self, monkeypatch, n, number):
        self.count, self.n, self.number = 0, n, number
        for name in STEPS:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, real):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == self.n:
                raise OSError(self.number, os.strerror(self.number))
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_at_any_step_leaves_the_old_snapshot(tmp_path, number):
    for n in range(1, 100):
        output = tmp_path / str(n)
        publish(output, 1, write_pair(output / "parts", "old", 100, 2))
        with pytest.MonkeyPatch.context() as patch:
            disk = NthCallFails(patch, n, number)
            with suppress(OSError):
                publish(output, 2, write_pair(output / "parts", "new", 0, 4))
        assert failing(check_snapshot(open_snapshot(output).path)) == {}
        publish(output, 2, write_pair(output / "parts", "new", 0, 4))
        assert failing(check_snapshot(open_snapshot(output).path)) == {}
        assert open_snapshot(output).number == 2
        if disk.count < n:
            assert n > 15, "every step was made to fail once"
            return
    pytest.fail("the steps never ended")


def test_a_part_larger_than_the_disk_leaves_nothing_behind(tmp_path):
    child = run_child(f"""
        import resource, signal, sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}]
        from pathlib import Path
        import test_publisher as t
        folder = Path({str(tmp_path)!r})
        t.write_logs_part(folder, "a", [t.logs_table(0, 5)])
        before = (folder / "logs-a.parquet").read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        try:
            t.write_logs_part(folder, "a", [t.logs_table(0, 5_000)])
        except OSError as error:
            print(error.errno, [p.name for p in folder.iterdir()], before == (folder / "logs-a.parquet").read_bytes())
    """)
    assert child.stdout == f"{errno.EFBIG} ['logs-a.parquet'] True\n", child.stderr


def test_every_file_is_flushed_before_the_name_that_leads_to_it(output, monkeypatch):
    parts = write_pair(output / "parts", "a", 0, 3)
    seen = []
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}
    monkeypatch.setattr(
        os, "fsync", lambda fd: (seen.append(("fsync", str(Path(f"/proc/self/fd/{fd}").readlink()))), real["fsync"](fd))
    )
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, lambda a, b, n=name: (seen.append((n, str(b))), real[n](a, b)))
    publish(output, 1, parts)
    swap = seen.index(("replace", str(output / "current")))
    complete = seen.index(("rename", str(output / "snapshots" / "000001")))
    flushed = {path for call, path in seen[:complete] if call == "fsync"}
    aside = next(path for path in flushed if path.endswith(".tmp") and "/snapshots/000001" in path)
    aside = Path(*Path(aside).parts[: len((output / "snapshots" / "aside").parts)])
    assert {str(aside), str(aside / "logs"), str(aside / "embeddings")} <= flushed
    assert seen.index(("fsync", str(output / "snapshots")), complete) < swap
    assert seen[-1] == ("fsync", str(output))


def test_a_reader_sees_one_consistent_pair_while_snapshots_are_swapped(output):
    parts = write_pair(output / "parts", "p0", 0, 1)
    publish(output, 1, parts)
    stop, seen, torn = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            snapshot = open_snapshot(output)
            logs, vectors = (
                [id for file in files for t in read_row_groups(file, ["id"]) for id in t["id"].to_pylist()]
                for files in (snapshot.logs_files, snapshot.embeddings_files)
            )
            seen.add(snapshot.number)
            if logs != vectors or len(logs) != snapshot.manifest.rows:
                torn.append((snapshot.number, len(logs), len(vectors)))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2, 30):
        parts = parts + write_pair(output / "parts", f"p{number}", number, 1)
        publish(output, number, parts)
    stop.set()
    reader.join()
    assert torn == []
    assert len(seen) > 1


# --- clean-up ---------------------------------------------------------------------------------------------------------


def test_the_last_snapshots_stay_and_older_ones_go(output, published):
    for number in range(2, 6):
        publish(output, number, published)
    removed = collect_garbage(output, keep=3, keep_s=0, live_parts=published, now=time.time() + 1)
    assert sorted(removed) == ["000001", "000002"]
    assert sorted(p.name for p in (output / "snapshots").iterdir()) == ["000003", "000004", "000005"]


def test_a_snapshot_stays_as_long_as_asked_after_it_was_superseded(output, published):
    for number in (2, 3):
        publish(output, number, published)
    long_ago = time.time() - 9_000
    os.utime(output / "snapshots" / "000001" / "manifest.json", (long_ago, long_ago))
    assert collect_garbage(output, keep=1, keep_s=3_600, live_parts=published, now=time.time()) == []
    assert collect_garbage(output, keep=1, keep_s=3_600, live_parts=published, now=time.time() + 4_000) != []


def test_an_open_file_outlives_the_removal_of_its_snapshot(output, published):
    with open_snapshot(output).logs_files[0].open("rb") as held:
        new = write_pair(output / "parts", "new", 50, 2)
        publish(output, 2, new)
        collect_garbage(output, keep=1, keep_s=0, live_parts=new, now=time.time() + 1)
        assert not (output / "parts" / "logs-a.parquet").exists()
        assert pq.read_table(held).num_rows == 5


def test_what_interrupted_runs_left_behind_goes(output, published):
    for leftover in ("snapshots/000009.tmp/logs", "snapshots/.del-000000-1"):
        (output / leftover).mkdir(parents=True)
    for leftover in ("parts/logs-orphan.parquet", "parts/.logs-x.parquet.1.tmp"):
        (output / leftover).touch()
    assert collect_garbage(output, keep=1, keep_s=3_600, live_parts=published, now=time.time()) == []
    removed = collect_garbage(output, keep=1, keep_s=0, live_parts=published, now=time.time() + 1)
    assert sorted(removed) == [".del-000000-1", ".logs-x.parquet.1.tmp", "000009.tmp", "logs-orphan.parquet"]
    assert failing(check_snapshot(open_snapshot(output).path)) == {}


# --- checks, export, look-up ------------------------------------------------------------------------------------------


def damage(path):
    """Another file in its place: the parts of a snapshot share their bytes with `parts/`."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_a_changed_part_is_found(output, published):
    damage(open_snapshot(output).logs_files[1])
    assert (
        "logs/part-00001.parquet"
        in failing(check_snapshot(open_snapshot(output).path))["parts are the ones in the manifest"]
    )


def test_a_missing_part_and_a_missing_manifest_are_found(output, published):
    snapshot = open_snapshot(output)
    snapshot.embeddings_files[0].unlink()
    assert {"parts are the ones in the manifest", "rows are as many as the manifest says"} <= set(
        failing(check_snapshot(snapshot.path))
    )
    (snapshot.path / "manifest.json").unlink()
    assert set(failing(check_snapshot(snapshot.path))) == {"manifest is readable"}


def test_ids_that_differ_between_the_outputs_or_repeat_are_found(output):
    folder = output / "parts"
    logs = write_logs_part(folder, "a", [logs_table(0, 2)])
    other = write_embeddings_part(folder, "a", [embeddings_table(ids_of(1, 2), unit_vectors(0, 2))])
    publish(output, 1, [logs, other])
    name = "ids are unique and equal in both outputs"
    assert failing(check_snapshot(open_snapshot(output).path)) == {name: "logs and embeddings hold different ids"}
    twice = write_embeddings_part(folder, "b", [embeddings_table(ids_of(0, 1) * 2, unit_vectors(0, 2))])
    publish(output, 2, [logs, twice])
    assert failing(check_snapshot(open_snapshot(output).path)) == {name: "1 ids occur more than once in embeddings"}


def test_vectors_that_are_not_of_unit_length_are_found(output):
    logs = write_logs_part(output / "parts", "a", [logs_table(0, 2)])
    halves = embeddings_table(ids_of(0, 2), unit_vectors(0, 2) / np.float16(2))
    publish(output, 1, [logs, write_embeddings_part(output / "parts", "a", [halves])])
    assert list(failing(check_snapshot(open_snapshot(output).path)).values()) == ["2 vectors are not of unit length"]


def test_an_export_is_two_plain_files(output, published, tmp_path):
    files = export(open_snapshot(output), tmp_path / "plain")
    assert [file.name for file in files] == ["logs.parquet", "embeddings.parquet"]
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == ["embeddings.parquet", "logs.parquet"]
    assert pq.read_table(files[0]) == pa.concat_tables([logs_table(0, 5), logs_table(5, 3)])
    assert pl.read_parquet(files[1])["id"].to_list() == ids_of(0, 8)


def test_records_are_found_by_their_row(output, published):
    snapshot = open_snapshot(output)
    assert [record["id"] for record in records_at(snapshot, [6, 0, 6])] == [
        ids_of(6, 1)[0],
        *ids_of(0, 1),
        *ids_of(6, 1),
    ]
    with pytest.raises(NotFound, match="row 8"):
        records_at(snapshot, [8])


def test_map_columns_hold_what_a_page_draws(output, published):
    columns = map_columns(open_snapshot(output))
    assert columns["ids"] == ids_of(0, 8)
    np.testing.assert_array_equal(columns["x"], np.arange(8, dtype=np.float32))
    assert [columns["types"][code] for code in columns["type"]] == ["user", "assistant"] * 4
    assert [columns["filenames"][code] for code in columns["filename"]] == [f"run-{i % 3}.jsonl" for i in range(8)]
    moment = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    np.testing.assert_array_equal(columns["timestamp"], [np.nan, moment] * 4)
