"""Lines that are not one record each: whole records are found, damage is one defect, and growth changes nothing."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelf import QUIET, Shelf, loaded

from components.errors import UnknownFormat
from components.sources.files import FileSource
from components.sources.json_prefix import MAX_DEPTH, Prefix
from components.sources.json_search import whole_objects


def said(text: str, **more: object) -> bytes:
    return json.dumps({"iteration": 0, "idx": 0, "type": "user", "text": text, **more}).encode()


def read(tmp_path, content: bytes) -> Shelf:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    return loaded(path, format="generic")


A, B, C = said("a"), said("b"), said("c")
CUT = said("never whole", meta={"deep": {"inner": [1, {"x": 2}]}})


@pytest.mark.parametrize(
    ("content", "texts", "n_defects"),
    [
        (A + B + b"\n" + C + b"\n", "abc", 0),
        (A + b"," + B + b",\n" + C + b"\n", "abc", 0),
        (A + b"\x00" * 500 + B + b"\r" + C + b"\n", "abc", 0),
        (A + b"\n" + CUT[:30] + B + b"\n" + C + b"\n", "abc", 1),
        (CUT[:-1] + A + b"\n" + B + C + b"\n", "abc", 1),
        (CUT[:-9] + A + CUT[:-9] + B + b"\n" + C + b"\n", "abc", 2),
        (A + b"\n" + CUT[:-1] + b"\n" + B + b"\n" + C + b"\n", "abc", 1),
        (A + b"\n" + CUT[:60] + b"\n" + CUT[:60] + b"\n" + B + b"\n" + C, "abc", 2),
        (A + b" and words\nwords and " + B + b"\n" + C + b"\n", "abc", 2),
        (A + b"\n" + json.dumps(json.loads(B), indent=2).encode() + b"\n" + C + b"\n", "abc", 0),
        (A + json.dumps(json.loads(B), indent=2).encode() + C + b"\n", "abc", 0),
        (A + b"\n" + json.dumps(json.loads(CUT), indent=1).encode()[:-20] + b"\n" + B + b"\n" + C + b"\n", "abc", 1),
        (
            A + b"\n" + B[:-3] + b" and\nmore" + B[-2:] + b"\n" + C + b"\n",
            ["a", " and\nmore", "c"],
            0,
        ),
    ],
    ids=[
        *("two on a line", "commas between", "NULs between", "cut in a string", "cut before its brace"),
        *("cut twice on a line", "not closed", "two not closed", "words around", "over several lines"),
        *("over several lines between others", "over several lines and cut", "a line end in a string"),
    ],
)
def test_every_whole_record_is_read_and_each_damaged_stretch_is_one_defect(tmp_path, content, texts, n_defects):
    shelf = read(tmp_path, content)
    assert shelf.texts == list(texts)
    assert len(shelf.defects) == n_defects
    assert not shelf.waits


def test_a_defect_has_the_offset_of_its_stretch_and_an_excerpt(tmp_path):
    shelf = read(tmp_path, A + b"\n" + B + CUT[:30] + C + b"\n")
    (defect,) = shelf.defects
    assert defect.offset == len(A) + 1 + len(B)
    assert defect.excerpt == CUT[:30].decode()
    assert "not JSON" in defect.reason


def test_a_part_of_a_cut_record_is_no_record():
    """The inner message is whole, and equal to one by itself; yet it is a part of what was lost."""
    outer = json.dumps({"id": 1, "message": {"role": "user", "content": "hi"}, "more": [{"role": "user"}]}).encode()
    for cut in range(1, len(outer)):
        for behind in (b"", b'{"id": 2}'):
            found = whole_objects(outer[:cut] + behind, 0)
            assert [one.value for one in found if not one.reason] == ([{"id": 2}] if behind else []), cut


def test_a_record_that_waits_for_its_last_lines_is_read_when_they_come(tmp_path):
    printed = json.dumps(json.loads(B), indent=2).encode()
    shelf = read(tmp_path, A + b"\n" + printed[:-20])
    assert shelf.texts == ["a"]
    assert f"at offset {len(A) + 1:,}, is not complete yet" in shelf.waits
    (tmp_path / "a.jsonl").write_bytes(A + b"\n" + printed + b"\n")
    shelf.load(tmp_path / "a.jsonl")
    assert shelf.texts == ["a", "b"]
    assert not shelf.waits
    assert not shelf.defects


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\x1b"), min_size=1, max_size=8).filter(str.strip)
extras = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["{", "}", '"', '{"iteration": 1', ":", "[{", "\\", "\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "{"]), inner, max_size=2),
    max_leaves=6,
)


@st.composite
def spliced(draw, most=5):
    """The content of a log that several writers damaged, and the texts of its whole records."""
    content, whole = b'{"iteration": 0, "text": "the first"}\n', ["the first"]
    for n in range(draw(st.integers(1, most))):
        text = f"{n} {draw(texts)}".strip()
        item = {"iteration": 0, "idx": n, "text": text, "more": draw(extras)}
        kind = draw(st.sampled_from(["line", "line", "joined", "printed", "cut", "cut and ended"]))
        raw = json.dumps(item, ensure_ascii=draw(st.booleans())).encode()
        if kind.startswith("cut"):
            cut = raw[: draw(st.integers(1, len(raw) - 1))]
            content += cut + (b"\n" if kind == "cut and ended" else b"")
            continue
        if kind == "printed":
            if not content.endswith(b"\n"):
                content += b"\n"
            raw = json.dumps(item, indent=1).encode()
        content += raw + draw(
            st.sampled_from([b"", b"\x00\x00", b" "] if kind == "joined" else [b"\n", b"\r\n", b"\n\n"])
        )
        whole.append(text)
    if not content.endswith(b"\n"):
        content += b"\n"
    last = {"iteration": 0, "idx": 99, "text": "the last"}
    end = json.dumps(last).encode() + b"\n"
    return content + end + end.replace(b"last", b"end"), [*whole, "the last", "the end"]


fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(spliced())
def test_nothing_whole_is_lost_and_nothing_is_made_up(tmp_path_factory, log):
    content, whole = log
    assert read(tmp_path_factory.mktemp("log"), content).texts == whole


@settings(fuzz, max_examples=10)
@given(spliced(most=3), st.integers(1, 3))
def test_a_log_read_at_every_place_where_it_may_be_cut_has_the_same_ids(tmp_path_factory, log, batch):
    content, _ = log
    folder = tmp_path_factory.mktemp("log")
    whole = read(folder, content)
    path = folder / "grows" / "a.jsonl"
    path.parent.mkdir()
    source = FileSource(QUIET.model_copy(update={"batch_records": batch}), format="generic")
    shelf = Shelf(source=source)
    for end in range(1, len(content) + 1):
        path.write_bytes(content[:end])
        with suppress(UnknownFormat):
            shelf.load(path)
    assert list(shelf.records.items()) == list(whole.records.items())
    assert [d.offset for d in shelf.defects] == [d.offset for d in whole.defects]
    assert shelf.entry.cursor.offset == whole.entry.cursor.offset


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_every_printed_value_is_followed_to_its_end(value):
    prefix, *lines = Prefix(), *json.dumps([value], indent=1).splitlines(keepends=True)
    assert [prefix.feed(line.encode().decode("latin-1")) for line in lines] == ["open"] * (len(lines) - 1) + ["closed"]


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"a":' * 300_000,
        b'{"a":[' * (MAX_DEPTH // 4) + b"1," * 100_000,
        b'{"a":"x' * 100_000,
        b'{"a":{"b":1},"c":"' * 100_000,
        b'{"' * 100_000,
        b'{"a":"' + b"\\" * 1_000_001 + b'"' * 7,
        b"[\n" * 20_000 + b"x\n",
        b'{"a":\n' * 20_000 + b"x\n",
        b'"a": [\n' * 20_000,
    ],
    ids=range(9),
)
def test_the_search_ends_whatever_the_damage(tmp_path, hostile):
    shelf = read(tmp_path, A + b"\n" + hostile + b"\n" + B + b"\n" + C + b"\n")
    assert {"a", "c"} <= set(shelf.texts)
