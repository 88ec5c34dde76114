"""Files of a corpus as they come: every packing and spelling of JSON, lists and empty fields, odd keys, growth and kills."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts import Batch, Locator
from components.errors import NotReady
from components.pipeline import Pipeline
from components.settings import CorpusSettings, LoadSettings, Settings
from components.sources.elements import SEPARATORS, elements
from components.sources.files import FileSource

Item = dict[str, Any]


def papers(year: int, n: int) -> list[Item]:
    return [
        {
            "bibcode": f"{year}Any....{i:02}",
            "title": [f"Paper {i}"],
            "abstract": f"In {year} we counted {i}.",
            "x": "y" * 50,
        }
        for i in range(n)
    ]


def source(*, settings: LoadSettings | None = None, **corpus: Any) -> FileSource:
    return FileSource(settings or LoadSettings(quiet_s=0), corpus=CorpusSettings(**corpus))


def read(path: Path, reader: FileSource | None = None) -> list[Batch]:
    found: list[Batch] = []
    try:
        found.extend((reader or source()).read(Locator(location=str(path), key=path.name), None))
    except NotReady:
        found.append(Batch(records=(), defects=(), cursor=found[-1].cursor, size_bytes=-1))
    return found


def keys(batches: list[Batch]) -> list[str]:
    return [record.key for batch in batches for record in batch.records]


def as_lines(items: list[Item]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def members(items: list[Item]) -> bytes:
    return b"".join(gzip.compress(as_lines([item])) for item in items) + gzip.compress(b"")


def parted(items: list[Item]) -> bytes:
    raw = as_lines(items)
    return gzip.compress(raw[:100]) + gzip.compress(raw[100:]) + bytes(512)


spellings: dict[str, Callable[[list[Item]], bytes]] = {
    "lines": as_lines,
    "lines behind a mark": lambda items: b"\xef\xbb\xbf" + as_lines(items),
    "lines with CRLF and blanks": lambda items: as_lines(items).replace(b"\n", b"\r\n\r\n"),
    "gzip of a member a line": members,
    "gzip that parts within a line, zeros behind": parted,
    "an indented list": lambda items: json.dumps(items, indent=2).encode(),
    "a list on one line, packed": lambda items: gzip.compress(json.dumps(items).encode()),
    "a list with a mark, a line each": lambda items: b"\xef\xbb\xbf[\n" + as_lines(items).replace(b"\n", b",\n") + b"]",
    "an answer of a search service": lambda items: json.dumps(
        {"responseHeader": {"params": {"fl": ["bibcode"]}}, "response": {"numFound": 9, "docs": items}}
    ).encode(),
    "indented objects one below the other": lambda items: b"".join(
        json.dumps(item, indent=1).encode() + b"\n" for item in items
    ),
    "UTF-16": lambda items: as_lines(items).decode().encode("utf-16"),
}


@pytest.mark.parametrize("spelling", spellings)
def test_a_year_is_read_however_it_is_spelled(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "2015.json"
    path.write_bytes(spellings[spelling](papers(2015, 7)))
    batches = read(path)
    assert keys(batches) == [item["bibcode"] for item in papers(2015, 7)]
    assert [batch.defects for batch in batches if batch.defects] == []


@pytest.mark.parametrize(
    "spelling", ["lines", "an indented list", "a list on one line, packed", "an answer of a search service"]
)
def test_reading_goes_on_after_any_record_as_if_it_had_never_stopped(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "2015.json"
    path.write_bytes(spellings[spelling](papers(2015, 9)))
    reader = source(settings=LoadSettings(quiet_s=0, batch_records=1))
    whole = read(path, reader)
    assert len(whole) >= 9
    for n, batch in enumerate(whole[:-1]):
        rest = list(reader.read(Locator(location=str(path), key=path.name), batch.cursor))
        assert keys(rest) == keys(whole[n + 1 :])


def test_a_list_that_is_being_written_gives_what_is_whole_and_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "2015.json"
    path.write_bytes(json.dumps(papers(2015, 5)).encode()[:-20])
    batches = read(path)
    assert len(keys(batches)) == 4
    assert batches[-1].size_bytes == -1  # not ready


def test_a_list_far_larger_than_an_item_may_be_is_read_and_one_large_item_is_a_defect(tmp_path: Path) -> None:
    items = papers(2015, 60)
    items[30]["abstract"] = "long " * 2_000
    path = tmp_path / "2015.json"
    path.write_bytes(json.dumps(items).encode())
    batches = read(path, source(settings=LoadSettings(quiet_s=0, max_item_bytes=1_000)))
    assert keys(batches) == [item["bibcode"] for item in items if item is not items[30]]
    (defect,) = (defect for batch in batches for defect in batch.defects)
    assert "larger than load.max_item_bytes" in defect.reason


def test_an_item_that_is_no_json_is_one_defect(tmp_path: Path) -> None:
    path = tmp_path / "2015.json"
    path.write_bytes(b'[{"bibcode": "a", "title": "A"}, {"bibcode": oops}, 7, {"bibcode": "b", "title": "B"},\n]')
    batches = read(path)
    assert keys(batches) == ["a", "b"]
    assert len([defect for batch in batches for defect in batch.defects]) == 2


def item(**fields: Any) -> Item:
    return {"bibcode": "a", **fields}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (item(title=["One"], abstract="Two."), "One || Two."),
        (item(title=["In Two Parts", "En deux parties"]), "In Two Parts; En deux parties"),
        (item(title=["No abstract"], abstract=None), "No abstract"),
        (item(title=["Blank"], abstract="   "), "Blank"),
        (item(title=[], abstract="Only this."), "Only this."),
        (item(title=[None, "Second counts"], abstract=["", "As a list."]), "Second counts || As a list."),
        (item(title=["None"], abstract="null"), "None || null"),
        (item(title=[2021], abstract={"text": "nested"}), "2021 || nested"),
        (item(title="Plain", abstract="Zwei\nZeilen."), "Plain || Zwei\nZeilen."),
    ],
)
def test_lists_are_joined_and_what_is_empty_leaves_no_trace(tmp_path: Path, document: Item, text: str) -> None:
    path = tmp_path / "2015.jsonl"
    path.write_bytes(as_lines([document]))
    ((record,),) = (batch.records for batch in read(path, source(delimiter=" || ")))
    assert record.text == text


def test_only_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "2015.jsonl"
    path.write_bytes(as_lines([item(title="T", abstract="A", body="secret", year=2015, author=["Roe, A.", "Doe, B."])]))
    fields = {"fields": ("title", "author"), "keep": ("year",), "field_prefixes": {"author": "by "}}
    ((record,),) = (batch.records for batch in read(path, source(**fields, field_suffixes={"title": "."})))
    assert record.text == "T.\n\nby Roe, A.; Doe, B."
    assert record.extra.keys() == {"key", "metadata_hash", "year"}


def test_the_metadata_hash_depends_on_the_requested_fields_alone(tmp_path: Path) -> None:
    documents = [item(title="T", abstract="A"), item(abstract="A", title="T", other=1), item(title="T", abstract="B")]
    hashes = []
    for n, document in enumerate(documents):
        path = tmp_path / f"{n}.jsonl"
        path.write_bytes(as_lines([document]))
        ((record,),) = (batch.records for batch in read(path))
        hashes.append(record.extra["metadata_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_documents_without_key_or_text_are_named_and_cost_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "2015.jsonl"
    documents = [
        {"title": "no key"},
        {"bibcode": " ", "title": "blank"},
        item(title=[], abstract=None),
        item(title="fine"),
    ]
    path.write_bytes(as_lines([*documents, {"bibcode": "bad\nkey", "title": "t"}]) + b"[1]\n")
    (batch,) = read(path)
    assert [record.text for record in batch.records] == ["fine"]
    assert batch.skipped == {"no text in the fields that are embedded": 1}
    assert [defect.reason for defect in batch.defects] == [
        *["it has no key 'bibcode' or 'id'"] * 2,
        "the key holds control characters",
        "not a JSON object",
    ]


def test_keys_are_trimmed_and_numbers_are_keys(tmp_path: Path) -> None:
    path = tmp_path / "1999.jsonl"
    ids = ["9901.0010", 9901.001, " astro-ph/9901003 ", 42]
    path.write_bytes(as_lines([{"id": id, "title": "t"} for id in ids]))
    assert keys(read(path, source(id="id"))) == ["9901.0010", "9901.001", "astro-ph/9901003", "42"]


def test_csv_and_parquet_hold_documents_too(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "2015.csv").write_text("bibcode,title,abstract\na,One,Two\nb,Three,\n")
    pq.write_table(pa.table({"bibcode": ["a"], "title": [["One", "Uno"]]}), tmp_path / "2016.parquet")
    assert [r.text for b in read(tmp_path / "2015.csv") for r in b.records] == ["One\n\nTwo", "Three"]
    assert [r.text for b in read(tmp_path / "2016.parquet") for r in b.records] == ["One; Uno"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},é\n', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='k"]', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(json_values, max_size=6), st.integers(1, 30), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_a_list_are_those_that_a_parser_finds(
    values: list[Any], cut: int, indent: int | None, is_ascii: bool
) -> None:
    raw = json.dumps(values, indent=indent, ensure_ascii=is_ascii).encode() + b"\n"
    blocks = [raw[at : at + cut] for at in range(0, len(raw), cut)]
    pieces = list(elements(iter(blocks), 0, 1, 1_000_000))
    assert b"".join(piece.data for piece in pieces) == raw
    bare = [data for piece in pieces[1:] if (data := piece.data.strip(SEPARATORS)) and not data.startswith(b"]")]
    assert [json.loads(data) for data in bare] == values


@pytest.mark.parametrize("spelling", ["lines"])
def test_a_correction_in_the_middle_of_a_large_file_is_noticed_though_its_size_stays(
    tmp_path: Path, spelling: str
) -> None:
    items = papers(2015, 120)
    path = tmp_path / "2015.json"
    path.write_bytes(spellings[spelling](items))
    home = Settings(home=tmp_path / "home", load=LoadSettings(quiet_s=0), datasets={"default": {"corpus": {}}})
    with Pipeline(home) as pipeline:
        pipeline.load([path])
        items[60]["abstract"] = "In 2015 they counted."[: len(items[60]["abstract"])].ljust(
            len(items[60]["abstract"]), "."
        )
        path.write_bytes(spellings[spelling](items))
        report = pipeline.load()
        assert (report.records.new, report.records.existing, report.records.superseded) == (1, 119, 1)
        assert "they counted" in pipeline.record(items[60]["bibcode"])["text"]
