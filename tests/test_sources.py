"""Sources: what they name, how they are opened and recognised, and what bad input becomes."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import sqlite3
import time
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelf import DATA, LOGS, QUIET, Shelf, corpus, generic, jsonl, loaded

from components.contracts import Event
from components.errors import BadSetting, NotReady, TooLarge, UnknownFormat, Unreadable
from components.locations import without_credentials
from components.settings import LoadSettings
from components.sources import zips
from components.sources.cleaning import clean_text
from components.sources.discover import discover
from components.sources.files import FileSource
from components.sources.formats.contract import Format, accept
from components.sources.opener import open_file

SOURCE = FileSource(QUIET)


def keys(*specs: object) -> list[str]:
    return [locator.key for locator in SOURCE.discover([str(spec) for spec in specs]).locators]


def write(path: Path, content: bytes = b"{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- discover --------------------------------------------------------------------------------------------------


def test_a_key_is_the_path_below_the_folder_file_or_glob_that_was_named(tmp_path):
    file = write(tmp_path / "a" / "b" / "c.jsonl")
    assert keys(tmp_path) == ["a/b/c.jsonl"]
    assert keys(tmp_path / "a") == ["b/c.jsonl"]
    assert keys(file) == ["c.jsonl"]
    assert keys(tmp_path / "a" / "*" / "*.jsonl") == ["b/c.jsonl"]
    assert keys(tmp_path / "**" / "*.jsonl") == ["a/b/c.jsonl"]


def test_a_file_named_twice_comes_once(tmp_path):
    file = write(tmp_path / "a.jsonl")
    assert keys(tmp_path, file, tmp_path / "*") == ["a.jsonl"]


def test_links_in_a_loop_do_no_harm_and_a_linked_file_keeps_its_own_path(tmp_path):
    write(tmp_path / "real" / "a.jsonl")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "0-first").symlink_to(tmp_path / "real" / "a.jsonl")
    (tmp_path / "real" / "self").symlink_to("self")
    assert keys(tmp_path) == ["real/a.jsonl"]


def test_a_link_that_leads_nowhere_or_to_itself_ends_nothing(tmp_path):
    (tmp_path / "a-self").symlink_to("a-self")
    (tmp_path / "b-ping").symlink_to("c-pong")
    (tmp_path / "c-pong").symlink_to("b-ping")
    (tmp_path / "d-nowhere").symlink_to("missing")
    for n in range(3):
        write(tmp_path / f"z{n}" / "a.jsonl")
        (tmp_path / f"z{n}" / "self").symlink_to("self")
    expected = ["z0/a.jsonl", "z1/a.jsonl", "z2/a.jsonl"]
    for spec in (tmp_path, tmp_path / "**" / "*.jsonl", tmp_path / "*" / "*"):
        found = SOURCE.discover([str(spec)])
        assert [locator.key for locator in found.locators] == expected
        assert found.problems == []


def test_what_a_link_names_outside_of_the_root_is_not_read(tmp_path, caplog):
    write(tmp_path / "elsewhere" / "secret.jsonl")
    root = tmp_path / "root"
    write(root / "own" / "a.jsonl")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "file.jsonl").symlink_to(tmp_path / "elsewhere" / "secret.jsonl")
    (root / "own" / "up").symlink_to(tmp_path)
    for spec in ("", "**/*.jsonl", "*/*.jsonl", "fol[d]er/secret*", "*", "**", "*/up/elsewhere/*.jsonl"):
        inside = [] if spec in {"fol[d]er/secret*", "*", "*/up/elsewhere/*.jsonl"} else ["own/a.jsonl"]
        caplog.clear()
        found = SOURCE.discover([str(root / spec)])
        assert [locator.key for locator in found.locators] == inside, spec
        reported = caplog.text + "".join(problem.reason for problem in found.problems)
        assert "give it as a source of its own" in reported, spec


def test_a_link_is_followed_where_the_root_itself_names_it(tmp_path):
    write(tmp_path / "elsewhere" / "a.jsonl")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file.jsonl").symlink_to(tmp_path / "elsewhere" / "a.jsonl")
    assert keys(tmp_path / "folder") == ["a.jsonl"]
    assert keys(tmp_path / "folder" / "*.jsonl") == ["a.jsonl"]
    assert keys(tmp_path / "file.jsonl") == ["file.jsonl"]


def test_a_link_within_the_root_is_followed(tmp_path):
    write(tmp_path / "runs" / ".hidden" / "a.jsonl")
    (tmp_path / "runs" / "latest").symlink_to(".hidden")
    assert keys(tmp_path) == ["runs/latest/a.jsonl"]
    assert keys(tmp_path / "*" / "la*" / "a.jsonl") == ["runs/latest/a.jsonl"]


def test_a_folder_that_can_not_be_listed_is_named_and_the_others_are_read(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs another user to be refused")
    write(tmp_path / "logs" / "closed" / "b.jsonl")
    write(tmp_path / "logs" / "open" / "a.jsonl")
    (tmp_path / "logs" / "closed").chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    os.seteuid(65_534)
    try:
        found = [SOURCE.discover([str(tmp_path / "logs" / spec)]) for spec in ("", "*/*.jsonl")]
    finally:
        os.seteuid(0)
    for one in found:
        assert [locator.key for locator in one.locators] == ["open/a.jsonl"]
        assert [Path(problem.source).name for problem in one.problems] == ["closed"]
        assert "Permission denied" in one.problems[0].reason


def test_hidden_names_are_left_out_unless_they_are_what_was_named(tmp_path):
    write(tmp_path / ".claude" / "projects" / "a.jsonl")
    write(tmp_path / ".hidden.jsonl")
    assert keys(tmp_path / ".claude" / "projects") == ["a.jsonl"]
    assert keys(tmp_path) == []


def test_what_is_not_there_is_a_problem_and_the_rest_goes_on(tmp_path):
    write(tmp_path / "a.jsonl")
    (tmp_path / "empty").mkdir()
    found = SOURCE.discover([str(tmp_path / name) for name in ("missing", "empty", "*.none", "a.jsonl")])
    assert [locator.key for locator in found.locators] == ["a.jsonl"]
    assert [Path(problem.source).name for problem in found.problems] == ["missing", "empty", "*.none"]


def test_a_pipe_is_no_source_and_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert SOURCE.discover([str(tmp_path / "pipe")]).problems


def test_a_locator_has_what_the_directory_shows(tmp_path):
    file = write(tmp_path / "a.jsonl", b"12345")
    (locator,) = SOURCE.discover([str(tmp_path)]).locators
    info = file.stat()
    assert (locator.size_bytes, locator.mtime_ns, locator.inode) == (5, info.st_mtime_ns, info.st_ino)


# --- opening ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress,
        lambda raw: gzip.compress(raw[:1_000]) + gzip.compress(raw[1_000:]),
        zstandard.compress,
        lambda raw: zstandard.compress(raw[:1_000]) + zstandard.compress(raw[1_000:]),
        lambda raw: codecs.BOM_UTF8 + raw,
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: raw.decode().encode("utf-16-le"),
        lambda raw: raw.decode().encode("utf-16-be"),
        lambda raw: gzip.compress(raw.decode().encode("utf-16")),
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r"),
        lambda raw: raw.replace(b"\n", b"\r\n", 7),
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b"\n", b"\n\n  \n"),
    ],
    ids=[
        *("gzip", "gzips", "zstd", "zstds", "bom", "utf16", "utf16le", "utf16be", "utf16gz"),
        *("crlf", "cr", "mixed", "no-last-newline", "blanks"),
    ],
)
def test_the_packing_makes_no_difference_to_the_records(tmp_path, packed):
    raw = jsonl(*generic(200))
    plain = loaded(write(tmp_path / "plain" / "a.jsonl", raw))
    other = loaded(write(tmp_path / "packed" / "a.jsonl", packed(raw)))
    assert len(plain.records) == 200
    assert other.records == plain.records
    assert not other.defects
    assert not other.waits


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_packed_file_cut_short_gives_whole_lines_and_later_the_rest(tmp_path, pack):
    raw = jsonl(*[{**item, "noise": os.urandom(40).hex()} for item in generic(20_000)])
    packed = pack(raw)
    path = write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2])
    shelf = loaded(path)
    assert 0 < len(shelf.records) < 20_000
    assert "stops before its end" in shelf.waits
    assert not shelf.defects
    path.write_bytes(packed)
    assert shelf.load(path).action == "resume"
    assert shelf.texts == [f"text {i}" for i in range(20_000)]


def test_a_damaged_packed_file_gives_what_comes_before_the_damage(tmp_path):
    raw = jsonl(*[{**item, "noise": os.urandom(40).hex()} for item in generic(20_000)])
    packed = bytearray(gzip.compress(raw))
    packed[len(packed) // 2 : len(packed) // 2 + 2_000] = b"\xff" * 2_000
    shelf = loaded(write(tmp_path / "a.jsonl.gz", bytes(packed)))
    assert 0 < len(shelf.records) < 20_000
    assert "damaged" in shelf.defects[-1].reason


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_bomb_is_refused(tmp_path, pack):
    path = write(tmp_path / "bomb.gz", pack(b"a" * (80 << 20)))
    with pytest.raises(Unreadable, match="bomb"):
        loaded(path)


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", bytes(80 << 20))
    with pytest.raises(Unreadable, match="bomb"):
        loaded(path)


def test_a_file_that_may_not_be_opened_is_named(tmp_path):
    with pytest.raises(Unreadable, match="can't be opened"):
        list(SOURCE.read(replace(Shelf().locator(write(tmp_path / "a.jsonl")), location="/no/such/file"), None))


# --- archives --------------------------------------------------------------------------------------------------


def _events(name, document, _):
    for idx, text in enumerate(document["texts"]):
        yield Event(iteration=0, idx_in_iteration=idx, type="user", text=text, run=name)


ARCHIVE = Format(
    name="texts",
    shape="archive",
    recognises=lambda head: accept("a test"),
    takes=lambda name: name.startswith("runs/"),
    read_member=_events,
)


@pytest.fixture
def archives(monkeypatch):
    monkeypatch.setattr("components.sources.recognition.recognise.FORMATS", (ARCHIVE,))


def _zip(path: Path, members: dict[str, list[str]], mode: str = "w", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, mode, method) as archive:
        for name, texts in members.items():
            archive.writestr(name, json.dumps({"texts": texts}))
    return path


def _zstd_zip(path: Path, members: dict[str, list[str]]) -> Path:
    """An archive with members packed by method 93, patched from a stored one."""
    plain = {name: json.dumps({"texts": texts}).encode() for name, texts in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in plain.items():
            archive.writestr(name, zstandard.compress(raw))
    content = bytearray(path.read_bytes())
    for signature, at_method, at_crc, at_size in ((b"PK\x03\x04", 8, 14, 22), (b"PK\x01\x02", 10, 16, 24)):
        at = -1
        for raw in plain.values():
            at = content.index(signature, at + 1)
            content[at + at_method : at + at_method + 2] = (93).to_bytes(2, "little")
            content[at + at_crc : at + at_crc + 4] = zlib.crc32(raw).to_bytes(4, "little")
            content[at + at_size : at + at_size + 4] = len(raw).to_bytes(4, "little")
    return write(path, bytes(content))


def test_members_are_read_once_each(tmp_path, archives):
    path = _zip(tmp_path / "a.eval", {"runs/1.json": ["a", "b"], "other.json": ["no"]})
    shelf = loaded(path)
    assert shelf.texts == ["a", "b"]
    assert {record.filename for record in shelf.records.values()} == {"a.eval#runs/1.json"}
    _zip(path, {"runs/2.json": ["c"]}, mode="a")
    assert shelf.load(path).action == "resume"
    assert shelf.texts == ["a", "b", "c"]
    os.utime(path)
    assert shelf.decide(path).action == "skip"


def test_a_member_that_was_rewritten_makes_the_archive_be_read_again(tmp_path, archives):
    shelf = loaded(_zip(tmp_path / "a.eval", {"runs/1.json": ["a", "b"]}))
    assert shelf.load(_zip(tmp_path / "a.eval", {"runs/1.json": ["a", "b", "c"]})).action == "read"
    assert shelf.texts == ["a", "b", "c"]


def test_members_packed_by_zstd_are_read(tmp_path, archives):
    shelf = loaded(_zstd_zip(tmp_path / "a.eval", {"runs/1.json": ["a" * 50, "b"], "runs/2.json": ["c"]}))
    assert shelf.texts == ["a" * 50, "b", "c"]
    assert not shelf.defects


@pytest.mark.parametrize("maker", [_zip, _zstd_zip])
def test_an_archive_cut_short_gives_its_whole_members_and_later_the_rest(tmp_path, archives, maker):
    members = {f"runs/{n}.json": [f"{n} {os.urandom(20).hex()}"] for n in range(5)}
    whole = maker(tmp_path / "a.eval", members).read_bytes()
    cut = whole.index(b"runs/3.json") + 20
    path = write(tmp_path / "a.eval", whole[:cut])
    shelf = loaded(path)
    assert len(shelf.records) == 3
    assert "no directory" in shelf.waits
    assert shelf.load(path).action == "resume"
    assert "no directory" in shelf.waits
    path.write_bytes(whole)
    assert shelf.load(path).action == "resume"
    assert shelf.texts == [texts[0] for texts in members.values()]
    assert not shelf.waits


def test_members_whose_sizes_follow_them_are_recovered_too(tmp_path):
    path = tmp_path / "a.zip"
    with path.open("wb") as file, zipfile.ZipFile(_NoSeek(file), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", '{"texts": ["' + os.urandom(5_000).hex() + '"]}')
        archive.writestr("b.json", "{}")
    whole = path.read_bytes()
    with open_file(str(path)) as opened:
        members = zips.listing(opened).members
    path.write_bytes(whole[: whole.index(b"PK\x01\x02")])
    with open_file(str(path)) as opened:
        found = zips.listing(opened)
        assert not found.whole
        assert list(found.members) == list(members)
        assert zips.content(opened, found.members[1], 100) == b"{}"


class _NoSeek:
    """A file that can only be written to, as a pipe is."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def test_a_damaged_member_is_a_defect_and_the_others_are_read(tmp_path, archives):
    path = _zip(tmp_path / "a.eval", {"runs/1.json": ["a" * 30], "runs/2.json": ["b"]}, method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"axaa", 1))
    shelf = loaded(path)
    assert shelf.texts == ["b"]
    assert "checksum" in shelf.defects[0].reason


