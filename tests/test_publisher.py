"""A publication is complete or absent for its readers, wherever it is interrupted, and clean-up removes only what is old."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from publication import failing, publish, write_pair

from components.errors import LeaseLost, NotFound
from components.publish.install import collect_garbage
from components.snapshot.parts import read_row_groups
from components.snapshot.read import current_number, open_snapshot
from components.snapshot.verify import check_snapshot


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output" / "default"


@pytest.fixture
def published(output):
    parts = write_pair(output / "parts", "a", 0, 5) + write_pair(output / "parts", "b", 5, 3)
    publish(output, 1, parts)
    return parts


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
    from publication import publish, write_pair

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
    for name in {steps}:
        setattr(os, name, dying(name, getattr(os, name)))
    publish(output, 2, [*write_pair(output / "parts", "a", 0, 4), *write_pair(output / "parts", "b", 4, 4)])
    print(count)
"""


def run_child(code):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, check=False
    )


def crash_points(tests, output):
    publish(output, 1, write_pair(output / "parts", "old", 100, 2))
    child = run_child(CRASHING.format(tests=tests, steps=STEPS, output=str(output), at=-1))
    assert child.returncode == 0, child.stderr
    return int(child.stdout)


@pytest.mark.slow
def test_a_publication_killed_at_any_step_is_finished_by_the_next(tmp_path):
    tests = str(Path(__file__).parent)
    for at in range(1, crash_points(tests, tmp_path / "dry") + 1):
        output = tmp_path / str(at)
        publish(output, 1, write_pair(output / "parts", "old", 100, 2))
        child = run_child(CRASHING.format(tests=tests, steps=STEPS, output=str(output), at=at))
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
        from publication import logs_table
        from components.publish.parts import write_logs_part
        folder = Path({str(tmp_path)!r})
        write_logs_part(folder, "a", [logs_table(0, 5)])
        before = (folder / "logs-a.parquet").read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        try:
            write_logs_part(folder, "a", [logs_table(0, 5_000)])
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
