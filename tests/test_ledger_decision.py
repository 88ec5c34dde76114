"""Every way in which a source can be found again."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest
from shelf import QUIET, Shelf, generic, jsonl

from components.contracts import Cursor
from components.sources.cursors import is_unchanged
from components.sources.files import FileSource
from components.sources.fingerprints import CHAIN_BYTES, Fingerprint, resume_start
from components.sources.opener import inode_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    path.write_bytes(jsonl(*generic(2_000)))
    return path


@pytest.fixture
def shelf(log: Path) -> Shelf:
    shelf = Shelf()
    assert shelf.load(log).action == "read"
    assert len(shelf.records) == 2_000
    return shelf


def test_an_unchanged_file_is_skipped_without_being_opened(shelf, log):
    log.chmod(0)
    assert shelf.decide(log).action == "skip"


def test_a_file_that_was_only_touched_is_skipped(shelf, log):
    os.utime(log)
    assert shelf.decide(log).action == "skip"


def test_an_appended_file_is_resumed_and_gives_only_what_is_new(shelf, log):
    with log.open("ab") as file:
        file.write(jsonl(*generic(3, start=2_000)))
    before = shelf.n_batches
    assert shelf.load(log).action == "resume"
    assert len(shelf.records) == 2_003
    assert shelf.n_batches == before + 1


def test_a_partial_last_line_waits_and_is_read_once_it_is_complete(shelf, log):
    with log.open("ab") as file:
        file.write(b'{"iteration": 5000, "type": "user", "te')
    shelf.load(log)
    assert "not complete" in shelf.waits
    assert len(shelf.records) == 2_000
    assert shelf.load(log).action == "resume"
    assert shelf.waits
    with log.open("ab") as file:
        file.write(b'xt": "late"}\n')
    shelf.load(log)
    assert not shelf.waits
    assert not shelf.defects
    assert shelf.texts[-1] == "late"


def test_a_truncated_file_is_read_again(shelf, log):
    log.write_bytes(jsonl(*generic(10)))
    assert shelf.decide(log).action == "read"


def test_a_file_rewritten_longer_is_read_again(shelf, log):
    log.write_bytes(jsonl(*generic(3_000, start=7)))
    assert shelf.decide(log).action == "read"


def test_a_file_replaced_by_another_is_read_again(shelf, log):
    other = log.with_suffix(".new")
    other.write_bytes(log.read_bytes().replace(b"text 1000", b"TEXT 1000"))
    other.replace(log)
    assert shelf.decide(log).action == "read"


def test_an_edit_in_the_middle_of_equal_size_is_seen_by_verify(shelf, log):
    edited = log.read_bytes().replace(b"text 1000", b"TEXT 1000")
    with log.open("r+b") as file:
        file.write(edited)
    assert shelf.decide(log).action == "skip"
    assert shelf.decide(log, verify=True).action == "read"


def test_a_time_that_was_set_back_hides_no_change(shelf, log):
    info = log.stat()
    with log.open("r+b") as file:
        file.write(b'{"iteration":9')
    os.utime(log, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert shelf.decide(log).action == "read"


def test_verify_skips_what_is_really_unchanged(shelf, log):
    assert shelf.decide(log, verify=True).action == "skip"


def test_a_renamed_file_is_known_by_its_content(shelf, log):
    moved = log.rename(log.with_name("run.1.jsonl"))
    assert shelf.decide(moved).action == "skip"


def test_a_renamed_and_grown_file_is_resumed(shelf, log):
    moved = log.rename(log.with_name("run.1.jsonl"))
    with moved.open("ab") as file:
        file.write(jsonl(*generic(1, start=9_000)))
    assert shelf.decide(moved).action == "resume"


def test_another_file_with_equal_ends_is_no_rename(shelf, log):
    other = log.with_name("other.jsonl")
    other.write_bytes(log.read_bytes().replace(b"text 1000", b"TEXT 1000"))
    log.unlink()
    assert shelf.decide(other).action == "read"


def test_a_log_that_was_compressed_after_rotation_is_the_same_log(shelf, log):
    packed = log.with_name("run.jsonl.1.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert shelf.decide(packed).action == "skip"


def test_an_empty_cursor_is_like_no_other_source(tmp_path):
    shelf = Shelf()
    first = tmp_path / "a.jsonl"
    first.write_bytes(jsonl({"iteration": 0, "text": "x" * 10}))
    shelf.load(first)
    other = tmp_path / "b.jsonl"
    other.write_bytes(jsonl({"iteration": 0, "text": "y" * 10}))
    assert shelf.decide(other).action == "read"


def test_another_format_than_before_is_read_again(shelf, log):
    shelf.source = FileSource(QUIET, format="plain_text")
    assert shelf.decide(log).action == "read"


def test_a_crash_between_batches_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(jsonl(*generic(1_000)))
    small = QUIET.model_copy(update={"batch_records": 64})
    whole = Shelf(source=FileSource(small))
    whole.load(path)
    broken = Shelf(source=FileSource(small))
    n_loads = 0
    while broken.decide(path).action != "skip":
        broken.load(path, stop_after=3)
        n_loads += 1
    assert n_loads > 3
    assert broken.ids == whole.ids
    assert broken.n_batches == whole.n_batches
    assert broken.entry == whole.entry.__class__(**{**_fields(whole.entry), "generation": broken.entry.generation})


def test_a_document_is_skipped_when_touched_and_read_again_when_changed(tmp_path):
    path = tmp_path / "chat.json"
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    path.write_text(json.dumps({"messages": messages}, indent=1))
    shelf = Shelf()
    shelf.load(path)
    n = len(shelf.records)
    assert n >= 2
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert shelf.decide(path).action == "skip"
    messages.append({"role": "user", "content": "more"})
    path.write_text(json.dumps({"messages": messages}, indent=1))
    assert shelf.load(path).action == "read"
    assert len(shelf.records) == n + 1


def test_a_document_read_halfway_is_resumed_at_its_item(tmp_path):
    path = tmp_path / "chat.json"
    messages = [{"role": "user", "content": f"message {i}"} for i in range(50)]
    path.write_text(json.dumps({"messages": messages}, indent=1))
    small = QUIET.model_copy(update={"batch_records": 8})
    whole, broken = Shelf(source=FileSource(small)), Shelf(source=FileSource(small))
    whole.load(path)
    broken.load(path, stop_after=2)
    assert broken.decide(path).action == "resume"
    broken.load(path)
    assert broken.ids == whole.ids
    assert broken.n_batches == whole.n_batches
    assert broken.decide(path).action == "skip"


@pytest.mark.parametrize("cut", [1, 100, CHAIN_BYTES - 1, CHAIN_BYTES, CHAIN_BYTES + 1, 2 * CHAIN_BYTES + 5_000])
def test_a_fingerprint_resumed_anywhere_is_the_one_of_all_content(cut):
    content = os.urandom(3 * CHAIN_BYTES + 77)
    whole, start = Fingerprint(), Fingerprint()
    whole.feed(content)
    start.feed(content[:cut])
    known = start.prints()
    resumed = Fingerprint.resumed(
        offset=cut, chain=known.chain, head=content[: known.head_bytes], before=content[resume_start(cut) : cut]
    )
    assert resumed.prints() == known
    resumed.feed(content[cut:])
    assert resumed.prints() == whole.prints()


def test_feeding_in_pieces_changes_no_fingerprint():
    content = os.urandom(CHAIN_BYTES * 2 + 3)
    whole, pieces = Fingerprint(), Fingerprint()
    whole.feed(content)
    for at in range(0, len(content), 70_001):
        pieces.feed(content[at : at + 70_001])
    assert whole.prints() == pieces.prints()


def _fields(entry):
    return {name: getattr(entry, name) for name in entry.__slots__}


def _zip(path: Path, members: dict[str, object]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name, json.dumps(value))


@pytest.mark.parametrize("knows_change_times", [True, False])
def test_a_file_replaced_by_one_of_equal_size_and_time_has_changed(tmp_path, knows_change_times):
    """Also where the change time is not known, as of sources that an early version loaded."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(jsonl(*generic(10)))
    source = FileSource(QUIET)
    (before,) = source.discover([str(path)]).locators
    seen = Cursor(
        format="generic",
        size_bytes=before.size_bytes,
        mtime_ns=before.mtime_ns,
        ctime_ns=before.ctime_ns if knows_change_times else 0,
        inode=before.inode,
    )
    assert is_unchanged(before, seen)
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(before.mtime_ns, before.mtime_ns))
    other.replace(path)
    (after,) = source.discover([str(path)]).locators
    assert (after.size_bytes, after.mtime_ns) == (before.size_bytes, before.mtime_ns)
    assert not is_unchanged(after, seen)


def test_an_inode_of_64_bits_fits_the_database():
    assert inode_of(os.stat_result((0, 2**64 - 1, *(0,) * 8))) == 2**63 - 1