def test_an_archive_without_end_mark_waits_until_it_is_quiet(tmp_path, archives):
    shelf = loaded(_zip(tmp_path / "a.eval", {"runs/1.json": ["a"]}), settings=LoadSettings(quiet_s=3_600))
    assert "may still be written" in shelf.waits
    assert not shelf.records


def test_a_crash_within_a_member_goes_on_where_it_stopped(tmp_path, archives):
    path = _zip(tmp_path / "a.eval", {f"runs/{n}.json": [f"{n}.{i}" for i in range(10)] for n in range(3)})
    small = QUIET.model_copy(update={"batch_records": 4})
    broken, whole = Shelf(source=FileSource(small)), loaded(path, settings=small)
    while broken.decide(path).action != "skip":
        broken.load(path, stop_after=1)
    assert broken.texts == whole.texts
    assert broken.n_batches == whole.n_batches


# --- completeness ----------------------------------------------------------------------------------------------


def test_a_document_that_does_not_parse_yet_waits(tmp_path):
    path = write(tmp_path / "a.json", b'{"messages": [{"role": "user", "content": "he')
    assert "stops before its end" in loaded(path).waits


def test_a_document_without_end_mark_waits_until_it_is_quiet(tmp_path):
    content = json.dumps({"messages": [{"role": "user", "content": "hi"}]}, indent=1).encode()
    path = write(tmp_path / "a.json", content)
    clock = path.stat().st_mtime + 1
    shelf = Shelf(source=FileSource(LoadSettings(quiet_s=2), now=lambda: clock))
    shelf.load(path)
    assert shelf.waits.endswith("A later load reads it once it has not changed for 2 s (load.quiet_s).")
    assert not shelf.records
    clock += 2
    shelf.load(path)
    assert shelf.texts == ["hi"]


def test_a_new_file_that_nothing_recognises_is_looked_at_again(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"what": 1}\n')
    with pytest.raises(NotReady):
        list(FileSource(LoadSettings(quiet_s=3_600)).read(Shelf().locator(path), None))


WHOLE = sorted(path for path in (Path(__file__).parent / "data").glob("*/*") if ".expected." not in path.name)
WHOLE = [path for path in WHOLE if path.suffix != ".md"]


@pytest.mark.parametrize("named", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("golden", WHOLE, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_log_that_grows_line_by_line_from_one_document_keeps_its_ids(tmp_path, golden, named):
    try:
        first = orjson.loads(golden.read_bytes())
    except orjson.JSONDecodeError:
        first = orjson.loads(golden.read_bytes().splitlines()[0])
    lines = [orjson.dumps(item) for item in (first, first, {**first, "id": 2} if isinstance(first, dict) else first)]
    content, steps = b"\n".join(lines), [len(lines[0])]
    steps += [steps[0] + 1, steps[0] + 2, steps[0] + len(lines[1]) // 2, 2 * steps[0] + 1, 2 * steps[0] + 2]
    path, shelf = write(tmp_path / named, content), Shelf()
    try:
        whole = loaded(path)
    except UnknownFormat:
        return  # lists of runs, one below the other, are no log
    for end in [*steps, len(content)]:
        path.write_bytes(content[:end])
        with suppress(UnknownFormat):
            shelf.load(path)
    assert shelf.records == whole.records


def test_a_printed_document_that_others_follow_keeps_its_ids(tmp_path):
    run = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, indent=1)
    path = write(tmp_path / "a.jsonl", run.encode())
    shelf = loaded(path)
    path.write_text(f"{run}\n{run.replace('q', 'q2')}")
    shelf.load(path)
    assert [(record.filename, record.text) for record in shelf.records.values()] == [
        *(("a.jsonl", "q"), ("a.jsonl", "a"), ("a.jsonl#1", "q2"), ("a.jsonl#1", "a"))
    ]


@pytest.mark.parametrize(
    ("name", "content", "described"),
    [
        ("a.jsonl", b'{"role": "user\n{"role": "us\n', "JSON lines of which none can be parsed: unexpected end"),
        ("a.log", b'\n{"role": user}\n{"role"\n', r"JSON lines .* at line 2, column 10"),
        ("a.json", b'{\n "a": 3,\n "b"x\n}', r"a JSON document that can't be parsed: .* at line 3, column 5"),
        ("a.jsonl", b"{a,b}\n{1,2}\n", r"JSON lines .* at line 1, column 2"),
        ("a.txt", b"no log\nat all\n", "plain text"),
    ],
)
def test_what_looks_like_json_and_is_none_is_refused_with_its_first_error(tmp_path, name, content, described):
    path = write(tmp_path / name, content)
    with pytest.raises(UnknownFormat, match=f"looks like {described}"):
        loaded(path)
    with pytest.raises(NotReady, match=r"not changed for 3600 s \(load\.quiet_s\)"):
        list(FileSource(LoadSettings(quiet_s=3_600)).read(Shelf().locator(path), None))


# --- bad input -------------------------------------------------------------------------------------------------


def record(**fields: object) -> dict[str, object]:
    return {"iteration": 0, "idx": 0, "type": "user", "text": "x", **fields}


GOOD = orjson.dumps(record(text="good")) + b"\n"

BAD_LINES = {
    "not JSON": b"{nope}\n",
    "half a line": b'{"iteration": 0, "text": "a\n',
    "a number": b"17\n",
    "a string": b'"text"\n',
    "wrong types": b'{"iteration": "one", "text": "a"}\n',
    "a negative iteration": b'{"iteration": -1, "text": "a"}\n',
    "an absurd iteration": b'{"iteration": 99999999999, "text": "a"}\n',
    "no text": b'{"iteration": 0, "idx": 4}\n',
    "nesting": b'{"iteration": 0, "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "binary": bytes(range(11, 256)) + b"\n",
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_a_defect_with_its_place_and_costs_no_other(tmp_path, bad):
    shelf = loaded(write(tmp_path / "a.jsonl", GOOD * 3 + bad + GOOD))
    assert len(shelf.records) == 1  # equal lines share an id before the store counts them
    assert [defect.offset for defect in shelf.defects] == [3 * len(GOOD)]
    assert shelf.defects[0].reason


REPAIRED = {
    "NaN": (b'{"iteration": 0, "text": "a", "score": NaN}\n', "a"),
    "a lone surrogate": (b'{"iteration": 0, "text": "a\\ud800b"}\n', "a\ufffdb"),
    "an escaped NUL": (b'{"iteration": 0, "text": "a\\u0000b"}\n', "a\ufffdb"),
    "NUL before it": (b"\x00" * 4_096 + b'{"iteration": 0, "text": "a"}\n', "a"),
    "a raw control character": (b'{"iteration": 0, "text": "a\tb"}\n', "a\tb"),
    "Latin-1": ('{"iteration": 0, "text": "h\u00f6ren"}\n'.encode("latin-1"), "h\u00f6ren"),
    "one broken byte in UTF-8": (
        '{"iteration": 0, "text": "h\u00f6r\u00e9 '.encode() + b'\xff"}\n',
        "h\u00f6r\u00e9 \ufffd",
    ),
    "an absurd time": (b'{"iteration": 0, "text": "a", "timestamp": "99999-01-01"}\n', "a"),
    "a number as text": (b'{"iteration": 0, "text": 5}\n', "5"),
    "numbers as text": (b'{"iteration": "3", "idx": "1.0", "text": "a"}\n', "a"),
    "an integer beyond 64 bits": (b'{"iteration": 0, "text": "a", "n": 123456789012345678901234567890}\n', "a"),
}


@pytest.mark.parametrize(("line", "text"), REPAIRED.values(), ids=REPAIRED.keys())
def test_what_can_be_repaired_is(tmp_path, line, text):
    shelf = loaded(write(tmp_path / "a.jsonl", GOOD + line))
    assert shelf.texts == ["good", text]
    assert not shelf.defects
    orjson.dumps([dict(record.extra) for record in shelf.records.values()])


def test_an_empty_text_is_no_record_and_no_defect(tmp_path):
    shelf = loaded(write(tmp_path / "a.jsonl", GOOD + b'{"iteration": 0, "text": " \\n "}\n'))
    assert shelf.texts == ["good"]
    assert not shelf.defects
    assert shelf.skipped == {"empty text": 1}


def test_a_line_that_is_too_long_is_a_defect_and_never_held(tmp_path):
    small = QUIET.model_copy(update={"max_item_bytes": 1 << 20})
    long = b'{"iteration": 0, "text": "' + b"a" * (5 << 20) + b'"}\n'
    path = write(tmp_path / "a.jsonl", GOOD + long + GOOD.replace(b"good", b"also"))
    shelf = loaded(path, settings=small)
    assert shelf.texts == ["good", "also"]
    assert [defect.offset for defect in shelf.defects] == [len(GOOD)]
    assert shelf.decide(path, verify=True).action == "skip"


def test_a_line_that_is_too_long_and_still_grows_waits(tmp_path):
    small = QUIET.model_copy(update={"max_item_bytes": 1 << 20})
    path = write(tmp_path / "a.jsonl", GOOD + b'{"iteration": 0, "text": "' + b"a" * (5 << 20))
    shelf = loaded(path, settings=small)
    assert shelf.waits
    assert shelf.entry.cursor.offset == len(GOOD)
    with path.open("ab") as file:
        file.write(b'"}\n' + GOOD.replace(b"good", b"also"))
    shelf.load(path)
    assert shelf.texts == ["good", "also"]
    assert [defect.offset for defect in shelf.defects] == [len(GOOD)]
    assert shelf.decide(path, verify=True).action == "skip"


def test_whether_a_line_is_too_long_does_not_depend_on_where_reading_began(tmp_path):
    """Blocks of a file are read from where the last load stopped, so their ends fall elsewhere in the line."""
    small = QUIET.model_copy(update={"max_item_bytes": (1 << 20) + 1_000})
    long = b'{"iteration": 0, "text": "' + b"a" * ((1 << 20) + 2_000) + b'"}\n'
    for n_before in (0, 1, 10_000):
        path = write(tmp_path / f"{n_before}.jsonl", GOOD + GOOD * n_before + long + GOOD)
        assert [defect.offset for defect in loaded(path, settings=small).defects] == [len(GOOD) * (n_before + 1)]


def test_a_document_beyond_the_limit_is_a_defect_that_names_the_setting(tmp_path):
    small = QUIET.model_copy(update={"max_item_bytes": 100_000})
    messages = [{"role": "user", "content": f"message {i}"} for i in range(5_000)]
    path = tmp_path / "a.json"
    for content in (json.dumps({"messages": messages}), json.dumps({"messages": messages}, indent=1)):
        path.write_text(content)
        reading = FileSource(small).read(Shelf().locator(path), None)
        batches = list(_until_refused(reading))
        assert [defect.reason.partition(" (")[0] for batch in batches for defect in batch.defects] == [
            "The document is larger than 100,000 bytes"
        ]
        assert len(loaded(path).records) == 5_000


def _until_refused(batches):
    with pytest.raises(TooLarge, match=r"load\.max_item_bytes"):
        yield from batches


def test_a_log_beyond_the_limit_that_begins_over_several_lines_is_read(tmp_path):
    small = QUIET.model_copy(update={"max_item_bytes": 100_000})
    printed = json.dumps(generic(1)[0], indent=1).encode() + b"\n"
    path = write(tmp_path / "a.jsonl", printed + jsonl(*generic(4_000, start=1)))
    assert loaded(path, settings=small).texts == [f"text {i}" for i in range(4_001)]


def test_a_long_text_is_cut_with_a_mark(tmp_path):
    small = QUIET.model_copy(update={"max_text_chars": 10})
    shelf = loaded(write(tmp_path / "a.jsonl", jsonl(record(text="0123456789abc"))), settings=small)
    assert shelf.texts == ["0123456789… [3 more characters]"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("\x1b[1;31mFAILED\x1b[0m test_a", "FAILED test_a"),
        ("\x1b[38;5;196mred\x1b[m\x1b[K", "red"),
        ("\x1b]0;title\x07$ ls\x1b[2J", "$ ls"),
        ("\x1b]8;;http://a/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Bplain\x1b=\x1bM", "plain"),
        ("cut \x1b", "cut "),
        ("an array[0m] and [31m", "an array[0m] and [31m"),
    ],
)
def test_a_text_holds_no_ansi_escapes(tmp_path, written, kept):
    shelf = loaded(write(tmp_path / "a.jsonl", jsonl(record(text=written))))
    assert shelf.texts == [kept]


def test_a_tool_call_holds_no_ansi_escapes_that_its_json_spells(tmp_path):
    written = 'bash {"command":"echo \\u001b[31mred\\u001b[0m and \\\\u001b[31m"}'
    call = loaded(write(tmp_path / "a.jsonl", jsonl(record(text=written, type="tool_call"))), format="generic")
    assert call.texts == ['bash {"command":"echo red and \\\\u001b[31m"}']
    assert loaded(write(tmp_path / "b.jsonl", jsonl(record(text=written)))).texts == [written]


@pytest.mark.parametrize("nothing", ["None", "null", " None\n", "\x1b[1mnull\x1b[0m", "\x1b[0m"])
def test_a_text_that_only_prints_nothing_is_no_record_and_is_counted(tmp_path, nothing):
    said = (record(text=nothing), record(text="none"), record(text="None of it"))
    shelf = loaded(write(tmp_path / "a.jsonl", jsonl(*said)), format="generic")
    assert shelf.texts == ["none", "None of it"]
    assert sum(shelf.skipped.values()) == 1
    assert not shelf.defects


def test_base64_becomes_a_short_mark():
    blob = "".join(chr(65 + i % 26) + chr(97 + i % 25) + str(i % 10) for i in range(1_000))
    assert clean_text(f"see {blob}== there", 10_000) == "see [base64, 3002 characters] there"
    assert clean_text("data:image/png;base64," + blob, 10_000) == "[image]"
    assert clean_text("-" * 5_000, 10_000) == "-" * 5_000
    prose = "a sentence about nothing in particular. " * 100
    assert clean_text(prose, 10_000) == prose


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""),
        ("blank.jsonl", b"\n \n"),
        ("zeros.bin", bytes(10_000)),
        ("random.bin", bytes((i * 7919) % 251 for i in range(10_000))),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4),
        ("README.md", b"# Title\n\nSome words about a project.\n\nMore of them.\n"),
        ("main.py", b"import os\n\n\ndef main():\n    print(os.environ)\n"),
        ("words.txt", b"just some words\nand others\n"),
        ("numbers.jsonl", b"1\n2\n3\n"),
        ("config.json", b'{\n "name": "a",\n "version": 1\n}\n'),
        ("table.csv", b"text,label\nhello,1\nthere,2\n"),
    ],
)
def test_what_is_no_log_is_refused_with_every_reason(tmp_path, name, content):
    with pytest.raises(UnknownFormat) as refused:
        loaded(write(tmp_path / name, content))
    assert str(refused.value)


def test_a_format_that_raises_costs_one_item(tmp_path, monkeypatch):
    class Odd:
        def __init__(self, *_):
            pass

        def read(self, item):
            yield Event(iteration=0, idx_in_iteration=0, type="user", text=item["text"])
            if item["text"] == "bad":
                raise KeyError("why")

        def state(self):
            return None

    odd = Format(name="odd", shape="lines", recognises=lambda _: accept("a test"), reader=Odd)
    monkeypatch.setattr("components.sources.recognition.recognise.FORMATS", (odd,))
    shelf = loaded(write(tmp_path / "a.jsonl", jsonl({"text": "a"}, {"text": "bad"}, {"text": "b"})))
    assert shelf.texts == ["a", "b"]
    assert "KeyError" in shelf.defects[0].reason


def test_naive_times_take_the_datasets_zone(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl(record(timestamp="2025-06-01T12:00:00")))
    (record_,) = loaded(path, timezone="Europe/Berlin").records.values()
    assert record_.timestamp == datetime(2025, 6, 1, 10, tzinfo=UTC)


def test_an_unknown_zone_or_format_is_a_wrong_setting(tmp_path):
    with pytest.raises(BadSetting, match="Mars"):
        FileSource(QUIET, timezone="Mars/North")
    with pytest.raises(BadSetting, match="nope"):
        loaded(write(tmp_path / "a.jsonl", GOOD), format="nope")


def test_a_format_can_be_asked_for(tmp_path):
    shelf = loaded(write(tmp_path / "notes.txt", b"one\n\ntwo\nand more\n\nthree\n"), format="plain_text")
    assert shelf.texts == ["one", "two\nand more", "three"]


def test_explain_says_which_format_was_chosen_and_why(tmp_path):
    recognition = SOURCE.explain(str(write(tmp_path / "a.jsonl", GOOD)))
    assert (recognition.format.name, recognition.candidate.kind) == ("generic", "json")
    assert "text" in recognition.reason
    assert "claude_code" in recognition.declined


# --- tables ----------------------------------------------------------------------------------------------------


def test_a_csv_with_the_columns_that_the_settings_name_is_read_and_grows(tmp_path):
    path = write(tmp_path / "a.csv", b'note;when\n"one\nand more";2025-01-01\n"two ""quoted""";\n')
    shelf = loaded(path, columns={"text": "note", "timestamp": "when"})
    assert shelf.texts == ["one\nand more", 'two "quoted"']
    assert [record.idx_in_iteration for record in shelf.records.values()] == [0, 1]
    with path.open("ab") as file:
        file.write(b'"three\nis')
    shelf.source = FileSource(LoadSettings(quiet_s=3_600), columns={"text": "note", "timestamp": "when"})
    shelf.load(path)
    assert shelf.waits
    with path.open("ab") as file:
        file.write(b' whole";2025-01-03\n')
    shelf.load(path)
    assert shelf.texts[2:] == ["three\nis whole"]
    assert not shelf.defects


def test_a_line_end_in_quotes_ends_neither_the_header_nor_a_row(tmp_path):
    raw = b'"the\ntext",n\n"one\ntwo",1\nthree,2\n'
    shelf = loaded(write(tmp_path / "a.csv", raw), columns={"text": "the\ntext"})
    assert shelf.texts == ["one\ntwo", "three"]


def test_a_stray_quote_costs_no_row(tmp_path):
    rows = b'text,n\na 5" pipe,1\nplain,2\nanother 6" one,3\nlast,4\n'
    shelf = loaded(write(tmp_path / "a.csv", rows), columns={"text": "text"})
    assert shelf.texts == ['a 5" pipe', "plain", 'another 6" one', "last"]


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (b'text,n\n"' + b"a\n" * 1_000_000, {"columns": {"text": "text"}}),
        (b"one\n\n" * 30 + b"a\n" * 1_000_000, {"format": "plain_text"}),
    ],
    ids=["CSV", "text"],
)
def test_an_item_of_very_many_lines_takes_no_square_time(tmp_path, content, asked):
    started = time.process_time()
    loaded(write(tmp_path / "a.csv", content), **asked)
    assert time.process_time() - started < 20


def test_a_text_log_goes_on_where_it_stopped(tmp_path):
    path = write(tmp_path / "a.log", b"2025-01-01 10:00:00 INFO one\n  more of it\n2025-01-01 10:00:01 INFO two\n")
    now = path.stat().st_mtime
    shelf = Shelf(source=FileSource(LoadSettings(quiet_s=2), now=lambda: now + 1))
    shelf.load(path)
    assert shelf.texts == ["2025-01-01 10:00:00 INFO one\n  more of it"]
    with path.open("ab") as file:
        file.write(b"  and more\n2025-01-01 10:00:02 ERROR three\n")
    shelf.source.now = lambda: path.stat().st_mtime + 10
    assert shelf.load(path).action == "resume"
    assert shelf.texts[1:] == ["2025-01-01 10:00:01 INFO two\n  and more", "2025-01-01 10:00:02 ERROR three"]


def test_objects_printed_over_several_lines_are_read_one_by_one(tmp_path):
    items = [json.dumps(item, indent=4).encode() + b"\n" for item in generic(5)]
    path = write(tmp_path / "console.json", b"".join(items[:3]) + b"a word between\n" + items[3] + items[4][:30])
    shelf = loaded(path)
    assert shelf.texts == [f"text {n}" for n in range(4)]
    assert len(shelf.defects) == 1
    path.write_bytes(b"".join(items[:3]) + b"a word between\n" + b"".join(items[3:]))
    assert shelf.load(path).action == "resume"
    assert shelf.texts == [f"text {n}" for n in range(5)]
    assert not shelf.waits


def test_a_csv_of_records_needs_no_settings(tmp_path):
    shelf = loaded(write(tmp_path / "a.csv", b"iteration,idx,type,text,tool\n0,0,user,hi,\n1,0,assistant,ho,x\n"))
    assert shelf.texts == ["hi", "ho"]
    assert [dict(record.extra) for record in shelf.records.values()] == [{}, {"tool": "x"}]


def test_a_parquet_file_is_read_in_batches_and_again_when_it_changes(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(n):
        when = [datetime(2025, 1, 1, 0, 0, i % 60, tzinfo=UTC) for i in range(n)]
        return pa.table(
            {"text": [f"text {i}" for i in range(n)], "timestamp": when, "type": ["user"] * n, "n": range(n)}
        )

    path = tmp_path / "a.parquet"
    pq.write_table(table(3_000), path)
    small = QUIET.model_copy(update={"batch_records": 700})
    shelf = Shelf(source=FileSource(small))
    shelf.load(path, stop_after=2)
    assert len(shelf.records) == 1_400
    assert shelf.load(path).action == "resume"
    assert shelf.texts == [f"text {i}" for i in range(3_000)]
    first = next(iter(shelf.records.values()))
    assert (first.timestamp, dict(first.extra)) == (datetime(2025, 1, 1, tzinfo=UTC), {"n": 0})
    assert shelf.decide(path).action == "skip"
    pq.write_table(table(3_001), path)
    assert shelf.load(path).action == "read"
    assert len(shelf.records) == 3_001


def test_a_parquet_file_without_footer_waits(tmp_path):
    assert "footer" in loaded(write(tmp_path / "a.parquet", b"PAR1" + bytes(100))).waits


def test_a_database_table_is_read_on_from_its_last_row(tmp_path):
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, text TEXT, type TEXT, at TEXT)")
        rows = [(f"text {i}", "user", "2025-01-01 00:00:00") for i in range(2_500)]
        connection.executemany("INSERT INTO log (text, type, at) VALUES (?, ?, ?)", rows)
    connection.close()
    spec = f"sqlite:///{tmp_path}/runs.db?table=log&cursor=n"
    source = FileSource(QUIET.model_copy(update={"batch_records": 1_000}), columns={"timestamp": "at"})
    (locator,) = source.discover([spec]).locators
    assert locator.key == "sqlite:///runs.db?table=log"
    batches = list(source.read(locator, None))
    assert [record.text for batch in batches for record in batch.records] == [f"text {i}" for i in range(2_500)]
    assert [len(next(iter(source.read(locator, batch.cursor))).records) for batch in batches] == [1_000, 500, 0]
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("INSERT INTO log (text, type) VALUES ('late', 'user')")
    connection.close()
    (batch,) = source.read(locator, batches[-1].cursor)
    assert [record.text for record in batch.records] == ["late"]


def test_no_secret_of_a_url_is_shown(tmp_path):
    assert without_credentials("postgresql://me:pw@db/app?table=t&password=x") == "postgresql://db/app?table=t"
    (problem,) = SOURCE.discover(["postgresql://me:pw@db/app"]).problems
    assert "pw" not in problem.source + problem.reason
    (locator,) = SOURCE.discover([f"sqlite:///{tmp_path}/none.db?table=t&password=pw"]).locators
    with pytest.raises(Unreadable) as refused:
        list(SOURCE.read(locator, None))
    assert "pw" not in str(refused.value)


# --- properties ------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
items = st.fixed_dictionaries(
    {"iteration": st.integers(-2, 5) | json_values, "text": st.text(max_size=30) | json_values},
    optional={"idx": json_values, "type": json_values, "timestamp": json_values, "run": json_values},
)
lines = items.map(lambda item: json.dumps(item).encode() + b"\n") | st.binary(max_size=40).map(lambda raw: raw + b"\n")
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(content=st.lists(lines, max_size=12).map(b"".join), cut=st.integers(0, 2_000), data=st.data())
def test_reading_in_two_steps_is_reading_at_once(tmp_path_factory, content, cut, data):
    folder = tmp_path_factory.mktemp("steps")
    content = GOOD + content
    cut = min(cut, len(content))
    whole = loaded(write(folder / "whole" / "a.jsonl", content), format="generic")
    path = write(folder / "steps" / "a.jsonl", content[:cut])
    steps = Shelf(source=FileSource(QUIET, format="generic"))
    with suppress(UnknownFormat):
        steps.load(path)
    path.write_bytes(content)
    steps.load(path)
    assert steps.records == whole.records
    assert sorted(d.offset for d in steps.defects) == sorted(d.offset for d in whole.defects)


GOLDEN_LINES = sorted((Path(__file__).parent / "data").glob("*/*.jsonl"))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".log"])
@pytest.mark.parametrize("golden", GOLDEN_LINES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_log_that_grows_line_by_line_is_the_log_read_at_once(tmp_path, golden, suffix):
    """Its first line alone could be a document; names and ids stay what they were all the same."""
    path = tmp_path / (golden.stem + suffix)
    shelf = Shelf()
    lines = golden.read_bytes().splitlines(keepends=True)
    for n in range(1, len(lines) + 1):
        path.write_bytes(b"".join(lines[:n]))
        with suppress(UnknownFormat):
            shelf.load(path)
    assert shelf.records == loaded(path).records


@fuzz
@given(
    content=st.binary(max_size=3_000), name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.log", "a.eval", "a.gz"])
)
def test_any_bytes_are_read_or_refused_but_never_crash(tmp_path_factory, content, name):
    path = write(tmp_path_factory.mktemp("fuzz") / name, content)
    for wanted in (None, "generic", "plain_text"):
        with suppress(UnknownFormat, Unreadable, NotReady):
            loaded(path, format=wanted)


@fuzz
@given(raw=st.binary(max_size=300), at=st.integers(0, 5_000), kind=st.sampled_from(["gzip", "zstd", "zip"]))
def test_damage_anywhere_in_a_packed_file_never_crashes(tmp_path_factory, raw, at, kind):
    folder = tmp_path_factory.mktemp("damage")
    content = jsonl(*generic(100))
    if kind == "zip":
        packed = bytearray(_zip(folder / "z", {f"runs/{i}.json": ["a"] for i in range(9)}).read_bytes())
    else:
        packed = bytearray(gzip.compress(content) if kind == "gzip" else zstandard.compress(content))
    packed[at : at + len(raw)] = raw
    with suppress(UnknownFormat, Unreadable, NotReady):
        loaded(write(folder / "a.eval", bytes(packed)))


# --- real logs -------------------------------------------------------------------------------------------------

EXPECTED = {"openai_chat": "chat", "sharegpt_chat": "chat"}  # folder -> format, where their names differ
real = pytest.mark.skipif(not LOGS.is_dir(), reason="the shared logs are not here")


@real
@pytest.mark.corpus
@pytest.mark.parametrize("folder", ["negatives", "../csv", "../papers"])
def test_what_is_no_agent_log_is_refused(folder):
    for path in corpus(folder):
        with pytest.raises(UnknownFormat):
            loaded(path)


@real
@pytest.mark.corpus
def test_partial_logs_give_whole_items_only_and_their_completion_completes_them(tmp_path):
    for path in corpus("partial"):
        if path.suffix != ".jsonl":
            continue
        raw = path.read_bytes()
        n_whole = raw.count(b"\n")
        shelf = loaded(path)
        assert shelf.records
        assert not shelf.defects
        assert bool(shelf.waits) == (not raw.endswith(b"\n"))
        assert shelf.entry.cursor.offset == raw.rfind(b"\n") + 1
        assert n_whole


@real
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("folder", "suffix", "cuts"),
    [("inspect", ".eval", (0.4, 0.7, 0.95)), ("mini_swe_agent", ".json", (0.2, 0.6)), ("tau_bench", ".json", (0.5,))],
)
def test_a_cut_archive_or_document_completes_to_the_same_records(tmp_path, folder, suffix, cuts):
    whole_file = next(path for path in corpus(folder) if path.suffix == suffix and path.stat().st_size > 20_000)
    raw, whole = whole_file.read_bytes(), loaded(whole_file)
    path = tmp_path / whole_file.name
    shelf = Shelf()
    for cut in cuts:
        path.write_bytes(raw[: int(len(raw) * cut)])
        with suppress(NotReady):
            shelf.load(path)
        assert set(shelf.records) <= set(whole.records)
        assert not shelf.defects
    path.write_bytes(raw)
    shelf.load(path)
    assert shelf.records == whole.records
    assert not shelf.waits


@real
@pytest.mark.corpus
@pytest.mark.parametrize("folder", ["claude_code", "codex_rollout", "generic_jsonl"])
def test_a_real_log_read_in_pieces_is_the_log_read_at_once(tmp_path, folder):
    for source in list(corpus(folder))[:6]:
        raw = source.read_bytes()
        whole = loaded(source)
        path = tmp_path / source.name
        shelf = Shelf()
        for cut in sorted({len(raw) * n // 7 + n for n in range(1, 7)} | {len(raw)}):
            path.write_bytes(raw[:cut])
            try:
                shelf.load(path)
            except UnknownFormat:
                continue
        assert shelf.records == whole.records
        assert shelf.defects == whole.defects


@real
@pytest.mark.corpus
def test_every_real_log_is_taken_for_one_format_and_read_without_a_defect():
    refused = {"negatives", "partial"}
    for folder in sorted(path.name for path in LOGS.iterdir() if path.is_dir() and path.name not in refused):
        for path in corpus(folder):
            shelf = loaded(path)
            assert shelf.entry is not None, path.name
            assert shelf.entry.cursor.format.split("_")[0] in EXPECTED.get(folder, folder), path.name
            assert not shelf.defects, path.name
            assert not shelf.waits, path.name
            assert shelf.records or "no-samples" in path.name, path.name


@real
@pytest.mark.corpus
def test_papers_are_read_when_the_settings_name_their_columns():
    path = next(corpus("../papers"))
    shelf = loaded(path, columns={"text": "summary"})
    assert len(shelf.records) == len(path.read_bytes().splitlines())
    assert DATA.is_dir()


# --- homes of runatlas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["home-id", "runatlas.db"])
def test_what_a_home_holds_is_no_source(tmp_path, mark):
    for name in ("a.jsonl", "data/output/d/current/logs.parquet", "data/logs/up.log", "data/cache/x", f"data/{mark}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [one.key for one in discover([str(tmp_path)]).locators] == ["a.jsonl"]
    assert [one.key for one in discover([f"{tmp_path}/**/*"]).locators] == ["a.jsonl"]


def test_logs_beside_a_home_in_the_named_folder_are_read(tmp_path):
    for name in ("home-id", "runatlas.db-wal", "output/x.parquet", "logs/a.jsonl", "b.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [one.key for one in discover([str(tmp_path)]).locators] == ["b.jsonl", "logs/a.jsonl"]


def test_a_link_to_the_root_itself_is_harmless_and_not_reported(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "loop").symlink_to(".")
    found = discover([str(tmp_path)])
    assert [one.key for one in found.locators] == ["a.jsonl"]
    assert (found.problems, caplog.messages) == ([], [])


@pytest.mark.parametrize("url", ["https://logs.example/a.jsonl", "s3://bucket/a.jsonl"])
def test_a_url_that_names_no_database_is_refused_with_what_to_do(url):
    (problem,) = discover([url]).problems
    assert "Download it" in problem.reason
